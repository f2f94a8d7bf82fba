//! What a copy must stand, whatever a peer does and whoever wrote: tried with the copy in memory here, and with the one on
//! disk by the tests of `vaults/store`.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use tally_vault_format::{
    BlobId, FrameRef, KeyringId, MemberId, MemberKind, NamespaceId, Right, SealId, VaultId,
};
use tally_vault_sync::{
    Blob, Ended, Fault, Item, Limits, Replica, Standing, SyncError, Taken, initiate, respond,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Author, Memory, World, boxes, frames, holdings, now, put, rng, session, substance, sync,
};

/// Where the copies come from that are tried: each holds no key.
pub trait Copies {
    type Copy: Replica;

    /// One that has nothing yet.
    fn empty(&mut self, vault: VaultId) -> Self::Copy;
}

pub struct InMemory;

impl Copies for InMemory {
    type Copy = Memory;

    fn empty(&mut self, vault: VaultId) -> Memory {
        Memory::relay(vault, now())
    }
}

type Error<C> = <<C as Copies>::Copy as Replica>::Error;

const NOTES: NamespaceId = NamespaceId([1; 16]);
const ALL: &[(NamespaceId, Right)] = &[(NamespaceId::ALL, Right::Admin)];

/// The root's copy: a key, a device, and 40 notes.
pub fn furnished() -> (World, Memory, Author) {
    let mut world = World::new(5);
    let mut copy = world.copy();
    let (keyring, frame) = world.rotate(NOTES, false);
    put(&mut copy, &frame);
    copy.insert_keyring(&keyring).expect("infallible");
    let (device, grant) = world.admit(MemberKind::Device, 2, ALL);
    put(&mut copy, &grant);
    for number in 0..40 {
        let frame = world.note(None, NOTES, &[number; 200]);
        put(&mut copy, &frame);
    }
    (world, copy, device)
}

/// A copy that lies in one way, and is honest otherwise.
struct Liar {
    honest: Memory,
    lie: Lie,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Lie {
    /// It shows frames and does not send them.
    Withholds,
    /// It changes a byte in the middle of each box.
    Alters,
    /// It sends other frames of the same author than it showed: the last one each time.
    Repeats,
    /// It says that it holds a seal with the greatest counter there is.
    HugeCounter,
    /// It gives each box a new, well-formed name: seals that nobody signed.
    Forges,
}

macro_rules! honest {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> Result<$out, Self::Error> { self.honest.$name($($arg),*) })*
    };
}

impl Replica for Liar {
    type Error = Infallible;
    fn vault(&self) -> VaultId {
        self.honest.vault()
    }
    honest! {
        genesis() -> Option<Vec<u8>>;
        standing(member: &MemberId) -> Standing;
        authors() -> Vec<MemberId>;
        keyrings() -> Vec<(KeyringId, NamespaceId)>;
        keyring(id: &KeyringId) -> Option<Vec<u8>>;
        slots() -> Vec<MemberId>;
        slot(member: &MemberId) -> Option<Vec<u8>>;
        blobs() -> Vec<Blob>;
        blob_wanted(id: &BlobId, size: u64) -> Option<u64>;
        blob_read(id: &BlobId, offset: u64, into: &mut [u8]) -> bool;
    }
    fn items(
        &self,
        author: &MemberId,
        counters: RangeInclusive<u64>,
        visit: &mut dyn FnMut(Item),
    ) -> Result<(), Self::Error> {
        let mut last = None;
        self.honest.items(author, counters.clone(), &mut |item| {
            last = Some(item);
            visit(item);
        })?;
        if let (Lie::HugeCounter, Some(item)) = (self.lie, last)
            && *counters.end() == u64::MAX
        {
            visit(Item {
                counter: u64::MAX,
                ..item
            });
        }
        Ok(())
    }
    fn frame(
        &self,
        author: &MemberId,
        counter: u64,
        seal: &SealId,
    ) -> Result<Option<Vec<u8>>, Self::Error> {
        let mut frame = self.honest.frame(author, counter, seal)?;
        match self.lie {
            Lie::Withholds => return Ok(None),
            Lie::Alters => {
                if let Some(bytes) = &mut frame {
                    let last = bytes.len() - 1;
                    bytes[last] ^= 1;
                }
            }
            Lie::Forges => {
                if let Some(bytes) = &mut frame {
                    // The time of a seal is under its name and its signature, and under nothing else.
                    let time = 6 + 32 + 32 + 8 + 32 + 16 + 32 + 16 + 8 + 4 + 32 + 32;
                    bytes[time + 7] ^= 1;
                }
            }
            Lie::Repeats => {
                let mut last = None;
                self.honest
                    .items(author, 1..=u64::MAX, &mut |item| last = Some(item))?;
                let last = last.expect("it holds something");
                return self.honest.frame(author, last.counter, &last.seal);
            }
            Lie::HugeCounter => {}
        }
        Ok(frame)
    }
    fn insert_genesis(&mut self, bytes: &[u8]) -> Result<Taken, Self::Error> {
        self.honest.insert_genesis(bytes)
    }
    fn insert(&mut self, frame: &[u8]) -> Result<Taken, Self::Error> {
        self.honest.insert(frame)
    }
    fn commit(&mut self, last: bool) -> Result<Taken, Self::Error> {
        self.honest.commit(last)
    }
    fn insert_keyring(&mut self, bytes: &[u8]) -> Result<Taken, Self::Error> {
        self.honest.insert_keyring(bytes)
    }
    fn insert_slot(&mut self, bytes: &[u8]) -> Result<Taken, Self::Error> {
        self.honest.insert_slot(bytes)
    }
    fn blob_write(
        &mut self,
        id: &BlobId,
        size: u64,
        offset: u64,
        part: &[u8],
    ) -> Result<Taken, Self::Error> {
        self.honest.blob_write(id, size, offset, part)
    }
}

