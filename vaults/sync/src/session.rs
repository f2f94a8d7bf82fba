//! A session: the handshake, a word that both sides can begin, then rounds of comparing and sending, until neither side has
//! anything the other wants.
//!
//! A round: each side says how it sees the other (`open`), both compare what they show, then both send at once what the
//! other lacks: frames, keyrings, slots, and blobs that the other wishes for. Another round follows while one has changed
//! what a side may have, or has brought what was missing to judge something.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Mutex;

use rand_core::CryptoRng;
use tally_vault_format::{
    BlobId, FrameRef, Genesis, Identity, KeyringId, MemberId, MemberKind, NamespaceId, SealId,
    VaultId,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{Fault, Refusal, SyncError};
use crate::forest::{self, Comparison, Findings, Salt, Tree, TreeKey, TreeKind};
use crate::handshake::{self, Proved};
use crate::inbox::{Inbox, Takes};
use crate::limits::{BLOB_PART, CHUNK, Limits, OFFERS, ROUNDS};
use crate::replica::{Blob, Held, Notice, Rank, Replica, Scope, Standing, Taken};
use crate::wire::{Fields, Kind, Pace, Reader, Writer};

/// What a session did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Who the peer proved to be.
    pub peer: Option<MemberId>,
    /// How the peer sees this side.
    pub seen_as: Option<SeenAs>,
    /// Rounds that were begun.
    pub rounds: u32,
    /// What was sent.
    pub sent: Counts,
    /// What came and was kept.
    pub kept: Counts,
    /// Frames that were here already.
    pub known: u64,
    /// Frames, keyrings and slots that may be genuine and were not kept.
    pub declined: u64,
    /// Seals that the peer showed and that did not come: withheld, or waiting for what neither side has.
    pub withheld: u64,
    /// Bytes sent, everything counted.
    pub bytes_sent: u64,
    /// Bytes received, everything counted.
    pub bytes_received: u64,
}

impl Report {
    /// What became of something that came.
    fn note(&mut self, kind: Kind, taken: &Taken) {
        match (taken, kind) {
            (Taken::New, Kind::Frame) => self.kept.frames += 1,
            (Taken::New, Kind::Keyring) => self.kept.keyrings += 1,
            (Taken::New, Kind::Slot) => self.kept.slots += 1,
            (Taken::Known, Kind::Frame) => self.known += 1,
            (Taken::Declined, _) => self.declined += 1,
            _ => {}
        }
    }
}

/// Numbers of things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames, with or without a box.
    pub frames: u64,
    /// Keyrings.
    pub keyrings: u64,
    /// Slots.
    pub slots: u64,
    /// Blobs, whole.
    pub blobs: u64,
}

/// How one side sees the other, as it is said on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SeenAs {
    /// Nobody, as far as is known there.
    Unknown = 0,
    /// A member.
    Member = 1,
    /// One that was removed, or whose grant has ended.
    Former = 2,
}

/// How a session ended: what it did in any case, and why it ended early if it did.
#[derive(Debug)]
pub struct Ended<E> {
    /// What was done. It is true also of a session that failed: what was kept is kept.
    pub report: Report,
    /// Nothing, if both sides have what they may have.
    pub result: Result<(), SyncError<E>>,
}

/// Synchronises, speaking first, for whoever holds a copy already: [`Peer::dialled`], [`Peer::ready`], [`Ready::synchronise`].
/// `binding` is what ties the handshake to this channel; both sides must give the same.
pub async fn initiate<R: Replica, S: AsyncRead + AsyncWrite + Unpin>(
    replica: &mut R,
    stream: &mut S,
    me: &Identity,
    binding: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
    limits: &Limits,
) -> Ended<R::Error> {
    whole(Side::Dialled, replica, stream, me, binding, rng, limits).await
}

/// Synchronises with a caller, for whoever holds a copy already: [`Peer::called`], [`Peer::ready`],
/// [`Ready::synchronise`].
pub async fn respond<R: Replica, S: AsyncRead + AsyncWrite + Unpin>(
    replica: &mut R,
    stream: &mut S,
    me: &Identity,
    binding: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
    limits: &Limits,
) -> Ended<R::Error> {
    whole(Side::Called, replica, stream, me, binding, rng, limits).await
}

/// How this side came to the channel.
#[derive(Debug, Clone, Copy)]
enum Side {
    Dialled,
    Called,
}

async fn whole<R: Replica, S: AsyncRead + AsyncWrite + Unpin>(
    side: Side,
    replica: &mut R,
    stream: &mut S,
    me: &Identity,
    binding: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
    limits: &Limits,
) -> Ended<R::Error> {
    let (vault, mut pace) = (replica.vault(), Pace::new(limits.clone()));
    let greeting = greet(side, stream, &pace, &vault, me, binding, rng).await;
    let (peer, error) = match greeting {
        Ok((proved, unused)) => {
            pace.begin(&unused);
            match agree(side, stream, &pace, unused).await {
                Ok(unused) => {
                    let peer = Peer {
                        side,
                        stream,
                        pace,
                        unused,
                        proved,
                        me: me.member(),
                        vault,
                    };
                    return Ready(peer).synchronise(replica).await.0;
                }
                Err(error) => (Some(proved.peer), error),
            }
        }
        Err(error) => (None, error),
    };
    Ended {
        report: Report {
            peer,
            bytes_sent: pace.sent(),
            bytes_received: pace.received(),
            ..Report::default()
        },
        result: Err(error),
    }
}

