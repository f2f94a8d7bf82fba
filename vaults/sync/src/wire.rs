//! Messages on the channel, with every bound on them.
//!
//! A message is `kind u8 ‖ length u32 ‖ body`. Reading is cancel-safe: what has arrived of a message stays here.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tally_vault_format::limits as format;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::error::{Fault, Refusal, SyncError};
use crate::limits::{self, Limits};

/// Kinds of messages. The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    Proof = 2,
    Open = 3,
    Total = 4,
    Trees = 5,
    Step = 6,
    Genesis = 7,
    Frame = 8,
    Keyring = 9,
    Slot = 10,
    End = 11,
    Offers = 12,
    Wishes = 13,
    Part = 14,
    Round = 15,
    Better = 16,
    Ready = 17,
    Bye = 255,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Hello,
            2 => Self::Proof,
            3 => Self::Open,
            4 => Self::Total,
            5 => Self::Trees,
            6 => Self::Step,
            7 => Self::Genesis,
            8 => Self::Frame,
            9 => Self::Keyring,
            10 => Self::Slot,
            11 => Self::End,
            12 => Self::Offers,
            13 => Self::Wishes,
            14 => Self::Part,
            15 => Self::Round,
            16 => Self::Better,
            17 => Self::Ready,
            255 => Self::Bye,
            _ => return None,
        })
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Proof => "proof",
            Self::Open => "open",
            Self::Total => "total",
            Self::Trees => "trees",
            Self::Step => "step",
            Self::Genesis => "genesis",
            Self::Frame => "frame",
            Self::Keyring => "keyring",
            Self::Slot => "slot",
            Self::End => "end",
            Self::Offers => "offers",
            Self::Wishes => "wishes",
            Self::Part => "part",
            Self::Round => "round",
            Self::Better => "better",
            Self::Ready => "ready",
            Self::Bye => "bye",
        }
    }

    /// Bytes of the longest body.
    const fn longest(self) -> usize {
        match self {
            Self::Hello => 106,
            Self::Proof => 96,
            Self::Open => 5 + 16 * format::NAMESPACES,
            Self::Total => 16,
            Self::Trees => limits::TREES * 53,
            // At the worst, every node is one place that is as crowded as may be.
            Self::Step => limits::STEP_NODES * limits::AT_ONE_PLACE * 61,
            Self::Genesis => tally_vault_format::Genesis::LEN,
            Self::Frame => format::FRAME_LEN,
            Self::Keyring => format::KEYRING_LEN,
            Self::Slot => tally_vault_format::Slot::LEN,
            Self::End | Self::Better | Self::Ready => 0,
            Self::Offers => limits::OFFERS * 40 + 1,
            Self::Wishes => limits::OFFERS * 8,
            Self::Part => limits::BLOB_PART,
            Self::Round => 1,
            Self::Bye => 2,
        }
    }
}