/// A fresh copy meets a liar.
async fn lied_to<C: Copies>(copies: &mut C, lie: Lie) -> (Ended<Error<C>>, C::Copy, World) {
    let (world, root, device) = furnished();
    let mut liar = Liar { honest: root, lie };
    let mut fresh = copies.empty(world.vault());
    let (mut near, mut far) = tokio::io::duplex(1 << 16);
    let (mut random, mut other) = (rng(1), rng(2));
    let limits = Limits::default();
    let (ended, _) = tokio::join!(
        async {
            let ended = initiate(
                &mut fresh,
                &mut near,
                &device.identity,
                b"channel",
                &mut random,
                &limits,
            )
            .await;
            drop(near);
            ended
        },
        async {
            let ended = respond(
                &mut liar,
                &mut far,
                &world.root.identity,
                b"channel",
                &mut other,
                &limits,
            )
            .await;
            drop(far);
            ended
        }
    );
    (ended, fresh, world)
}

pub async fn each_lie_is_named_and_nothing_false_is_kept<C: Copies>(copies: &mut C) {
    let (ended, fresh, _) = lied_to(copies, Lie::Withholds).await;
    assert!(ended.report.withheld == 42, "{ended:?}");
    assert!(holdings(&fresh).is_empty());

    let (ended, fresh, world) = lied_to(copies, Lie::Alters).await;
    assert!(
        matches!(ended.result, Err(SyncError::Peer(Fault::Invalid(_)))),
        "{ended:?}"
    );
    for frame in frames(&fresh) {
        FrameRef::parse(&world.vault(), &frame)
            .expect("a frame")
            .check_box()
            .expect("whole");
    }

    let (ended, fresh, _) = lied_to(copies, Lie::Forges).await;
    assert!(
        matches!(ended.result, Err(SyncError::Peer(Fault::Invalid(_)))),
        "{ended:?}"
    );
    assert!(holdings(&fresh).is_empty(), "{ended:?}");

    let (ended, _, _) = lied_to(copies, Lie::Repeats).await;
    assert!(
        matches!(ended.result, Err(SyncError::Peer(Fault::Unasked(_)))),
        "{ended:?}"
    );

    let (ended, fresh, _) = lied_to(copies, Lie::HugeCounter).await;
    assert!(ended.result.is_ok(), "{ended:?}");
    assert_eq!(ended.report.withheld, 1);
    assert_eq!(holdings(&fresh).len(), 42);
}