/// The handshake, and what came behind it.
async fn greet<E, S: AsyncRead + AsyncWrite + Unpin>(
    side: Side,
    stream: &mut S,
    pace: &Pace,
    vault: &VaultId,
    me: &Identity,
    binding: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<(Proved, Vec<u8>), SyncError<E>> {
    let (read, write) = tokio::io::split(stream);
    let mut reader = Reader::new(read, pace, Vec::new());
    let mut writer = Writer::new(write, pace);
    let (hears, says) = (&mut reader, &mut writer);
    let proved = match side {
        Side::Dialled => handshake::initiate(hears, says, vault, me, binding, rng).await,
        Side::Called => handshake::respond(hears, says, vault, me, binding, rng).await,
    };
    match proved {
        Ok(proved) => Ok((proved, reader.into_unused())),
        Err(error) => Err(part(&mut reader, &mut writer, error).await),
    }
}

/// Both sides can begin: the one that was called says so, and the one that dialled begins with its *open*. Gives what has come and
/// was not used.
async fn agree<E, S: AsyncRead + AsyncWrite + Unpin>(
    side: Side,
    stream: &mut S,
    pace: &Pace,
    unused: Vec<u8>,
) -> Result<Vec<u8>, SyncError<E>> {
    let (read, write) = tokio::io::split(stream);
    let mut reader = Reader::new(read, pace, unused);
    let mut writer = Writer::new(write, pace);
    let agreed: Result<(), SyncError<E>> = async {
        match side {
            Side::Dialled => {
                reader.expect(Kind::Ready).await?;
            }
            Side::Called => {
                writer.send(Kind::Ready, &[]).await?;
                writer.flush().await?;
                reader.await_whole(Kind::Open).await?;
            }
        }
        Ok(())
    }
    .await;
    match agreed {
        Ok(()) => Ok(reader.into_unused()),
        Err(error) => Err(part(&mut reader, &mut writer, error).await),
    }
}

/// The other end of a channel, which has proved its member key, and that it knows the vault. No copy is needed for that. Nothing
/// was given to the peer yet; whether it is a member is seen by the copy.
pub struct Peer<S> {
    side: Side,
    stream: S,
    pace: Pace,
    unused: Vec<u8>,
    proved: Proved,
    me: MemberId,
    vault: VaultId,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// The handshake of the side that dialled and speaks first. `binding` is what ties it to this channel; both sides must give
    /// the same.
    pub async fn dialled(
        stream: S,
        vault: &VaultId,
        me: &Identity,
        binding: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
        limits: &Limits,
    ) -> Result<Self, SyncError<Infallible>> {
        Self::greeted(Side::Dialled, stream, vault, me, binding, rng, limits).await
    }

    /// The same of the side that was called.
    pub async fn called(
        stream: S,
        vault: &VaultId,
        me: &Identity,
        binding: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
        limits: &Limits,
    ) -> Result<Self, SyncError<Infallible>> {
        Self::greeted(Side::Called, stream, vault, me, binding, rng, limits).await
    }

    async fn greeted(
        side: Side,
        mut stream: S,
        vault: &VaultId,
        me: &Identity,
        binding: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
        limits: &Limits,
    ) -> Result<Self, SyncError<Infallible>> {
        let pace = Pace::new(limits.clone());
        let greeting: Result<_, SyncError<Infallible>> =
            greet(side, &mut stream, &pace, vault, me, binding, rng).await;
        let (proved, unused) = greeting?;
        Ok(Self {
            side,
            stream,
            pace,
            unused,
            proved,
            me: me.member(),
            vault: *vault,
        })
    }

    /// Who it is.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.proved.peer
    }

    /// Waits until both sides can begin. The side that was called says that it can by calling this, and its peer may go on waiting
    /// until then; the side that dialled has then to begin. Neither needs its copy before: whoever has to hold one for nobody else
    /// to write to it opens it only afterwards.
    ///
    /// # Errors
    /// That the peer cannot begin, or does not within [`Limits::idle`].
    pub async fn ready(mut self) -> Result<Ready<S>, SyncError<Infallible>> {
        self.pace.begin(&self.unused);
        let unused = std::mem::take(&mut self.unused);
        self.unused = agree(self.side, &mut self.stream, &self.pace, unused).await?;
        Ok(Ready(self))
    }

    /// Says why there is no session, and gives the channel back.
    pub async fn refuse(mut self, refusal: Refusal) -> S {
        let (_, write) = tokio::io::split(&mut self.stream);
        Writer::new(write, &self.pace).bye(refusal).await;
        self.stream
    }
}

