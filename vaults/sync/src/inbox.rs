//! What a peer sends in a round, held against what it announced: each author once, counters and names ascending, and
//! nothing that this side did not ask for. Whether it is genuine, the replica says.

use std::collections::BTreeSet;

use tally_vault_format::{FrameRef, KeyringId, MemberId, NamespaceId, SealId, Slot, VaultId};

use crate::error::Fault;
use crate::replica::Scope;
use crate::wire::Kind;

/// What this side takes in a round.
#[derive(Clone, Copy)]
pub(crate) struct Takes<'a> {
    /// The vault.
    pub(crate) vault: VaultId,
    /// The namespaces of which boxes and keyrings come; none from a peer that only shows who it is.
    pub(crate) scope: Option<&'a Scope>,
    /// Whether slots come.
    pub(crate) slots: bool,
    /// How many frames the peer may send, and of which authors.
    pub(crate) frames: u64,
    pub(crate) authors: &'a [MemberId],
    /// Bytes of frames that are taken from a peer that only shows who it is.
    pub(crate) introduction: u64,
}

/// How far a peer has come with what it sends.
pub(crate) struct Inbox<'a> {
    takes: Takes<'a>,
    /// Frames that were announced and have not come.
    left: u64,
    /// Authors that have not begun.
    to_come: BTreeSet<MemberId>,
    last: Option<(MemberId, u64, SealId)>,
    /// Seals that are here and get a better box have begun.
    better: bool,
    last_file: Option<(u8, [u8; 32])>,
    introduced: u64,
}

impl<'a> Inbox<'a> {
    pub(crate) fn new(takes: Takes<'a>) -> Self {
        Self {
            takes,
            left: takes.frames,
            to_come: takes.authors.iter().copied().collect(),
            last: None,
            better: false,
            last_file: None,
            introduced: 0,
        }
    }

    pub(crate) fn frame(&mut self, body: &[u8]) -> Result<(), Fault> {
        let frame = FrameRef::parse(&self.takes.vault, body)
            .map_err(|error| Fault::Invalid(error.to_string()))?;
        let seal = frame.seal();
        let (counter, id) = (seal.counter, frame.seal_id());
        if self.last_file.is_some() {
            return Err(Fault::Unasked("a frame after the frames"));
        }
        match self.last {
            Some((author, last, last_id)) if author == seal.author => {
                if (last, last_id) >= (counter, id) {
                    return Err(Fault::Unasked("frames out of order, or twice"));
                }
            }
            // An author comes once.
            _ => {
                if !self.to_come.remove(&seal.author) {
                    return Err(Fault::Unasked("frames of an author that was not announced"));
                }
            }
        }
        self.last = Some((seal.author, counter, id));
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(Fault::Unasked("more frames than were announced"))?;
        let in_scope = seal.namespace == NamespaceId::CONTROL
            || (self.takes.scope).is_some_and(|scope| scope.contains(&seal.namespace));
        if frame.sealed_box().is_some() && !in_scope {
            return Err(Fault::Unasked(
                "a box of a namespace that is not shared here",
            ));
        }
        if self.takes.scope.is_none() {
            self.introduced += body.len() as u64;
            if self.introduced > self.takes.introduction {
                return Err(Fault::TooMuch("bytes of an introduction"));
            }
        }
        Ok(())
    }

    /// From here on come better boxes of seals that are here: each author once more.
    pub(crate) fn better(&mut self, body: &[u8]) -> Result<(), Fault> {
        if self.better || self.last_file.is_some() || !body.is_empty() {
            return Err(Fault::Malformed("better"));
        }
        self.better = true;
        self.last = None;
        self.to_come = self.takes.authors.iter().copied().collect();
        Ok(())
    }

    pub(crate) fn keyring(&mut self, body: &[u8]) -> Result<(), Fault> {
        if self.takes.scope.is_none() {
            return Err(Fault::Unasked("a keyring"));
        }
        self.file(Kind::Keyring, KeyringId::of(body).0)
    }