/// The clock of a session, and what it has moved.
#[derive(Debug)]
pub(crate) struct Pace {
    limits: Limits,
    /// Not before the first byte of what is waited for.
    started: OnceLock<Instant>,
    /// Whether the peer may take its time.
    is_trusted: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Pace {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            started: OnceLock::from(Instant::now()),
            is_trusted: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
        }
    }

    /// What comes now is measured for itself, from its first byte on: `unused` has arrived of it. Until then silence alone ends it,
    /// since the other side may have to wait for its own copy first.
    pub(crate) fn begin(&mut self, unused: &[u8]) {
        self.started = if unused.is_empty() {
            OnceLock::new()
        } else {
            OnceLock::from(Instant::now())
        };
    }

    /// The peer is a member, or this side has nothing that it could lose.
    pub(crate) fn trust(&self) {
        self.is_trusted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How long the next byte may take.
    fn patience(&self) -> Result<Duration, Fault> {
        let Some(started) = self.started.get() else {
            return Ok(self.limits.idle);
        };
        let moved = self.sent().saturating_add(self.received());
        let earned = Duration::from_secs(moved / self.limits.rate.max(1));
        let grace = match self.is_trusted.load(Ordering::Relaxed) {
            true => self.limits.grace,
            false => self.limits.greeting,
        };
        let left = grace
            .saturating_add(earned)
            .saturating_sub(started.elapsed());
        if left.is_zero() {
            Err(Fault::TooSlow)
        } else {
            Ok(left.min(self.limits.idle))
        }
    }

    /// What it means that the patience ran out.
    fn verdict(&self) -> Fault {
        match self.patience() {
            Err(fault) if self.received() > 0 => fault,
            _ => Fault::Silent,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Reader<'p, R> {
    inner: R,
    pace: &'p Pace,
    buffer: Vec<u8>,
    start: usize,
}

impl<'p, R: AsyncRead + Unpin> Reader<'p, R> {
    /// Goes on behind what another one has read and not used.
    pub(crate) fn new(inner: R, pace: &'p Pace, unused: Vec<u8>) -> Self {
        Self {
            inner,
            pace,
            buffer: unused,
            start: 0,
        }
    }

    /// What has arrived and is part of no message yet.
    pub(crate) fn into_unused(mut self) -> Vec<u8> {
        self.buffer.split_off(self.start)
    }

    /// Waits until `len` bytes have arrived behind `start`. Memory grows with what arrives, not with what is claimed.
    async fn fill<E>(&mut self, len: usize) -> Result<(), SyncError<E>> {
        if self.start > 0 && self.buffer.len() - self.start < len {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        while self.buffer.len() - self.start < len {
            let patience = self.pace.patience()?;
            self.buffer.reserve(64 * 1024);
            let read = match timeout(patience, self.inner.read_buf(&mut self.buffer)).await {
                Err(_) => return Err(self.pace.verdict().into()),
                Ok(Err(error)) => return Err(SyncError::Channel(error)),
                Ok(Ok(0)) => return Err(SyncError::Channel(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(read)) => read as u64,
            };
            self.pace.started.get_or_init(Instant::now);
            let received = self.pace.received.fetch_add(read, Ordering::Relaxed) + read;
            if received > self.pace.limits.received {
                return Err(Fault::TooMuch("bytes in one session").into());
            }
        }
        Ok(())
    }

    /// Waits until the next message is here, whole, and leaves it here: its kind, and the length of its body.
    async fn arrival<E>(&mut self) -> Result<(Kind, usize), SyncError<E>> {
        self.fill(5).await?;
        let head = &self.buffer[self.start..];
        let kind = Kind::from_number(head[0]);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let Some(kind) = kind else {
            return Err(Fault::Unexpected {
                expected: "a message of this protocol",
                found: head[0],
            }
            .into());
        };
        if length as usize > kind.longest() {
            return Err(Fault::TooLong {
                kind: kind as u8,
                length,
            }
            .into());
        }
        let length = length as usize;
        self.fill(5 + length).await?;
        Ok((kind, length))
    }

    /// Waits until the next message is here, whole, and of this kind, and leaves it here.
    pub(crate) async fn await_whole<E>(&mut self, kind: Kind) -> Result<(), SyncError<E>> {
        if self.arrival().await?.0 != kind {
            // It is taken, so that it is named, or heard if it is a farewell.
            self.expect(kind).await?;
        }
        Ok(())
    }

    /// The next message, whatever it is.
    async fn next<E>(&mut self) -> Result<(Kind, Vec<u8>), SyncError<E>> {
        let (kind, length) = self.arrival().await?;
        let body = self.buffer[self.start + 5..self.start + 5 + length].to_vec();
        self.start += 5 + length;
        if kind == Kind::Bye {
            let code = <[u8; 2]>::try_from(&body[..]).map_err(|_| Fault::Malformed("bye"))?;
            let refusal =
                Refusal::from_code(u16::from_be_bytes(code)).ok_or(Fault::Malformed("bye"))?;
            return Err(SyncError::Refused(refusal));
        }
        Ok((kind, body))
    }

    /// The next message, which is one of these.
    pub(crate) async fn one_of<E>(
        &mut self,
        kinds: &[Kind],
        expected: &'static str,
    ) -> Result<(Kind, Vec<u8>), SyncError<E>> {
        let (kind, body) = self.next().await?;
        if kinds.contains(&kind) {
            Ok((kind, body))
        } else {
            Err(Fault::Unexpected {
                expected,
                found: kind as u8,
            }
            .into())
        }
    }

    /// The next message, which is of this kind.
    pub(crate) async fn expect<E>(&mut self, kind: Kind) -> Result<Vec<u8>, SyncError<E>> {
        Ok(self.one_of(&[kind], kind.name()).await?.1)
    }

    /// After the channel broke: whether the peer had said why.
    pub(crate) async fn farewell(&mut self) -> Option<Refusal> {
        let look = async {
            loop {
                match self.next::<std::convert::Infallible>().await {
                    Err(SyncError::Refused(refusal)) => return Some(refusal),
                    Err(_) => return None,
                    Ok(_) => {}
                }
            }
        };
        timeout(Duration::from_secs(1), look).await.ok().flatten()
    }
}

/// The sending half. Messages gather until there is a packet's worth, or somebody waits for them.
#[derive(Debug)]
pub(crate) struct Writer<'p, W> {
    inner: W,
    pace: &'p Pace,
    buffer: Vec<u8>,
    written: usize,
}

/// When a buffer is worth a system call.
const FULL: usize = 64 * 1024;

impl<'p, W: AsyncWrite + Unpin> Writer<'p, W> {
    pub(crate) fn new(inner: W, pace: &'p Pace) -> Self {
        Self {
            inner,
            pace,
            buffer: Vec::new(),
            written: 0,
        }
    }

    pub(crate) async fn send<E>(&mut self, kind: Kind, body: &[u8]) -> Result<(), SyncError<E>> {
        assert!(
            body.len() <= kind.longest(),
            "a {} message of {} bytes",
            kind.name(),
            body.len()
        );
        self.buffer.push(kind as u8);
        self.buffer
            .extend_from_slice(&(body.len() as u32).to_be_bytes());
        self.buffer.extend_from_slice(body);
        if self.buffer.len() >= FULL {
            self.drain().await
        } else {
            Ok(())
        }
    }

    async fn drain<E>(&mut self) -> Result<(), SyncError<E>> {
        while self.written < self.buffer.len() {
            let patience = self.pace.patience()?;
            match timeout(patience, self.inner.write(&self.buffer[self.written..])).await {
                Err(_) => return Err(self.pace.verdict().into()),
                Ok(Err(error)) => return Err(SyncError::Channel(error)),
                Ok(Ok(0)) => return Err(SyncError::Channel(io::ErrorKind::WriteZero.into())),
                Ok(Ok(written)) => {
                    self.written += written;
                    self.pace.sent.fetch_add(written as u64, Ordering::Relaxed);
                }
            }
        }
        self.buffer.clear();
        self.written = 0;
        Ok(())
    }

    pub(crate) async fn flush<E>(&mut self) -> Result<(), SyncError<E>> {
        self.drain().await?;
        match timeout(self.pace.patience()?, self.inner.flush()).await {
            Err(_) => Err(self.pace.verdict().into()),
            Ok(flushed) => flushed.map_err(SyncError::Channel),
        }
    }

    /// Says why the session ends, if the peer still listens: also when the time for everything else is spent.
    pub(crate) async fn bye(&mut self, refusal: Refusal) {
        self.buffer
            .extend_from_slice(&[Kind::Bye as u8, 0, 0, 0, 2]);
        self.buffer
            .extend_from_slice(&(refusal as u16).to_be_bytes());
        let rest = &self.buffer[self.written..];
        let inner = &mut self.inner;
        let say = async {
            inner.write_all(rest).await?;
            inner.flush().await
        };
        // Whoever does not listen is not waited for.
        if let Ok(Ok(())) = timeout(Duration::from_secs(1), say).await {
            self.pace
                .sent
                .fetch_add(rest.len() as u64, Ordering::Relaxed);
        }
    }
}

/// The bytes of a message that are still to be read.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8], pub(crate) &'static str);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (head, tail) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Fault::Malformed(self.1))?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn end(self) -> Result<(), Fault> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Fault::Malformed(self.1))
        }
    }
}
