//! What a session brings, and what it does not give.

mod common;

use std::time::Duration;

use common::scenarios::{self, InMemory};
use common::{Memory, World, boxes, holdings, now, put, rng, seed, session, sync};
use tally_vault_format::{
    Identity, MemberKind, NamespaceId, Right, Slot, SlotCost, Time, seal_blob,
};
use tally_vault_sync::{Fault, Limits, Peer, Refusal, Replica, SeenAs, SyncError, Taken};
use tokio::io::{AsyncReadExt as _, DuplexStream};

const NOTES: NamespaceId = NamespaceId([1; 16]);
const HEALTH: NamespaceId = NamespaceId([2; 16]);
const ALL: &[(NamespaceId, Right)] = &[(NamespaceId::ALL, Right::Admin)];

/// The root's copy with a device, two namespaces and a few notes in each.
fn furnished() -> (World, Memory, common::Author) {
    let mut world = World::new(1);
    let mut copy = world.copy();
    for namespace in [NOTES, HEALTH] {
        let (keyring, frame) = world.rotate(namespace, false);
        put(&mut copy, &frame);
        assert_eq!(
            copy.insert_keyring(&keyring).expect("infallible"),
            Taken::New
        );
    }
    let (device, grant) = world.admit(MemberKind::Device, 2, ALL);
    put(&mut copy, &grant);
    for namespace in [NOTES, HEALTH] {
        for number in 0..5 {
            let frame = world.note(None, namespace, &[number; 200]);
            put(&mut copy, &frame);
        }
    }
    (world, copy, device)
}

