//! Sessions that break at any byte, and many copies that meet in any order. Deterministic: each case is named by its seed.

mod common;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};

use common::{Author, Memory, World, holdings, put, rng, session, sync};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::Rng;
use tally_vault_format::{MemberKind, NamespaceId, Right, seal_blob};
use tally_vault_sync::limits::{BLOB_PART, CHUNK};
use tally_vault_sync::{Limits, Replica, Standing, SyncError};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

const NOTES: NamespaceId = NamespaceId([1; 16]);
const ALL: &[(NamespaceId, Right)] = &[(NamespaceId::ALL, Right::Admin)];

/// A channel that dies after so many bytes, both directions together.
struct Mortal {
    inner: DuplexStream,
    life: Arc<AtomicI64>,
}

fn mortal(life: i64) -> (Mortal, Mortal) {
    let (a, b) = tokio::io::duplex(16 * 1024);
    let life = Arc::new(AtomicI64::new(life));
    (
        Mortal {
            inner: a,
            life: Arc::clone(&life),
        },
        Mortal { inner: b, life },
    )
}

impl AsyncRead for Mortal {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Mortal {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let left = self.life.load(Ordering::Relaxed);
        if left <= 0 {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = &bytes[..bytes.len().min(left as usize)];
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.life.fetch_sub(written as i64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn below(rng: &mut ChaCha20Rng, bound: u64) -> u64 {
    rng.next_u64() % bound
}

/// A root's copy with a device and a number of notes of a kilobyte.
fn furnished(notes: usize) -> (World, Memory, Author) {
    let mut world = World::new(3);
    let mut copy = world.copy();
    let (keyring, frame) = world.rotate(NOTES, false);
    put(&mut copy, &frame);
    copy.insert_keyring(&keyring).expect("infallible");
    let (device, grant) = world.admit(MemberKind::Device, 2, ALL);
    put(&mut copy, &grant);
    for number in 0..notes {
        let frame = world.note(None, NOTES, &[number as u8; 1_000]);
        copy.insert(&frame).expect("infallible");
    }
    copy.commit(true).expect("infallible");
    (world, copy, device)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_breaks_at_any_byte_is_gone_on_with() {
    let (world, mut root, device) = furnished(60);
    let mut whole = world.empty();
    let (reference, _) = sync(
        (&mut whole, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    let all = reference.report.bytes_received + reference.report.bytes_sent;
    let mut choice = rng(11);
    for case in 0..150 {
        let cut = 1 + below(&mut choice, all);
        let mut fresh = world.empty();
        let ends = session(
            (&mut fresh, &device.identity),
            (&mut root, &world.root.identity),
            mortal(cut as i64),
            case,
            &Limits::default(),
        )
        .await;
        // The very last bytes may be those that one side does not need any more.
        assert!(
            matches!(ends.0.result, Ok(()) | Err(SyncError::Channel(_))),
            "case {case}, cut at {cut}: {:?}",
            ends.0
        );
        let kept = ends.0.report.kept.frames;
        assert_eq!(
            kept as usize,
            holdings(&fresh).len(),
            "case {case}: what is reported is what is held"
        );
        let (left, _) = sync(
            (&mut fresh, &device.identity),
            (&mut root, &world.root.identity),
        )
        .await;
        assert_eq!(
            holdings(&fresh),
            holdings(&root),
            "case {case}, cut at {cut}"
        );
        assert_eq!(
            left.report.kept.frames + kept,
            reference.report.kept.frames,
            "case {case}"
        );
        // No frame that had arrived comes again: together, one frame more than needed at most, and the talk around it.
        let twice = ends.0.report.bytes_received + left.report.bytes_received;
        assert!(
            twice <= reference.report.bytes_received + 2_000 + 4_000,
            "case {case}, cut at {cut}: {twice} bytes instead of {}: {:?} {:?}",
            reference.report.bytes_received,
            ends.0,
            left
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_vault_that_breaks_again_and_again_comes_through_and_costs_a_chunk_a_time() {
    let (world, mut root, device) = furnished(3_000);
    let mut whole = world.empty();
    let (reference, _) = sync(
        (&mut whole, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    let mut fresh = world.empty();
    let mut choice = rng(12);
    let (mut spent, mut breaks) = (0, 0);
    loop {
        let cut = 100_000 + below(&mut choice, 1_000_000);
        let ends = session(
            (&mut fresh, &device.identity),
            (&mut root, &world.root.identity),
            mortal(cut as i64),
            breaks,
            &Limits::default(),
        )
        .await;
        spent += ends.0.report.bytes_received;
        if ends.0.result.is_ok() {
            break;
        }
        breaks += 1;
        assert!(breaks < 1_000, "there is progress in each session");
    }
    assert_eq!(holdings(&fresh), holdings(&root));
    assert!(breaks > 2);
    assert!(
        spent <= reference.report.bytes_received + breaks * CHUNK as u64,
        "{spent} bytes with {breaks} breaks"
    );
}

#[tokio::test(start_paused = true)]
async fn a_blob_goes_on_where_it_broke() {
    let (mut world, mut root, device) = furnished(1);
    let content = vec![5; 3_000_000];
    let (file, blob) = seal_blob(&world.vault(), &content, &mut world.rng).expect("small enough");
    let id = root.add_blob(file.clone()).expect("a blob");
    let frame = world.blob_note(NOTES, blob);
    put(&mut root, &frame);
    let mut copy = world.empty();
    let mut spent = 0;
    for case in 0..100 {
        let ends = session(
            (&mut copy, &device.identity),
            (&mut root, &world.root.identity),
            mortal(700_000),
            case,
            &Limits::default(),
        )
        .await;
        spent += ends.0.report.bytes_received;
        if ends.0.result.is_ok() {
            assert!(case > 2);
            assert_eq!(copy.blob(&id), Some(&file[..]));
            assert!(
                spent < file.len() as u64 + (case + 1) * (BLOB_PART as u64 + 10_000),
                "{spent}"
            );
            return;
        }
    }
    panic!("a blob of 3 MB does not come through sessions of 700 KB");
}

/// Copies of several members who write, meet, are cut off, and meet again; in the end everybody meets everybody.
async fn life(seed: u64, copies: usize, events: usize) {
    let mut choice = rng(seed);
    let mut world = World::new(seed);
    let mut first = world.copy();
    let (keyring, frame) = world.rotate(NOTES, false);
    put(&mut first, &frame);
    first.insert_keyring(&keyring).expect("infallible");
    let mut authors = Vec::new();
    for number in 1..copies {
        let (author, grant) = world.admit(MemberKind::Device, 10 + number as u8, ALL);
        put(&mut first, &grant);
        authors.push(author);
    }
    let mut copies: Vec<Memory> = std::iter::once(first)
        .chain((1..copies).map(|_| world.empty()))
        .collect();
    let as_whom = |authors: &[Author], world: &World, index: usize| {
        let author = index.checked_sub(1).map_or(&world.root, |at| &authors[at]);
        tally_vault_format::Identity::new(
            author.identity.card().kind(),
            tally_vault_format::Seed::from_bytes(*author.identity.seed().expose()),
        )
    };
    let mut revoked = None;
    for event in 0..events {
        let at = below(&mut choice, copies.len() as u64) as usize;
        match below(&mut choice, 10) {
            // Somebody writes, if it has heard of its own admission.
            0..5 => {
                let author = at
                    .checked_sub(1)
                    .map_or(&world.root, |at| &authors[at])
                    .member();
                let standing = copies[at].standing(&author).expect("infallible");
                if Some(at) == revoked || !matches!(standing, Standing::Member { .. }) {
                    continue;
                }
                let text = vec![event as u8; 1 + below(&mut choice, 400) as usize];
                let frame = match at {
                    0 => world.note(None, NOTES, &text),
                    at => world.note(Some(&mut authors[at - 1]), NOTES, &text),
                };
                put(&mut copies[at], &frame);
                // The same frame by another way: a folder, a second time.
                copies[at].insert(&frame).expect("infallible");
            }
            5 if revoked.is_none() && event > events / 2 && copies.len() > 3 => {
                let last = copies.len() - 1;
                let frame = world.revoke(&authors[last - 1]);
                put(&mut copies[0], &frame);
                revoked = Some(last);
            }
            // Two meet, and perhaps the way breaks.
            _ => {
                let other = below(&mut choice, copies.len() as u64) as usize;
                if at == other {
                    continue;
                }
                let (low, high) = (at.min(other), at.max(other));
                let (head, tail) = copies.split_at_mut(high);
                let (a, b) = (&mut head[low], &mut tail[0]);
                let (ida, idb) = (
                    as_whom(&authors, &world, low),
                    as_whom(&authors, &world, high),
                );
                let cut = if below(&mut choice, 2) == 0 {
                    i64::MAX
                } else {
                    below(&mut choice, 20_000) as i64
                };
                session(
                    (a, &ida),
                    (b, &idb),
                    mortal(cut),
                    event as u64,
                    &Limits::default(),
                )
                .await;
            }
        }
    }
    // Peace: everybody who is still a member meets the others until nothing moves.
    let count = copies.len() - usize::from(revoked.is_some());
    let mut order: Vec<(usize, usize)> = (0..count)
        .flat_map(|a| (0..a).map(move |b| (b, a)))
        .collect();
    for _ in 0..3 {
        for index in (1..order.len()).rev() {
            order.swap(index, below(&mut choice, index as u64 + 1) as usize);
        }
        for (low, high) in &order {
            let (head, tail) = copies.split_at_mut(*high);
            let (ida, idb) = (
                as_whom(&authors, &world, *low),
                as_whom(&authors, &world, *high),
            );
            session(
                (&mut head[*low], &ida),
                (&mut tail[0], &idb),
                mortal(i64::MAX),
                1,
                &Limits::default(),
            )
            .await;
        }
    }
    let hash = world.state_hash(&copies[0]);
    let held = holdings(&copies[0]);
    for copy in &copies[1..count] {
        assert_eq!(world.state_hash(copy), hash, "seed {seed}");
        assert!(holdings(copy) == held, "seed {seed}: not the same frames");
    }
}

#[tokio::test(start_paused = true)]
async fn any_order_of_meetings_ends_in_one_state() {
    for seed in 0..40 {
        life(seed, 2 + (seed as usize % 4), 60).await;
    }
}