/// One byte of what an honest peer says is changed, wherever: the other side ends by itself, keeps nothing false, and an honest
/// session afterwards repairs everything. The clock has to be paused.
pub async fn one_changed_byte_is_survived<C: Copies>(copies: &mut C, at: usize, flip: u8) {
    let (world, mut root, device) = furnished();
    let mut fresh = copies.empty(world.vault());
    let (mut near, mut tap) = tokio::io::duplex(1 << 14);
    let (mut beyond, mut far) = tokio::io::duplex(1 << 14);
    let (mut random, mut other) = (rng(1), rng(2));
    let limits = Limits::default();
    let (ended, _, ()) = tokio::join!(
        async {
            let ended = initiate(
                &mut fresh,
                &mut near,
                &device.identity,
                b"channel",
                &mut random,
                &limits,
            )
            .await;
            drop(near);
            ended
        },
        async {
            let ended = respond(
                &mut root,
                &mut far,
                &world.root.identity,
                b"channel",
                &mut other,
                &limits,
            )
            .await;
            drop(far);
            ended
        },
        async {
            let (mut up, mut down) = ([0; 4096], [0; 4096]);
            let mut passed = 0;
            loop {
                tokio::select! {
                    read = tap.read(&mut up) => match read { Ok(n) if n > 0 => if beyond.write_all(&up[..n]).await.is_err() { return }, _ => return },
                    read = beyond.read(&mut down) => match read {
                        Ok(n) if n > 0 => {
                            if (passed..passed + n).contains(&at) {
                                down[at - passed] ^= flip;
                            }
                            passed += n;
                            if tap.write_all(&down[..n]).await.is_err() { return }
                        }
                        _ => return,
                    },
                }
            }
        }
    );
    let _ = ended.result;
    // A changed signature is no signature: the seal then stands by the next one, which names it, and by its id it is
    // the same seal. Everything else is as an honest copy holds it.
    let honest = substance(&root);
    assert!(
        substance(&fresh).iter().all(|frame| honest.contains(frame)),
        "only what an honest copy holds"
    );
    let ends = session(
        (&mut fresh, &device.identity),
        (&mut root, &world.root.identity),
        tokio::io::duplex(1 << 16),
        3,
        &limits,
    )
    .await;
    assert!(ends.0.result.is_ok() && ends.1.result.is_ok(), "{ends:?}");
    assert!(substance(&fresh) == substance(&root));
}

/// A reader writes, and makes the box of what it wrote anew besides: a relay keeps the seals and neither of the boxes.
pub async fn a_relay_keeps_no_box_of_whoever_may_not_append<C: Copies>(copies: &mut C) {
    let (mut world, mut root, _) = furnished();
    let (relay, grant) = world.admit(MemberKind::Relay, 5, &[(NamespaceId::ALL, Right::Relay)]);
    put(&mut root, &grant);
    let (mut reader, grant) = world.admit(MemberKind::Agent, 6, &[(NOTES, Right::Read)]);
    put(&mut root, &grant);
    let noise = world.note(Some(&mut reader), NOTES, b"a reader may not write");
    put(&mut root, &noise);
    let noise = world.note(Some(&mut reader), NOTES, b"nor by another way");
    put(&mut root, &noise);
    let anew = world.rebox(Some(&mut reader), &noise);
    put(&mut root, &anew);
    let mut middle = copies.empty(world.vault());
    let (_, right) = sync(
        (&mut root, &world.root.identity),
        (&mut middle, &relay.identity),
    )
    .await;
    assert!(right.report.declined >= 2, "{:?}", right.report);
    assert_eq!(boxes(&root, &world.vault())[&NOTES], 42);
    assert_eq!(boxes(&middle, &world.vault())[&NOTES], 40);
    assert_eq!(
        holdings(&middle).len(),
        holdings(&root).len(),
        "the seals are there"
    );
}

/// The member ids are hashes, so over some depth the order of ids and that of grants disagree.
pub async fn a_chain_of_grants_in_any_order_of_authors_needs_no_second_session<C: Copies>(
    copies: &mut C,
) {
    let mut world = World::new(9);
    let mut root = world.copy();
    let (keyring, frame) = world.rotate(NOTES, false);
    put(&mut root, &frame);
    root.insert_keyring(&keyring).expect("infallible");
    let (relay, grant) = world.admit(MemberKind::Relay, 5, &[(NamespaceId::ALL, Right::Relay)]);
    put(&mut root, &grant);
    let (mut a, grant) = world.admit(MemberKind::Device, 10, ALL);
    put(&mut root, &grant);
    let (mut b, grant) = world.pass_on(&mut a, MemberKind::Device, 11, &[(NOTES, Right::Append)]);
    put(&mut root, &grant);
    let note = world.note(Some(&mut b), NOTES, b"two grants away from the root");
    put(&mut root, &note);
    let mut middle = copies.empty(world.vault());
    let (left, _) = sync(
        (&mut root, &world.root.identity),
        (&mut middle, &relay.identity),
    )
    .await;
    assert_eq!(holdings(&middle), holdings(&root));
    assert!(left.report.rounds <= 2, "{:?}", left.report);
}