#[tokio::test]
async fn a_new_device_gets_everything_and_then_nothing() {
    let (world, mut root, device) = furnished();
    let mut fresh = world.empty();
    let (left, right) = sync(
        (&mut fresh, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!(left.report.kept.frames, 13);
    assert_eq!(left.report.kept.keyrings, 2);
    assert_eq!(left.report.withheld, 0);
    assert_eq!(right.report.sent.frames, 13);
    assert_eq!(holdings(&fresh), holdings(&root));
    assert_eq!(world.state_hash(&fresh), world.state_hash(&root));

    let (left, right) = sync(
        (&mut fresh, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!((left.report.kept.frames, right.report.kept.frames), (0, 0));
    assert!(
        left.report.bytes_sent < 600 && left.report.bytes_received < 600,
        "{:?}",
        left.report
    );
}

#[tokio::test]
async fn both_directions_in_one_session() {
    let (mut world, mut root, mut device) = furnished();
    let mut fresh = world.empty();
    sync(
        (&mut fresh, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    for number in 0..20 {
        let mine = world.note(Some(&mut device), NOTES, &[number; 100]);
        put(&mut fresh, &mine);
        let theirs = world.note(None, HEALTH, &[number; 100]);
        put(&mut root, &theirs);
    }
    let (left, right) = sync(
        (&mut root, &world.root.identity),
        (&mut fresh, &device.identity),
    )
    .await;
    assert_eq!(
        (left.report.kept.frames, right.report.kept.frames),
        (20, 20)
    );
    assert_eq!(holdings(&fresh), holdings(&root));
}

#[tokio::test]
async fn a_member_of_one_namespace_gets_bare_seals_of_the_others() {
    let (mut world, mut root, _) = furnished();
    let (agent, grant) = world.admit(MemberKind::Agent, 3, &[(NOTES, Right::Append)]);
    put(&mut root, &grant);
    let slot = Slot::seal(
        world.vault(),
        &Identity::new(MemberKind::Root, seed(1)),
        "a passphrase",
        SlotCost::new(65_536, 2, 1).expect("bounds"),
        &mut world.rng,
    )
    .expect("memory is there");
    assert_eq!(
        root.insert_slot(slot.encode()).expect("infallible"),
        Taken::New
    );
    let mut copy = world.empty();
    let (left, _) = sync(
        (&mut copy, &agent.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!(boxes(&copy, &world.vault())[&NOTES], 5);
    assert_eq!(boxes(&copy, &world.vault())[&HEALTH], 0);
    assert_eq!(left.report.kept.frames, 14, "the chain is whole");
    assert_eq!(left.report.kept.keyrings, 1);
    assert_eq!(left.report.kept.slots, 0, "slots are for devices");
    // In the steady state there is no difference, though the copies differ.
    let (left, _) = sync(
        (&mut copy, &agent.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert!(left.report.bytes_received < 700, "{:?}", left.report);

    // It is given more: the boxes come, without the seals' predecessors being sent again.
    let (more, grant) = world.admit(
        MemberKind::Agent,
        3,
        &[(NOTES, Right::Append), (HEALTH, Right::Read)],
    );
    assert_eq!(more.member(), agent.member());
    put(&mut root, &grant);
    let (left, _) = sync(
        (&mut copy, &agent.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!(boxes(&copy, &world.vault())[&HEALTH], 5);
    assert_eq!(left.report.kept.frames, 6);
    assert_eq!(left.report.kept.keyrings, 1);
}

#[tokio::test]
async fn slots_go_to_devices() {
    let (mut world, mut root, device) = furnished();
    let slot = Slot::seal(
        world.vault(),
        &Identity::new(MemberKind::Root, seed(1)),
        "a passphrase",
        SlotCost::new(65_536, 2, 1).expect("bounds"),
        &mut world.rng,
    )
    .expect("memory is there");
    assert_eq!(
        root.insert_slot(slot.encode()).expect("infallible"),
        Taken::New
    );
    let mut copy = world.empty();
    let (left, _) = sync(
        (&mut copy, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!(left.report.kept.slots, 1);
    assert_eq!(
        copy.slot(&world.root.member())
            .expect("infallible")
            .as_deref(),
        Some(&slot.encode()[..])
    );
}

#[tokio::test]
async fn a_stranger_gets_nothing() {
    let (world, mut root, _) = furnished();
    let stranger = Identity::new(MemberKind::Device, seed(66));
    let mut copy = world.empty();
    let ends = session(
        (&mut copy, &stranger),
        (&mut root, &world.root.identity),
        tokio::io::duplex(1 << 16),
        1,
        &Limits::default(),
    )
    .await;
    assert!(
        matches!(ends.0.result, Err(SyncError::Refused(Refusal::NotAMember))),
        "{:?}",
        ends.0
    );
    assert!(
        matches!(ends.1.result, Err(SyncError::Declined(Refusal::NotAMember))),
        "{:?}",
        ends.1
    );
    assert_eq!(ends.0.report.seen_as, Some(SeenAs::Unknown));
    assert_eq!(ends.1.report.sent, Default::default());
    assert!(copy.genesis().expect("infallible").is_none());
    assert!(ends.0.report.bytes_received < 600);
}

#[tokio::test]
async fn a_member_introduces_itself_with_the_log_that_admits_it() {
    let (mut world, mut root, device) = furnished();
    let mut tablet = world.empty();
    sync(
        (&mut tablet, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    // A phone is admitted, and meets the tablet before the tablet has heard of it.
    let (mut phone_author, grant) = world.admit(MemberKind::Device, 4, ALL);
    put(&mut root, &grant);
    let mut phone = world.empty();
    sync(
        (&mut phone, &phone_author.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    let note = world.note(Some(&mut phone_author), NOTES, b"from the phone");
    put(&mut phone, &note);
    let (left, right) = sync(
        (&mut phone, &phone_author.identity),
        (&mut tablet, &device.identity),
    )
    .await;
    assert_eq!(right.report.rounds, 2);
    assert_eq!(left.report.rounds, 2);
    assert_eq!(holdings(&phone), holdings(&tablet));
}

#[tokio::test]
async fn a_former_member_gets_its_revocation_and_nothing_newer() {
    let (mut world, mut root, mut device) = furnished();
    let mut lost = world.empty();
    sync(
        (&mut lost, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    let unseen = world.note(
        Some(&mut device),
        NOTES,
        b"written by the lost device and seen by nobody",
    );
    put(&mut lost, &unseen);
    let before = holdings(&lost).len();
    let revocation = world.revoke(&device);
    put(&mut root, &revocation);
    let (_, frame) = world.rotate(NOTES, false);
    put(&mut root, &frame);
    let newer = world.note(None, NOTES, b"newer");
    put(&mut root, &newer);
    let ends = session(
        (&mut lost, &device.identity),
        (&mut root, &world.root.identity),
        tokio::io::duplex(1 << 16),
        1,
        &Limits::default(),
    )
    .await;
    assert!(
        matches!(
            ends.0.result,
            Err(SyncError::Refused(Refusal::FormerMember))
        ),
        "{:?}",
        ends.0
    );
    assert!(
        matches!(
            ends.1.result,
            Err(SyncError::Declined(Refusal::FormerMember))
        ),
        "{:?}",
        ends.1
    );
    assert_eq!(ends.1.report.sent.frames, 1, "the revocation");
    assert_eq!(ends.1.report.kept.frames, 0, "nothing is taken from it");
    assert_eq!(holdings(&lost).len(), before + 1);
    assert!(matches!(
        lost.standing(&device.member()),
        Ok(tally_vault_sync::Standing::Former { .. })
    ));
}

#[tokio::test]
async fn an_agent_whose_grant_has_ended_gets_nothing() {
    let (mut world, mut root, _) = furnished();
    let (agent, grant) = world.admit(MemberKind::Agent, 3, &[(NOTES, Right::Read)]);
    put(&mut root, &grant);
    let mut copy = world.empty();
    root.set_clock(Time::from_millis(common::NOW + 2_000_000));
    let ends = session(
        (&mut copy, &agent.identity),
        (&mut root, &world.root.identity),
        tokio::io::duplex(1 << 16),
        1,
        &Limits::default(),
    )
    .await;
    assert!(
        matches!(
            ends.1.result,
            Err(SyncError::Declined(Refusal::FormerMember))
        ),
        "{:?}",
        ends.1
    );
    assert_eq!(ends.1.report.sent, Default::default());
}

#[tokio::test]
async fn boxes_made_anew_replace_older_ones_and_nothing_else_moves() {
    let (mut world, mut root, device) = furnished();
    let mut copy = world.empty();
    sync(
        (&mut copy, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    let old = holdings(&root);
    let (keyring, frame) = world.rotate(NOTES, true);
    put(&mut root, &frame);
    assert_eq!(
        root.insert_keyring(&keyring).expect("infallible"),
        Taken::New
    );
    let vault = world.vault();
    let mut anew = 0;
    for frame in old {
        let namespace = tally_vault_format::FrameRef::parse(&vault, &frame)
            .expect("a frame")
            .seal()
            .namespace;
        if namespace == NOTES {
            let frame = world.rebox(None, &frame);
            put(&mut root, &frame);
            anew += 1;
        }
    }
    let (left, right) = sync(
        (&mut copy, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!(anew, 5);
    assert_eq!(left.report.kept.frames, anew + 1, "and the rotation");
    assert_eq!(
        right.report.kept.frames, 0,
        "the older boxes do not come back"
    );
    assert_eq!(holdings(&copy), holdings(&root));
    assert_eq!(world.state_hash(&copy), world.state_hash(&root));
}

#[tokio::test]
async fn both_branches_of_a_fork_are_exchanged() {
    let (mut world, mut root, mut device) = furnished();
    let mut copy = world.empty();
    sync(
        (&mut copy, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    let mut restored = device.restored(2);
    for number in 0..3 {
        let here = world.note(Some(&mut device), NOTES, &[number; 40]);
        put(&mut copy, &here);
        let there = world.note(Some(&mut restored), NOTES, &[number + 100; 40]);
        put(&mut root, &there);
    }
    let (left, right) = sync(
        (&mut copy, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!((left.report.kept.frames, right.report.kept.frames), (3, 3));
    assert_eq!(holdings(&copy), holdings(&root));
    assert_eq!(world.state_hash(&copy), world.state_hash(&root));
}

#[tokio::test]
async fn a_blob_comes_with_the_box_that_names_it_and_only_then() {
    let (mut world, mut root, device) = furnished();
    let content: Vec<u8> = (0..700_000_u32).map(|i| i as u8).collect();
    let (file, blob) = seal_blob(&world.vault(), &content, &mut world.rng).expect("small enough");
    let id = root.add_blob(file.clone()).expect("a blob");
    let (other, _) = seal_blob(&world.vault(), &[7; 1_000], &mut world.rng).expect("small enough");
    let stray = root.add_blob(other).expect("a blob");
    let frame = world.blob_note(NOTES, blob);
    put(&mut root, &frame);
    let mut copy = world.empty();
    let (left, _) = sync(
        (&mut copy, &device.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!(left.report.kept.blobs, 1);
    assert_eq!(copy.blob(&id), Some(&file[..]));
    assert_eq!(copy.blob(&stray), None);

    let (agent, grant) = world.admit(MemberKind::Agent, 3, &[(HEALTH, Right::Read)]);
    put(&mut root, &grant);
    let mut other = world.empty();
    let (left, _) = sync(
        (&mut other, &agent.identity),
        (&mut root, &world.root.identity),
    )
    .await;
    assert_eq!(left.report.kept.blobs, 0, "its namespace is not shared");
}

#[tokio::test]
async fn a_relay_carries_what_it_cannot_read() {
    let (mut world, mut root, device) = furnished();
    let (relay, grant) = world.admit(MemberKind::Relay, 5, &[(NamespaceId::ALL, Right::Relay)]);
    put(&mut root, &grant);
    let content = vec![9; 100_000];
    let (file, blob) = seal_blob(&world.vault(), &content, &mut world.rng).expect("small enough");
    let id = root.add_blob(file).expect("a blob");
    let frame = world.blob_note(NOTES, blob);
    put(&mut root, &frame);
    let mut middle = Memory::relay(world.vault(), now());
    sync(
        (&mut root, &world.root.identity),
        (&mut middle, &relay.identity),
    )
    .await;
    // The two devices never meet.
    let mut far = world.empty();
    let (left, _) = sync((&mut far, &device.identity), (&mut middle, &relay.identity)).await;
    assert_eq!(left.report.declined, 0);
    assert_eq!(holdings(&far), holdings(&root));
    assert_eq!(world.state_hash(&far), world.state_hash(&root));
    assert!(far.blob(&id).is_some());
    assert_eq!(middle.slots().expect("infallible"), Vec::new());
}

#[tokio::test]
async fn a_relay_keeps_no_box_of_whoever_may_not_append() {
    scenarios::a_relay_keeps_no_box_of_whoever_may_not_append(&mut InMemory).await;
}

#[tokio::test]
async fn a_chain_of_grants_in_any_order_of_authors_needs_no_second_session() {
    scenarios::a_chain_of_grants_in_any_order_of_authors_needs_no_second_session(&mut InMemory)
        .await;
}

#[tokio::test]
async fn another_vault_is_named() {
    let (world, mut root, _) = furnished();
    let other = World::new(77);
    let mut copy = other.copy();
    let ends = session(
        (&mut copy, &other.root.identity),
        (&mut root, &world.root.identity),
        tokio::io::duplex(1 << 16),
        1,
        &Limits::default(),
    )
    .await;
    assert!(
        matches!(ends.0.result, Err(SyncError::Refused(Refusal::Vault))),
        "{:?}",
        ends.0
    );
    assert!(
        matches!(ends.1.result, Err(SyncError::Peer(Fault::OtherVault))),
        "{:?}",
        ends.1
    );
    assert!(
        ends.0.report.bytes_received < 20,
        "and no member key is told"
    );
}

#[tokio::test]
async fn both_ends_prove_who_they_are_before_either_opens_a_copy() {
    let (world, mut root, device) = furnished();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (vault, limits) = (world.vault(), Limits::default());
    let (me, owner) = (&device.identity, &world.root.identity);
    let (mut random, mut other) = (rng(1), rng(2));
    let (dialled, called) = tokio::join!(
        Peer::dialled(near, &vault, me, b"channel", &mut random, &limits),
        Peer::called(far, &vault, owner, b"channel", &mut other, &limits),
    );
    let (dialled, called) = (dialled.expect("it answers"), called.expect("it asks"));
    assert_eq!(dialled.member(), owner.member());
    assert_eq!(called.member(), me.member());
    let mut fresh = world.empty();
    let ((left, _near), (right, _far)) = tokio::join!(
        async {
            let ready = dialled.ready().await.expect("the other side can begin");
            ready.synchronise(&mut fresh).await
        },
        async {
            let ready = called.ready().await.expect("it begins");
            ready.synchronise(&mut root).await
        }
    );
    assert!(
        left.result.is_ok() && right.result.is_ok(),
        "{left:?} {right:?}"
    );
    assert_eq!(left.report.peer, Some(owner.member()));
    // The handshake is part of what a session moved.
    assert_eq!(left.report.bytes_sent, right.report.bytes_received);
    assert_eq!(holdings(&fresh), holdings(&root));
}

#[tokio::test(start_paused = true)]
async fn who_means_another_vault_or_says_nothing_gets_no_further_than_the_handshake() {
    let (world, _, device) = furnished();
    let (vault, limits) = (world.vault(), Limits::default());
    let elsewhere = World::new(2).vault();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut random, mut other) = (rng(1), rng(2));
    let owner = &world.root.identity;
    let (dialled, called) = tokio::join!(
        Peer::dialled(
            near,
            &elsewhere,
            &device.identity,
            b"channel",
            &mut random,
            &limits
        ),
        Peer::called(far, &vault, owner, b"channel", &mut other, &limits),
    );
    let (dialled, called) = (dialled.err(), called.err());
    assert!(
        matches!(dialled, Some(SyncError::Refused(Refusal::Vault))),
        "{dialled:?}"
    );
    assert!(
        matches!(called, Some(SyncError::Peer(Fault::OtherVault))),
        "{called:?}"
    );

    let (mut near, far) = tokio::io::duplex(1 << 16);
    let called = Peer::called(far, &vault, owner, b"channel", &mut other, &limits).await;
    let called = called.err();
    assert!(
        matches!(called, Some(SyncError::Peer(Fault::Silent))),
        "{called:?}"
    );
    // It is told no member key.
    let mut told = Vec::new();
    near.read_to_end(&mut told).await.expect("bytes in memory");
    assert_eq!(told, [255, 0, 0, 0, 2, 0, 8]);
}

/// Both ends of a channel, once each has proved who it is.
async fn met(
    world: &World,
    who: &Identity,
    limits: &Limits,
) -> (Peer<DuplexStream>, Peer<DuplexStream>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let (vault, owner) = (world.vault(), &world.root.identity);
    let (mut random, mut other) = (rng(1), rng(2));
    let (dialled, called) = tokio::join!(
        Peer::dialled(near, &vault, who, b"channel", &mut random, limits),
        Peer::called(far, &vault, owner, b"channel", &mut other, limits),
    );
    (
        dialled.expect("it answers"),
        called.expect("it knows the vault"),
    )
}

#[tokio::test(start_paused = true)]
async fn whoever_has_to_wait_for_its_turn_or_for_its_own_copy_loses_no_time_by_it() {
    let (world, mut root, device) = furnished();
    let stranger = Identity::new(MemberKind::Device, seed(77));
    let wait = || tokio::time::sleep(Duration::from_secs(25));
    for (who, is_member) in [(&stranger, false), (&device.identity, true)] {
        let (dialled, called) = met(&world, who, &Limits::default()).await;
        let mut fresh = world.empty();
        let ((left, _near), (right, _far)) = tokio::join!(
            async {
                let ready = dialled.ready().await.expect("its turn comes");
                // Another program has its copy.
                wait().await;
                ready.synchronise(&mut fresh).await
            },
            async {
                // It is in a session with somebody else, and then another program has its copy.
                wait().await;
                let ready = called.ready().await.expect("it begins");
                wait().await;
                ready.synchronise(&mut root).await
            }
        );
        if is_member {
            assert!(left.result.is_ok() && right.result.is_ok());
            continue;
        }
        assert!(
            matches!(left.result, Err(SyncError::Refused(Refusal::NotAMember))),
            "{left:?}"
        );
        assert!(
            matches!(right.result, Err(SyncError::Declined(Refusal::NotAMember))),
            "{right:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_begin_has_no_copy_opened_and_whoever_gets_no_turn_is_told() {
    let (world, _, device) = furnished();
    let limits = Limits::default();
    let (silent, called) = met(&world, &device.identity, &limits).await;
    let ended = called.ready().await.err();
    assert!(
        matches!(ended, Some(SyncError::Peer(Fault::Silent))),
        "{ended:?}"
    );
    drop(silent);

    let (gone, called) = met(&world, &device.identity, &limits).await;
    drop(gone);
    let ended = called.ready().await.err();
    assert!(matches!(ended, Some(SyncError::Channel(_))), "{ended:?}");

    let (dialled, called) = met(&world, &device.identity, &limits).await;
    let (ended, _far) = tokio::join!(dialled.ready(), async {
        // Longer than a handshake may take: it is told all the same.
        tokio::time::sleep(limits.greeting * 2).await;
        called.refuse(Refusal::Limit).await
    });
    let ended = ended.err();
    assert!(
        matches!(ended, Some(SyncError::Refused(Refusal::Limit))),
        "{ended:?}"
    );
}