/// A peer with which a session can begin.
pub struct Ready<S>(Peer<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Ready<S> {
    /// Who it is.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.0.member()
    }

    /// Synchronises a copy of the vault that the handshake was about, and gives the channel back.
    ///
    /// # Panics
    /// If it is a copy of another vault.
    pub async fn synchronise<R: Replica>(self, replica: &mut R) -> (Ended<R::Error>, S) {
        let Self(mut peer) = self;
        assert!(
            replica.vault() == peer.vault,
            "the handshake was about another vault"
        );
        peer.pace.begin(&peer.unused);
        let (read, write) = tokio::io::split(&mut peer.stream);
        let reader = Reader::new(read, &peer.pace, peer.unused);
        let writer = Writer::new(write, &peer.pace);
        let ended = run(replica, reader, writer, peer.me, peer.proved, &peer.pace).await;
        (ended, peer.stream)
    }
}

async fn run<R: Replica, I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
    replica: &mut R,
    mut reader: Reader<'_, I>,
    mut writer: Writer<'_, O>,
    me: MemberId,
    proved: Proved,
    pace: &Pace,
) -> Ended<R::Error> {
    let Proved { peer, salt } = proved;
    let mut session = Session {
        replica: Mutex::new(replica),
        me,
        peer,
        salt,
        pace,
        report: Mutex::new(Report::default()),
    };
    let result = session.rounds(&mut reader, &mut writer).await;
    // What had arrived is kept, whatever ended the session.
    let kept = session.commit(true);
    let report = session
        .report
        .into_inner()
        .expect("no holder of the lock panics");
    let result = match result.and(kept) {
        Ok(()) => Ok(()),
        Err(error) => Err(part(&mut reader, &mut writer, error).await),
    };
    Ended {
        report: Report {
            peer: Some(peer),
            bytes_sent: pace.sent(),
            bytes_received: pace.received(),
            ..report
        },
        result,
    }
}

/// Says to the peer why this side goes, if it is this side's doing; else finds out whether the peer has said so.
async fn part<E, I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
    reader: &mut Reader<'_, I>,
    writer: &mut Writer<'_, O>,
    error: SyncError<E>,
) -> SyncError<E> {
    if matches!(error, SyncError::Channel(_)) {
        return match reader.farewell().await {
            Some(refusal) => SyncError::Refused(refusal),
            None => error,
        };
    }
    let says = match &error {
        SyncError::Channel(_) | SyncError::Refused(_) => None,
        SyncError::Peer(fault) => Some(fault.refusal()),
        SyncError::Declined(refusal) => Some(*refusal),
        SyncError::Replica(_) => Some(Refusal::Internal),
    };
    if let Some(refusal) = says {
        writer.bye(refusal).await;
    }
    error
}

/// What both sides have said about each other in this round.
struct Terms {
    /// What boxes, keyrings and blobs go back and forth.
    scope: Scope,
    /// Whether slots do.
    slots: bool,
    mine: Standing,
    theirs: SeenAs,
    newcomer: bool,
    their_newcomer: bool,
}

impl Terms {
    /// Whether the peer takes boxes from this side.
    fn they_take_boxes(&self) -> bool {
        self.theirs == SeenAs::Member || self.their_newcomer
    }

    /// Whether the peer takes anything from this side.
    fn they_take(&self) -> bool {
        self.theirs != SeenAs::Former || self.their_newcomer
    }

    /// Whether this side takes anything from the peer.
    fn we_take(&self) -> bool {
        !matches!(self.mine, Standing::Former { .. }) || self.newcomer
    }

    /// Whether this side gives anything to the peer.
    fn we_give(&self) -> bool {
        !matches!(self.mine, Standing::Unknown)
    }

    /// Whether the peer gives anything to this side.
    fn they_give(&self) -> bool {
        self.theirs != SeenAs::Unknown
    }
}

struct Session<'a, R> {
    /// One future reads and another writes; neither holds the lock while it waits.
    replica: Mutex<&'a mut R>,
    me: MemberId,
    peer: MemberId,
    salt: Salt,
    pace: &'a Pace,
    report: Mutex<Report>,
}

/// What the receiving half of a round brought.
#[derive(Default)]
struct Brought {
    fresh: u64,
    later: u64,
}

const NEWCOMER: u8 = 1;
const NO_GENESIS: u8 = 2;
const SLOTS: u8 = 4;

/// What this side shows, and the whole names behind the trees that are not of seals.
struct Shown {
    forest: Vec<Tree>,
    keyrings: Vec<KeyringId>,
    slots: Vec<MemberId>,
    blobs: Vec<Blob>,
}