    pub(crate) fn slot(&mut self, body: &[u8]) -> Result<(), Fault> {
        if self.takes.scope.is_none() || !self.takes.slots {
            return Err(Fault::Unasked("a slot"));
        }
        let slot = Slot::parse(&self.takes.vault, body)
            .map_err(|error| Fault::Invalid(error.to_string()))?;
        self.file(Kind::Slot, slot.card().member().0)
    }

    /// Keyrings come before slots, each ascending. What they are judged by has come before them.
    fn file(&mut self, kind: Kind, name: [u8; 32]) -> Result<(), Fault> {
        let place = (kind as u8, name);
        if self.last_file.is_some_and(|last| last >= place) {
            return Err(Fault::Unasked("keyrings or slots out of order, or twice"));
        }
        self.last_file = Some(place);
        Ok(())
    }

    /// The peer has sent everything. How many frames of those that it announced did not come.
    pub(crate) fn end(&self, body: &[u8]) -> Result<u64, Fault> {
        if !body.is_empty() {
            return Err(Fault::Malformed("end"));
        }
        Ok(self.left)
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;
    use tally_vault_format::{
        BoxDraft, ChainPosition, Content, EpochKey, GrantId, Identity, MemberKind, Op, OpId,
        OpKind, Record, RecordContent, Seal, Seed, Time, seal_frame,
    };

    use super::*;

    const VAULT: VaultId = VaultId([9; 32]);
    const NOTES: NamespaceId = NamespaceId([1; 16]);

    fn member(number: u8) -> Identity {
        Identity::new(MemberKind::Device, Seed::from_bytes([number; 32]))
    }

    /// The first seals of a member, each with a box of notes.
    fn frames(author: &Identity, count: usize) -> Vec<Vec<u8>> {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let key = EpochKey::from_bytes([3; 32]);
        let (mut chain, mut time): (Option<Seal>, Time) = (None, Time::from_millis(1));
        let mut frames = Vec::new();
        for _ in 0..count {
            let (first, before, last) = match &chain {
                Some(seal) => (seal.last() + 1, seal.head, Some(seal.time)),
                None => (1, OpId::NONE, None),
            };
            let mut draft = BoxDraft::new(VAULT, NOTES, author.member(), first, before, last);
            let content = Content::Record(Record {
                record_type: "note",
                run: None,
                receipt: None,
                content: RecordContent::Inline(b"text"),
            });
            time = Time(time.0 + 1);
            draft
                .push(&Op::new(time, OpKind::Add, Vec::new(), &content, &mut rng))
                .expect("it fits");
            let position = match &chain {
                Some(seal) => ChainPosition::after(seal),
                None => ChainPosition::first(GrantId::ROOT),
            };
            let mut frame = Vec::new();
            let seal = seal_frame(author, position, &draft, Some(&key), &mut rng, &mut frame)
                .expect("consistent");
            chain = Some(seal);
            frames.push(frame);
        }
        frames
    }

    fn bare(frame: &[u8]) -> Vec<u8> {
        let mut bare = Vec::new();
        FrameRef::parse(&VAULT, frame)
            .expect("a frame")
            .write_without_box(&mut bare);
        bare
    }

    fn takes<'a>(scope: Option<&'a Scope>, frames: u64, authors: &'a [MemberId]) -> Takes<'a> {
        Takes {
            vault: VAULT,
            scope,
            slots: false,
            frames,
            authors,
            introduction: 1_000,
        }
    }

    #[test]
    fn frames_come_in_order_once_and_as_many_as_were_announced() {
        let (one, two) = (member(1), member(2));
        let authors = [one.member(), two.member()];
        let (of_one, of_two) = (frames(&one, 3), frames(&two, 1));
        let all = Scope::All;
        let mut inbox = Inbox::new(takes(Some(&all), 4, &authors));
        let twice = Fault::Unasked("frames out of order, or twice");
        assert_eq!(inbox.frame(&of_one[0]), Ok(()));
        assert_eq!(inbox.frame(&of_one[2]), Ok(()), "others it may have kept");
        assert_eq!(inbox.frame(&of_one[2]), Err(twice.clone()));
        assert_eq!(inbox.frame(&of_one[1]), Err(twice));
        assert_eq!(inbox.frame(&of_two[0]), Ok(()));
        let stranger = Fault::Unasked("frames of an author that was not announced");
        assert_eq!(
            inbox.frame(&of_one[1]),
            Err(stranger.clone()),
            "its turn is over"
        );
        assert_eq!(inbox.frame(&frames(&member(3), 1)[0]), Err(stranger));
        assert_eq!(inbox.end(b""), Ok(1));

        // Better boxes of what is here: each author once more, and that once.
        assert_eq!(inbox.better(b""), Ok(()));
        assert_eq!(inbox.frame(&of_one[1]), Ok(()));
        assert_eq!(
            inbox.frame(&of_one[2]),
            Err(Fault::Unasked("more frames than were announced"))
        );
        assert_eq!(inbox.better(b""), Err(Fault::Malformed("better")));
        assert_eq!(inbox.end(b"x"), Err(Fault::Malformed("end")));
    }

    #[test]
    fn a_box_that_is_not_shared_is_refused_and_its_bare_seal_is_not() {
        let author = member(1);
        let authors = [author.member()];
        let frame = &frames(&author, 1)[0];
        let other = Scope::Only([NamespaceId([2; 16])].into());
        let notes = Scope::Only([NOTES].into());
        let refused: Result<(), Fault> = Err(Fault::Unasked(
            "a box of a namespace that is not shared here",
        ));
        let taken = |scope, frame: &[u8]| Inbox::new(takes(scope, 1, &authors)).frame(frame);
        assert_eq!(taken(Some(&notes), frame), Ok(()));
        assert_eq!(taken(Some(&other), frame), refused);
        assert_eq!(taken(None, frame), refused);
        assert_eq!(taken(Some(&other), &bare(frame)), Ok(()));
        assert_eq!(taken(None, &bare(frame)), Ok(()));
    }

    #[test]
    fn an_introduction_is_bounded_in_bytes() {
        let author = member(1);
        let authors = [author.member()];
        let mut inbox = Inbox::new(takes(None, 100, &authors));
        let mut taken = 0;
        let fault = loop {
            let frames = frames(&author, taken + 1);
            match inbox.frame(&bare(&frames[taken])) {
                Ok(()) => taken += 1,
                Err(fault) => break fault,
            }
        };
        assert_eq!(fault, Fault::TooMuch("bytes of an introduction"));
        assert_eq!(taken, 1_000 / (6 + Seal::LEN));
    }

    #[test]
    fn keyrings_come_before_slots_ascending_and_after_the_frames() {
        let author = member(1);
        let authors = [author.member()];
        let all = Scope::All;
        let mut rings: [&[u8]; 3] = [b"one", b"two", b"three"];
        rings.sort_by_key(|ring| KeyringId::of(ring));
        let new = || Inbox::new(takes(Some(&all), 1, &authors));
        let mut inbox = new();
        let order: Result<(), Fault> =
            Err(Fault::Unasked("keyrings or slots out of order, or twice"));
        assert_eq!(inbox.keyring(rings[1]), Ok(()));
        assert_eq!(inbox.keyring(rings[1]), order);
        assert_eq!(inbox.keyring(rings[0]), order);
        assert_eq!(inbox.keyring(rings[2]), Ok(()));
        assert_eq!(
            inbox.frame(&frames(&author, 1)[0]),
            Err(Fault::Unasked("a frame after the frames"))
        );
        assert_eq!(inbox.better(b""), Err(Fault::Malformed("better")));

        assert_eq!(new().file(Kind::Slot, [0; 32]), Ok(()));
        let mut inbox = new();
        assert_eq!(inbox.file(Kind::Slot, [0; 32]), Ok(()));
        assert_eq!(inbox.keyring(rings[2]), order, "slots come last");
        assert_eq!(new().slot(b"any"), Err(Fault::Unasked("a slot")));
        let mut stranger = Inbox::new(takes(None, 1, &authors));
        assert_eq!(stranger.keyring(rings[0]), Err(Fault::Unasked("a keyring")));
    }
}