impl<R: Replica> Session<'_, R> {
    fn with<T>(
        &self,
        act: impl FnOnce(&mut R) -> Result<T, R::Error>,
    ) -> Result<T, SyncError<R::Error>> {
        let mut replica = self.replica.lock().expect("no holder of the lock panics");
        act(&mut **replica).map_err(SyncError::Replica)
    }

    fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().expect("no holder of the lock panics"));
    }

    fn commit(&self, last: bool) -> Result<(), SyncError<R::Error>> {
        self.judge(self.with(|replica| replica.commit(last))?)
            .map(|_| ())
    }

    /// An offer that is not genuine is the peer's fault: it verifies before it keeps, too.
    fn judge(&self, taken: Taken) -> Result<Taken, SyncError<R::Error>> {
        match taken {
            Taken::Invalid(why) => Err(Fault::Invalid(why).into()),
            taken => Ok(taken),
        }
    }

    async fn rounds<I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
        &mut self,
        reader: &mut Reader<'_, I>,
        writer: &mut Writer<'_, O>,
    ) -> Result<(), SyncError<R::Error>> {
        for round in 1.. {
            self.count(|report| report.rounds = round);
            let (terms, taken_genesis) = self.open(reader, writer).await?;
            self.count(|report| report.seen_as = Some(terms.theirs));
            let shown = self.show(&terms)?;
            let findings = self.compare(&shown, reader, writer).await?;
            let brought = self
                .transfer(&terms, &shown, &findings, reader, writer)
                .await?;
            self.blobs(&terms, &shown, &findings, reader, writer)
                .await?;
            let changed = self.with(|replica| replica.standing(&self.peer))? != terms.mine;
            let again = taken_genesis || changed || (brought.later > 0 && brought.fresh > 0);
            let theirs = exchange(reader, writer, Kind::Round, &[u8::from(again)]).await?;
            let their_again = match theirs[..] {
                [0] => false,
                [1] => true,
                _ => return Err(Fault::Malformed("round").into()),
            };
            if (again || their_again) && round < ROUNDS {
                continue;
            }
            return match (&terms.mine, terms.theirs) {
                (Standing::Unknown, _) if !terms.newcomer => {
                    Err(SyncError::Declined(Refusal::NotAMember))
                }
                (Standing::Former { .. }, _) if !terms.newcomer => {
                    Err(SyncError::Declined(Refusal::FormerMember))
                }
                (_, SeenAs::Unknown) if !terms.their_newcomer => {
                    Err(SyncError::Refused(Refusal::NotAMember))
                }
                (_, SeenAs::Former) if !terms.their_newcomer => {
                    Err(SyncError::Refused(Refusal::FormerMember))
                }
                _ if terms.newcomer && terms.their_newcomer => {
                    Err(SyncError::Declined(Refusal::NotAMember))
                }
                _ => Ok(()),
            };
        }
        unreachable!("the last round returns")
    }

    /// Both sides say how they see each other; whoever has nothing gets the genesis. True if that was this side.
    async fn open<I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
        &self,
        reader: &mut Reader<'_, I>,
        writer: &mut Writer<'_, O>,
    ) -> Result<(Terms, bool), SyncError<R::Error>> {
        let (genesis, own, mine) = self.with(|replica| {
            Ok((
                replica.genesis()?,
                replica.standing(&self.me)?,
                replica.standing(&self.peer)?,
            ))
        })?;
        let newcomer = genesis.is_none() || own == Standing::Unknown;
        if newcomer || matches!(mine, Standing::Member { .. }) {
            self.pace.trust();
        }
        // A newcomer cannot judge the peer, and gives nothing that it might have to refuse.
        let scope = match &mine {
            _ if newcomer => Scope::All,
            Standing::Member { boxes, .. } => boxes.clone(),
            _ => Scope::none(),
        };
        let keeps_slots = match &mine {
            Standing::Member { kind, .. } => matches!(
                kind,
                MemberKind::Root | MemberKind::Slot | MemberKind::Device
            ),
            _ => newcomer,
        };
        let seen = match &mine {
            Standing::Unknown => SeenAs::Unknown,
            Standing::Member { .. } => SeenAs::Member,
            Standing::Former { .. } => SeenAs::Former,
        };
        let mut body = vec![
            if newcomer { NEWCOMER } else { 0 }
                | if genesis.is_none() { NO_GENESIS } else { 0 }
                | if keeps_slots { SLOTS } else { 0 },
            seen as u8,
        ];
        write_scope(&scope, &mut body);
        let theirs = exchange(reader, writer, Kind::Open, &body).await?;
        let mut fields = Fields(&theirs, "open");
        let flags = fields.u8()?;
        if flags > (NEWCOMER | NO_GENESIS | SLOTS) || flags & (NEWCOMER | NO_GENESIS) == NO_GENESIS
        {
            return Err(Fault::Malformed("open: flags").into());
        }
        let their_view = match fields.u8()? {
            0 => SeenAs::Unknown,
            1 => SeenAs::Member,
            2 => SeenAs::Former,
            _ => return Err(Fault::Malformed("open: standing").into()),
        };
        let their_scope = read_scope(&mut fields)?;
        fields.end()?;
        let terms = Terms {
            scope: scope.and(&their_scope),
            slots: keeps_slots && flags & SLOTS != 0,
            mine,
            theirs: their_view,
            newcomer,
            their_newcomer: flags & NEWCOMER != 0,
        };
        let lacks = |side: bool, other: bool| side && !other;
        let they_lack = lacks(flags & NO_GENESIS != 0, genesis.is_none());
        let we_lack = lacks(genesis.is_none(), flags & NO_GENESIS != 0);
        if they_lack && terms.we_give() {
            writer
                .send(Kind::Genesis, &genesis.expect("we have it"))
                .await?;
            writer.flush().await?;
        }
        if we_lack && terms.they_give() {
            let body = reader.expect(Kind::Genesis).await?;
            // Whatever the replica thinks of it, it must be the one whose hash is the vault.
            match Genesis::parse(&body) {
                Ok(genesis)
                    if genesis.vault_id() == self.with(|replica| Ok(replica.vault()))? => {}
                Ok(_) => return Err(Fault::OtherVault.into()),
                Err(error) => return Err(Fault::Invalid(error.to_string()).into()),
            }
            self.judge(self.with(|replica| replica.insert_genesis(&body))?)?;
            return Ok((terms, true));
        }
        Ok((terms, false))
    }

    /// Gathers what the peer may know of.
    fn show(&self, terms: &Terms) -> Result<Shown, SyncError<R::Error>> {
        let mut shown = Shown {
            forest: Vec::new(),
            keyrings: Vec::new(),
            slots: Vec::new(),
            blobs: Vec::new(),
        };
        let notices: &[Notice] = match &terms.mine {
            Standing::Former { notices } if !terms.newcomer => notices,
            Standing::Unknown if !terms.newcomer => return Ok(shown),
            _ => &[],
        };
        let former = matches!(terms.mine, Standing::Former { .. }) && !terms.newcomer;
        let authors: BTreeSet<MemberId> = if former {
            notices.iter().map(|notice| notice.author).collect()
        } else {
            self.with(|replica| replica.authors())?
                .into_iter()
                .collect()
        };
        for author in authors {
            let through = if former {
                notices
                    .iter()
                    .filter(|notice| notice.author == author)
                    .map(|notice| notice.through)
                    .max()
                    .unwrap_or(0)
            } else {
                u64::MAX
            };
            let mut tree = Tree::new(TreeKey::seals(author));
            self.with(|replica| {
                replica.items(&author, 1..=through, &mut |item| {
                    tree.push(
                        &self.salt,
                        item.counter,
                        &item.seal.0,
                        &forest::seen(&item, &terms.scope),
                    );
                })
            })?;
            if tree.len() > 0 {
                shown.forest.push(tree);
            }
        }
        if former {
            return Ok(shown);
        }
        let mut keyrings = self.with(|replica| replica.keyrings())?;
        keyrings.retain(|(_, namespace)| terms.scope.contains(namespace));
        shown.keyrings = keyrings
            .into_iter()
            .map(|(id, _)| id)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        if terms.slots {
            shown.slots = self
                .with(|replica| replica.slots())?
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
        }
        let mut blobs = self.with(|replica| replica.blobs())?;
        blobs.retain(|blob| terms.scope.contains(&blob.namespace));
        blobs.sort_unstable();
        blobs.dedup_by_key(|blob| blob.id);
        shown.blobs = blobs;
        for (kind, ids) in [
            (
                TreeKind::Keyrings,
                shown.keyrings.iter().map(|id| id.0).collect::<Vec<_>>(),
            ),
            (TreeKind::Slots, shown.slots.iter().map(|id| id.0).collect()),
            (
                TreeKind::Blobs,
                shown.blobs.iter().map(|blob| blob.id.0).collect(),
            ),
        ] {
            let mut tree = Tree::new(TreeKey::of(kind));
            for id in ids {
                let place = u64::from_be_bytes(*id.first_chunk().expect("a name has 32 bytes"));
                tree.push(&self.salt, place, &id, &Held::Original);
            }
            if tree.len() > 0 {
                shown.forest.push(tree);
            }
        }
        Ok(shown)
    }

    async fn compare<I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
        &self,
        shown: &Shown,
        reader: &mut Reader<'_, I>,
        writer: &mut Writer<'_, O>,
    ) -> Result<Findings, SyncError<R::Error>> {
        let total = forest::total(&shown.forest);
        let theirs = exchange(reader, writer, Kind::Total, &total).await?;
        if theirs.len() != total.len() {
            return Err(Fault::Malformed("total").into());
        }
        if theirs == total {
            return Ok(Findings::default());
        }
        let theirs = exchange(
            reader,
            writer,
            Kind::Trees,
            &forest::encode_trees(&shown.forest),
        )
        .await?;
        let mut comparison = Comparison::new(&self.salt, &shown.forest, &theirs)?;
        while let Some(step) = comparison.next() {
            let theirs = exchange(reader, writer, Kind::Step, &step).await?;
            comparison.answer(&theirs, |key, place, name| self.original(key, place, name))??;
        }
        let findings = comparison.findings();
        if findings.expected > self.pace.limits().frames {
            return Err(Fault::TooMuch("frames in one session").into());
        }
        Ok(findings)
    }

    /// How good the author's own box of a seal is.
    fn original(
        &self,
        key: &TreeKey,
        place: u64,
        name: u64,
    ) -> Result<Option<Rank>, SyncError<R::Error>> {
        let mut found = None;
        if key.kind == TreeKind::Seals {
            self.with(|replica| {
                replica.items(&key.owner, place..=place, &mut |item| {
                    if self.salt.name(TreeKind::Seals, &item.seal.0) == name {
                        found = Some(item.original);
                    }
                })
            })?;
        }
        Ok(found)
    }

    /// Both sides send at once what the other lacks, and take what comes.
    async fn transfer<I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
        &self,
        terms: &Terms,
        shown: &Shown,
        findings: &Findings,
        reader: &mut Reader<'_, I>,
        writer: &mut Writer<'_, O>,
    ) -> Result<Brought, SyncError<R::Error>> {
        both(
            self.send(terms, shown, findings, writer),
            self.receive(terms, findings, reader),
        )
        .await
    }

    async fn send<O: AsyncWrite + Unpin>(
        &self,
        terms: &Terms,
        shown: &Shown,
        findings: &Findings,
        writer: &mut Writer<'_, O>,
    ) -> Result<(), SyncError<R::Error>> {
        if terms.we_give() && terms.they_take() {
            let mut go_on = true;
            // New seals come first, in the order of their chains. Better boxes of seals that the peer has come after all of
            // them: among those may be the rotation that their key is judged by.
            for (found, better) in [(&findings.lacking, false), (&findings.better, true)] {
                if better && go_on && !found.is_empty() {
                    writer.send(Kind::Better, &[]).await?;
                }
                let authors = if found.is_empty() {
                    Vec::new()
                } else {
                    self.with(|replica| replica.authors())?
                };
                for author in authors {
                    let key = TreeKey::seals(author);
                    if let Some((tree, ranges)) = found
                        .iter()
                        .find(|(tree, _)| shown.forest[*tree].key == key)
                        && go_on
                    {
                        go_on = self
                            .send_seals(terms, &author, &shown.forest[*tree], ranges, writer)
                            .await?;
                    }
                }
            }
            if terms.they_take_boxes() && matches!(terms.mine, Standing::Member { .. }) {
                for (tree, ranges) in &findings.lacking {
                    self.send_files(shown.forest[*tree].key.kind, ranges, shown, writer)
                        .await?;
                }
            }
        }
        writer.send(Kind::End, &[]).await?;
        writer.flush().await
    }

    /// Sends seals of one author. False if the peer's standing has changed meanwhile: the next round has other terms.
    async fn send_seals<O: AsyncWrite + Unpin>(
        &self,
        terms: &Terms,
        author: &MemberId,
        tree: &Tree,
        ranges: &[std::ops::Range<usize>],
        writer: &mut Writer<'_, O>,
    ) -> Result<bool, SyncError<R::Error>> {
        // So many are looked up at once.
        const BATCH: usize = 256;
        let vault = self.with(|replica| Ok(replica.vault()))?;
        let indices: Vec<usize> = ranges.iter().cloned().flatten().collect();
        let mut since = 0_usize;
        for batch in indices
            .chunk_by(|a, b| a + 1 == *b)
            .flat_map(|run| run.chunks(BATCH))
        {
            let (first, last) = (batch[0], batch[batch.len() - 1]);
            let mut found: Vec<(u64, SealId, NamespaceId)> = Vec::with_capacity(batch.len());
            let mut wanted = batch.iter().map(|index| tree.at(*index)).peekable();
            self.with(|replica| {
                replica.items(author, tree.at(first).0..=tree.at(last).0, &mut |item| {
                    let name = self.salt.name(TreeKind::Seals, &item.seal.0);
                    if wanted.next_if_eq(&(item.counter, name)).is_some() {
                        found.push((item.counter, item.seal, item.namespace));
                    }
                })
            })?;
            for (counter, seal, namespace) in found {
                let Some(mut frame) = self.with(|replica| replica.frame(author, counter, &seal))?
                else {
                    continue;
                };
                let boxed = namespace == NamespaceId::CONTROL
                    || (terms.they_take_boxes() && terms.scope.contains(&namespace));
                if !boxed {
                    let whole = std::mem::take(&mut frame);
                    // What this replica keeps has been parsed before.
                    let whole = FrameRef::parse(&vault, &whole)
                        .map_err(|_| SyncError::Declined(Refusal::Internal))?;
                    whole.write_without_box(&mut frame);
                }
                since += frame.len();
                writer.send(Kind::Frame, &frame).await?;
                self.count(|report| report.sent.frames += 1);
                if since >= CHUNK {
                    since = 0;
                    if self.with(|replica| replica.standing(&self.peer))? != terms.mine {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    async fn send_files<O: AsyncWrite + Unpin>(
        &self,
        kind: TreeKind,
        ranges: &[std::ops::Range<usize>],
        shown: &Shown,
        writer: &mut Writer<'_, O>,
    ) -> Result<(), SyncError<R::Error>> {
        for index in ranges.iter().cloned().flatten() {
            match kind {
                TreeKind::Keyrings => {
                    if let Some(bytes) =
                        self.with(|replica| replica.keyring(&shown.keyrings[index]))?
                    {
                        writer.send(Kind::Keyring, &bytes).await?;
                        self.count(|report| report.sent.keyrings += 1);
                    }
                }
                TreeKind::Slots => {
                    if let Some(bytes) = self.with(|replica| replica.slot(&shown.slots[index]))? {
                        writer.send(Kind::Slot, &bytes).await?;
                        self.count(|report| report.sent.slots += 1);
                    }
                }
                // Blobs are offered once the frames that name them are there.
                TreeKind::Seals | TreeKind::Blobs => {}
            }
        }
        Ok(())
    }

    /// What is taken from the peer in this round.
    fn takes<'t>(
        &self,
        terms: &'t Terms,
        findings: &'t Findings,
    ) -> Result<Takes<'t>, SyncError<R::Error>> {
        let takes = terms.we_take() && terms.they_give();
        let boxes = takes && (terms.newcomer || matches!(terms.mine, Standing::Member { .. }));
        Ok(Takes {
            vault: self.with(|replica| Ok(replica.vault()))?,
            scope: boxes.then_some(&terms.scope),
            slots: terms.slots,
            frames: if takes { findings.expected } else { 0 },
            authors: &findings.expected_of,
            introduction: self.pace.limits().introduction,
        })
    }

    /// Takes what the peer sends until it has sent everything. The inbox says whether it may, the replica whether it is genuine.
    async fn receive<I: AsyncRead + Unpin>(
        &self,
        terms: &Terms,
        findings: &Findings,
        reader: &mut Reader<'_, I>,
    ) -> Result<Brought, SyncError<R::Error>> {
        const KINDS: [Kind; 5] = [
            Kind::Frame,
            Kind::Better,
            Kind::Keyring,
            Kind::Slot,
            Kind::End,
        ];
        let mut inbox = Inbox::new(self.takes(terms, findings)?);
        let mut since = 0_usize;
        let mut brought = Brought::default();
        loop {
            let (kind, body) = reader
                .one_of(&KINDS, "a frame, a keyring, a slot or the end")
                .await?;
            let taken = match kind {
                Kind::Frame => {
                    inbox.frame(&body)?;
                    self.with(|replica| replica.insert(&body))?
                }
                Kind::Better => {
                    inbox.better(&body)?;
                    continue;
                }
                Kind::Keyring => {
                    inbox.keyring(&body)?;
                    self.with(|replica| replica.insert_keyring(&body))?
                }
                Kind::Slot => {
                    inbox.slot(&body)?;
                    self.with(|replica| replica.insert_slot(&body))?
                }
                _ => {
                    let withheld = inbox.end(&body)?;
                    self.commit(true)?;
                    self.count(|report| report.withheld = withheld);
                    return Ok(brought);
                }
            };
            let taken = self.judge(taken)?;
            self.count(|report| report.note(kind, &taken));
            match taken {
                Taken::New => brought.fresh += 1,
                Taken::Later => brought.later += 1,
                Taken::Known | Taken::Declined | Taken::Invalid(_) => {}
            }
            since += body.len();
            if since >= CHUNK {
                since = 0;
                self.commit(false)?;
            }
        }
    }

    /// Blobs: each side offers, the other says from where on it wishes for which, and both send at once.
    async fn blobs<I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
        &self,
        terms: &Terms,
        shown: &Shown,
        findings: &Findings,
        reader: &mut Reader<'_, I>,
        writer: &mut Writer<'_, O>,
    ) -> Result<(), SyncError<R::Error>> {
        let key = TreeKey::of(TreeKind::Blobs);
        let gives = matches!(terms.mine, Standing::Member { .. }) && terms.they_take_boxes();
        let mut offers: Vec<(BlobId, u64)> = findings
            .lacking
            .iter()
            .filter(|(tree, _)| gives && shown.forest[*tree].key == key)
            .flat_map(|(_, ranges)| ranges.iter().cloned().flatten())
            .map(|index| (shown.blobs[index].id, shown.blobs[index].size))
            .collect();
        let takes =
            terms.they_give() && (terms.newcomer || matches!(terms.mine, Standing::Member { .. }));
        loop {
            let rest = offers.split_off(offers.len().min(OFFERS));
            let mut body = vec![u8::from(!rest.is_empty())];
            for (id, size) in &offers {
                body.extend_from_slice(&id.0);
                body.extend_from_slice(&size.to_be_bytes());
            }
            let theirs = exchange(reader, writer, Kind::Offers, &body).await?;
            let (offered, more) = read_offers(&theirs)?;
            if !takes && !offered.is_empty() {
                return Err(Fault::Unasked("blobs").into());
            }
            if offers.is_empty() && offered.is_empty() {
                return Ok(());
            }
            let mut wishes = Vec::with_capacity(offered.len());
            for (id, size) in &offered {
                let from = self.with(|replica| replica.blob_wanted(id, *size))?;
                wishes.push((*id, *size, from.filter(|from| from < size)));
            }
            let body: Vec<u8> = wishes
                .iter()
                .flat_map(|(_, _, from)| from.unwrap_or(u64::MAX).to_be_bytes())
                .collect();
            let theirs = exchange(reader, writer, Kind::Wishes, &body).await?;
            let (wished, rest_of_wishes) = theirs.as_chunks::<8>();
            if !rest_of_wishes.is_empty() || wished.len() != offers.len() {
                return Err(Fault::Malformed("wishes").into());
            }
            let mut grants = Vec::with_capacity(offers.len());
            for ((id, size), from) in offers.iter().zip(wished) {
                match u64::from_be_bytes(*from) {
                    u64::MAX => {}
                    from if from < *size => grants.push((*id, *size, from)),
                    _ => return Err(Fault::Malformed("wishes: beyond the end").into()),
                }
            }
            both(
                self.send_blobs(&grants, writer),
                self.receive_blobs(&wishes, reader),
            )
            .await?;
            offers = rest;
            if offers.is_empty() && !more {
                return Ok(());
            }
        }
    }

    async fn send_blobs<O: AsyncWrite + Unpin>(
        &self,
        grants: &[(BlobId, u64, u64)],
        writer: &mut Writer<'_, O>,
    ) -> Result<(), SyncError<R::Error>> {
        let mut part = Vec::new();
        for (id, size, from) in grants {
            let mut at = *from;
            while at < *size {
                part.resize((size - at).min(BLOB_PART as u64) as usize, 0);
                if !self.with(|replica| replica.blob_read(id, at, &mut part))? {
                    return Err(SyncError::Declined(Refusal::Internal));
                }
                writer.send(Kind::Part, &part).await?;
                at += part.len() as u64;
            }
            self.count(|report| report.sent.blobs += 1);
        }
        writer.flush().await
    }

    async fn receive_blobs<I: AsyncRead + Unpin>(
        &self,
        wishes: &[(BlobId, u64, Option<u64>)],
        reader: &mut Reader<'_, I>,
    ) -> Result<(), SyncError<R::Error>> {
        for (id, size, from) in wishes {
            let Some(mut at) = *from else { continue };
            while at < *size {
                let part = reader.expect(Kind::Part).await?;
                if part.len() as u64 != (size - at).min(BLOB_PART as u64) {
                    return Err(Fault::Malformed("part").into());
                }
                let taken =
                    self.judge(self.with(|replica| replica.blob_write(id, *size, at, &part))?)?;
                at += part.len() as u64;
                if at == *size && taken == Taken::New {
                    self.count(|report| report.kept.blobs += 1);
                }
            }
        }
        Ok(())
    }
}

/// Sends and receives at once. Where the channel breaks under the sender, what has arrived already is still taken.
async fn both<T, E>(
    send: impl Future<Output = Result<(), SyncError<E>>>,
    receive: impl Future<Output = Result<T, SyncError<E>>>,
) -> Result<T, SyncError<E>> {
    let (mut send, mut receive) = (std::pin::pin!(send), std::pin::pin!(receive));
    tokio::select! {
        received = &mut receive => {
            let received = received?;
            send.await?;
            Ok(received)
        }
        sent = &mut send => match sent {
            Ok(()) => receive.await,
            Err(SyncError::Channel(broken)) => match tokio::time::timeout(LEFTOVERS, receive).await {
                Ok(Err(error)) if !matches!(error, SyncError::Channel(_)) => Err(error),
                _ => Err(SyncError::Channel(broken)),
            },
            Err(error) => Err(error),
        },
    }
}

/// How long the rest of a broken channel is read.
const LEFTOVERS: std::time::Duration = std::time::Duration::from_secs(1);

/// Sends one message and takes one of the same kind, at once: neither side waits for the other to read first.
async fn exchange<E, I: AsyncRead + Unpin, O: AsyncWrite + Unpin>(
    reader: &mut Reader<'_, I>,
    writer: &mut Writer<'_, O>,
    kind: Kind,
    body: &[u8],
) -> Result<Vec<u8>, SyncError<E>> {
    let send = async {
        writer.send(kind, body).await?;
        writer.flush().await
    };
    let ((), theirs) = tokio::try_join!(send, reader.expect(kind))?;
    Ok(theirs)
}

fn write_scope(scope: &Scope, body: &mut Vec<u8>) {
    match scope {
        Scope::All => body.push(1),
        Scope::Only(set) => {
            body.push(0);
            body.extend_from_slice(&(set.len() as u16).to_be_bytes());
            for namespace in set {
                body.extend_from_slice(&namespace.0);
            }
        }
    }
}

fn read_scope(fields: &mut Fields<'_>) -> Result<Scope, Fault> {
    match fields.u8()? {
        1 => Ok(Scope::All),
        0 => {
            let mut set = BTreeSet::new();
            for _ in 0..fields.u16()? {
                let namespace = NamespaceId(fields.array()?);
                let ascends = set.last().is_none_or(|last| *last < namespace);
                if !ascends || namespace == NamespaceId::CONTROL || namespace == NamespaceId::ALL {
                    return Err(Fault::Malformed("open: namespaces"));
                }
                set.insert(namespace);
            }
            Ok(Scope::Only(set))
        }
        _ => Err(Fault::Malformed("open: scope")),
    }
}

fn read_offers(body: &[u8]) -> Result<(Vec<(BlobId, u64)>, bool), Fault> {
    let mut fields = Fields(body, "offers");
    let more = match fields.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Fault::Malformed("offers")),
    };
    let (rows, rest) = fields.0.as_chunks::<40>();
    if !rest.is_empty() || (more && rows.is_empty()) {
        return Err(Fault::Malformed("offers"));
    }
    let mut offers: Vec<(BlobId, u64)> = Vec::with_capacity(rows.len());
    for row in rows {
        let mut fields = Fields(row, "offers");
        let (id, size) = (BlobId(fields.array()?), fields.u64()?);
        if offers.last().is_some_and(|(last, _)| *last >= id) {
            return Err(Fault::Malformed("offers: order"));
        }
        offers.push((id, size));
    }
    Ok((offers, more))
}
