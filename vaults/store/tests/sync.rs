//! Vaults on disk meet over a stream of bytes: devices that diverged, an agent with one namespace, a folder without keys in
//! between, somebody who was removed, and a channel that breaks anywhere.

mod support;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use support::sim::Sim;
use support::{Chance, Computer, add, agent, codes, record, texts};
use tally_vault::format::{FrameRef, Identity, NamespaceId, Right, Seed, VaultId};
use tally_vault::fs::{Fs, RealFs};
use tally_vault::{Change, CopyError, DiskCopy, Key, Open, Share, Vault};
use tally_vault_sync::{Ended, Limits, Refusal, SyncError, initiate, respond};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A copy and with whose key it speaks.
struct Side {
    copy: DiskCopy,
    key: Arc<Identity>,
}

impl Side {
    fn of(mut vault: Vault) -> Self {
        let key = vault
            .sync_identity()
            .expect("it may enrol")
            .expect("it has a key");
        Self::with(vault, key)
    }

    fn with(vault: Vault, key: Arc<Identity>) -> Self {
        Self {
            copy: DiskCopy::of(vault).expect("it is open for writing"),
            key,
        }
    }

    fn empty(computer: &Computer, disk: &Sim, id: VaultId, key: Identity) -> Self {
        Self {
            copy: DiskCopy::empty(computer.environment(disk), &computer.place, id)
                .expect("the folder is empty"),
            key: Arc::new(key),
        }
    }
}

/// A stream that breaks after so many bytes in either direction.
struct Cut<S> {
    inner: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        let mut part = vec![0; buf.remaining().min(self.left)];
        let mut room = ReadBuf::new(&mut part);
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut room);
        let read = room.filled();
        buf.put_slice(read);
        self.left -= read.len();
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.left == 0 {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
        }
        let part = &bytes[..bytes.len().min(self.left)];
        let polled = Pin::new(&mut self.inner).poll_write(cx, part);
        if let Poll::Ready(Ok(written)) = polled {
            self.left -= written;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

type Outcome = (Ended<CopyError>, Option<Vault>);

/// One session, over a channel that breaks after `bytes`.
fn meet_until(bytes: usize, mut a: Side, mut b: Side) -> (Outcome, Outcome) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let limits = Limits::default();
    let (left, right) = runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (limits, binding) = (&limits, b"one channel");
        let (a, b) = (&mut a, &mut b);
        tokio::join!(
            async move {
                let mut near = Cut {
                    inner: near,
                    left: bytes,
                };
                initiate(
                    &mut a.copy,
                    &mut near,
                    &a.key,
                    binding,
                    &mut Chance::new(1),
                    limits,
                )
                .await
            },
            async move {
                respond(
                    &mut b.copy,
                    &mut far,
                    &b.key,
                    binding,
                    &mut Chance::new(2),
                    limits,
                )
                .await
            }
        )
    });
    let (a, b) = (
        a.copy.finish().expect("finished"),
        b.copy.finish().expect("finished"),
    );
    ((left, a), (right, b))
}

fn meet(a: Side, b: Side) -> (Outcome, Outcome) {
    meet_until(usize::MAX, a, b)
}

/// A session that succeeds.
fn meet_well(a: Side, b: Side) -> (Ended<CopyError>, Vault, Vault) {
    let ((left, a), (right, b)) = meet(a, b);
    assert!(left.result.is_ok(), "{left:?}");
    assert!(right.result.is_ok(), "{right:?}");
    (left, a.expect("a vault"), b.expect("a vault"))
}

fn assert_same(a: &mut Vault, b: &mut Vault) {
    assert_eq!(a.state_hash(), b.state_hash());
    assert_eq!(texts(a), texts(b));
    assert_eq!(codes(a), Vec::<&str>::new());
    assert_eq!(codes(b), Vec::<&str>::new());
}

/// Two devices whose copies diverged, each with a large content of its own.
fn two_copies(seed: u64) -> (Sim, Computer, Computer) {
    let (disk, here) = (Sim::new(), Computer::new(seed));
    let (mut vault, _) = here.create(&disk, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "before").expect("written");
    let rights = vec![(NamespaceId::ALL, Right::Relay)];
    vault
        .share(&Share {
            card: *agent(9).card(),
            rights,
            expires: None,
            depth: 0,
        })
        .expect("shared");
    drop(vault);
    disk.copy_folder(Path::new("/vault"), Path::new("/copy"));
    let there = Computer::new(seed + 1).with_folder("/copy");
    for (computer, name) in [(&here, "here"), (&there, "there")] {
        let mut vault = computer.write(&disk);
        for number in 0..40 {
            add(
                &mut vault,
                &notes,
                &format!("{name} {number} {}", "x".repeat(3_000)),
            )
            .expect("written");
        }
        add(&mut vault, &notes, &format!("large {name} ").repeat(80_000)).expect("written");
    }
    (disk, here, there)
}

#[test]
fn two_devices_that_diverged_come_to_one_state() {
    let (disk, here, there) = two_copies(61);
    let (ended, mut a, mut b) =
        meet_well(Side::of(here.write(&disk)), Side::of(there.write(&disk)));
    assert!(ended.report.kept.frames >= 41, "{:?}", ended.report);
    assert_eq!((ended.report.kept.blobs, ended.report.sent.blobs), (1, 1));
    assert_same(&mut a, &mut b);
    assert_eq!(texts(&mut a).len(), 83);
    drop((a, b));

    // What came is there for whoever opens the folder next, and nothing of it is moved a second time.
    let (ended, mut a, mut b) =
        meet_well(Side::of(there.write(&disk)), Side::of(here.write(&disk)));
    assert_same(&mut a, &mut b);
    assert_eq!(ended.report.kept.frames + ended.report.sent.frames, 0);
    let moved = ended.report.bytes_sent + ended.report.bytes_received;
    assert!(moved < 1_500, "{moved} bytes for nothing");
}

#[test]
fn a_blob_that_is_damaged_where_it_lies_is_set_aside_and_not_sent() {
    let (disk, here, there) = two_copies(65);
    let (path, mut bytes) = disk
        .files()
        .into_iter()
        .find(|(path, _)| path.starts_with("/vault/blob"))
        .expect("a large content");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    disk.put(&path, &bytes);
    // It was offered before anybody looked, so this session ends there.
    let ((left, a), (right, b)) = meet(Side::of(here.write(&disk)), Side::of(there.write(&disk)));
    assert!(left.result.is_err() && right.result.is_err());
    assert_eq!((left.report.sent.blobs, right.report.kept.blobs), (0, 0));
    drop((a, b));
    assert!(!disk.files().contains_key(&path));
    assert_eq!(disk.files()[&path.with_extension("damaged")], bytes);
    // The next one offers it no more.
    let (ended, a, mut b) = meet_well(Side::of(here.write(&disk)), Side::of(there.write(&disk)));
    assert_eq!((ended.report.kept.blobs, ended.report.sent.blobs), (1, 0));
    assert_eq!(codes(&mut b), ["blob.missing"]);
    drop((a, b));
}

/// Whether a data frame in this folder has a box of the namespace.
fn has_box_of(disk: &Sim, folder: &str, vault: &VaultId, namespace: &NamespaceId) -> bool {
    let mut seals = 0;
    let mut found = false;
    for (path, bytes) in disk.files() {
        if !(path.starts_with(format!("{folder}/seg"))
            || path.starts_with(format!("{folder}/tail")))
        {
            continue;
        }
        let mut rest = &bytes[10..];
        while !rest.is_empty() {
            let (frame, len) = FrameRef::parse_prefix(vault, rest).expect("a frame");
            if frame.seal().namespace == *namespace {
                seals += 1;
                found |= frame.sealed_box().is_some();
            }
            rest = &rest[len..];
        }
    }
    assert!(seals > 0, "its seals are there in any case");
    found
}

#[test]
fn an_agent_begins_with_nothing_and_gets_its_namespace_only() {
    let (disk, home) = (Sim::new(), Computer::new(71));
    let (mut vault, _) = home.create(&disk, &["notes", "health"]);
    let (id, notes, health) = (
        vault.id(),
        vault.namespace("notes").expect("it was made"),
        vault.namespace("health").expect("it was made"),
    );
    add(&mut vault, &notes, "a note").expect("written");
    add(&mut vault, &health, "a diagnosis").expect("written");
    add(&mut vault, &health, &"a scan ".repeat(80_000)).expect("written");
    let away = Computer::new(72).with_folder("/agent");

    // Nobody admitted it yet: it is told so, and gets not even the genesis.
    let ((left, none), (right, vault)) =
        meet(Side::empty(&away, &disk, id, agent(1)), Side::of(vault));
    assert!(
        matches!(left.result, Err(SyncError::Refused(Refusal::NotAMember))),
        "{left:?}"
    );
    assert!(
        matches!(right.result, Err(SyncError::Declined(Refusal::NotAMember))),
        "{right:?}"
    );
    assert!(none.is_none());
    assert!(!disk.files().keys().any(|path| path.starts_with("/agent")));

    let mut vault = vault.expect("it was there");
    let rights = vec![(notes, Right::Append)];
    vault
        .share(&Share {
            card: *agent(1).card(),
            rights,
            expires: None,
            depth: 0,
        })
        .expect("shared");
    let (ended, small, vault) = meet_well(Side::empty(&away, &disk, id, agent(1)), Side::of(vault));
    assert_eq!(ended.report.kept.blobs, 0);
    drop(small);
    let open = || {
        away.open(&disk, Open::writing(Key::Member(agent(1))))
            .expect("it opens")
    };
    let mut small = open();
    assert_eq!(texts(&mut small), ["a note"]);
    assert!(has_box_of(&disk, "/agent", &id, &notes));
    assert!(
        !has_box_of(&disk, "/agent", &id, &health),
        "a box of another namespace came along"
    );

    // And it brings what it wrote.
    add(&mut small, &notes, "from the agent").expect("written");
    let (_, _, mut vault) = meet_well(Side::of(small), Side::of(vault));
    assert!(texts(&mut vault).contains(&"from the agent".to_owned()));
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

#[test]
fn whoever_was_removed_hears_of_it_and_gets_nothing_else() {
    let (disk, home) = (Sim::new(), Computer::new(81));
    let (mut vault, _) = home.create(&disk, &["notes"]);
    let (id, notes) = (vault.id(), vault.namespace("notes").expect("it was made"));
    let rights = vec![(notes, Right::Append)];
    let grant = vault
        .share(&Share {
            card: *agent(1).card(),
            rights,
            expires: None,
            depth: 0,
        })
        .expect("shared");
    add(&mut vault, &notes, "before").expect("written");
    let away = Computer::new(82).with_folder("/agent");
    let (_, small, mut vault) = meet_well(Side::empty(&away, &disk, id, agent(1)), Side::of(vault));
    drop(small);

    vault.revoke(&grant, &[]).expect("revoked");
    add(&mut vault, &notes, "afterwards").expect("written");
    let small = away
        .open(&disk, Open::writing(Key::Member(agent(1))))
        .expect("it does not know yet");
    let ((left, small), (right, _)) = meet(Side::of(small), Side::of(vault));
    assert!(
        matches!(
            left.result,
            Err(SyncError::Refused(Refusal::FormerMember)
                | SyncError::Declined(Refusal::FormerMember))
        ),
        "{left:?}"
    );
    assert!(
        matches!(
            right.result,
            Err(SyncError::Declined(Refusal::FormerMember))
        ),
        "{right:?}"
    );
    let mut small = small.expect("it was there");
    assert_eq!(texts(&mut small), ["before"]);
    assert!(
        small
            .grants()
            .iter()
            .any(|row| row.id == grant && row.standing != tally_vault::state::GrantStanding::Valid),
        "it heard of its revocation"
    );
}

#[test]
fn a_folder_without_keys_carries_between_two_devices() {
    let (disk, here, there) = two_copies(91);
    let vault = here.write(&disk);
    let id = vault.id();
    let box_computer = Computer::new(93).with_folder("/relay");
    let relay = || {
        let vault = box_computer
            .open(&disk, Open::writing(Key::None))
            .expect("it opens without a key");
        Side::with(vault, Arc::new(agent(9)))
    };
    // The one brings, the other takes and brings, the one takes.
    drop(meet_well(
        Side::empty(&box_computer, &disk, id, agent(9)),
        Side::of(vault),
    ));
    // To the relay this device is nobody before it shows its grant.
    drop(meet_well(Side::of(there.write(&disk)), relay()));
    let (_, mut a, held) = meet_well(Side::of(here.write(&disk)), relay());
    drop(held);
    let mut b = there.write(&disk);
    assert_same(&mut a, &mut b);
    assert_eq!(texts(&mut a).len(), 83);
    let mut held = box_computer
        .open(&disk, Open::reading(Key::None))
        .expect("it opens without a key");
    assert!(
        held.view().current().is_empty(),
        "who only stores a vault reads nothing"
    );
}

#[test]
fn a_session_that_breaks_anywhere_goes_on() {
    let mut chance = Chance::new(5);
    let (disk, here, there) = two_copies(101);
    // Opened by key from here on: a passphrase costs more than a session.
    let keys = [&here, &there].map(|computer| {
        let mut vault = computer.write(&disk);
        vault.sync_identity().expect("enrolled").expect("a key")
    });
    let open = |computer: &Computer, key: &Identity| {
        let seed = Seed::from_bytes(*key.seed().expose());
        let key = Key::Member(Identity::new(key.card().kind(), seed));
        Side::of(
            computer
                .open(&disk, Open::writing(key))
                .expect("it opens by key"),
        )
    };
    let (mut sessions, mut moved) = (0, 0);
    loop {
        sessions += 1;
        assert!(sessions < 60, "no progress");
        let mut random = [0; 4];
        rand_core::TryRng::try_fill_bytes(&mut chance, &mut random).expect("infallible");
        // At first inside the handshake and the comparison, then anywhere.
        let bytes =
            u32::from_be_bytes(random) as usize % if sessions < 6 { 3_000 } else { 700_000 };
        let ((left, a), (right, b)) =
            meet_until(bytes, open(&here, &keys[0]), open(&there, &keys[1]));
        moved += left.report.bytes_sent + left.report.bytes_received;
        let (mut a, mut b) = (a.expect("a vault"), b.expect("a vault"));
        for (vault, ended) in [(&mut a, &left), (&mut b, &right)] {
            // What is named may still be on its way. Nothing is damaged, forged or lost.
            let odd: Vec<_> = codes(vault)
                .into_iter()
                .filter(|code| !["blob.missing", "box.locked", "keyring.missing"].contains(code))
                .collect();
            assert_eq!(odd, Vec::<&str>::new(), "after {bytes} bytes: {ended:?}");
        }
        if left.result.is_ok() && right.result.is_ok() {
            assert_same(&mut a, &mut b);
            assert_eq!(texts(&mut a).len(), 83);
            break;
        }
        for ended in [&left.result, &right.result] {
            assert!(
                matches!(ended, Ok(()) | Err(SyncError::Channel(_))),
                "{ended:?}"
            );
        }
    }
    // Two large contents of 1 MB and 80 notes of 3 kB. What is cut costs a part, never the whole again.
    println!("{sessions} sessions, {moved} bytes");
    assert!(sessions > 6, "it was never cut where it matters");
    assert!(
        moved < 2_500_000 + sessions * 600_000,
        "{moved} bytes in {sessions} sessions"
    );
}

/// Bytes of all frames in a folder.
fn frame_bytes(folder: &Path) -> u64 {
    ["seg", "tail"]
        .iter()
        .flat_map(|name| RealFs.list(&folder.join(name)).expect("it is there"))
        .map(|entry| entry.len)
        .sum()
}

#[test]
fn a_hundred_thousand_operations_cost_what_they_are() {
    let place = tempfile::tempdir().expect("a temporary folder");
    let computer = |seed: u64, name: &str| {
        let mut computer = Computer::new(seed);
        computer.place.folder = place.path().join(name);
        computer.place.local = place.path().join(format!("{name}-local"));
        computer
    };
    let (here, there) = (computer(111, "a"), computer(112, "b"));
    let (mut vault, _) = here.create(&RealFs, &["notes"]);
    let notes = vault.namespace("notes").expect("it was made");
    let mut file = Vec::new();
    vault.export(&mut file).expect("exported");
    tally_vault::unpack(
        there.environment(&RealFs),
        &there.place,
        &mut file.as_slice(),
    )
    .expect("unpacked");
    drop(vault);
    let write = |computer: &Computer, name: &str| {
        let mut vault = computer.write(&RealFs);
        for batch in 0..1_000 {
            let texts: Vec<String> = (0..50)
                .map(|number| {
                    format!("{name} {batch} {number}: a fact of usual length about somebody")
                })
                .collect();
            let changes = texts
                .iter()
                .map(|text| Change::Add(record(text.as_bytes())))
                .collect();
            vault.append(&notes, changes).expect("written");
        }
        vault
    };
    let (a, b) = (Side::of(write(&here, "a")), Side::of(write(&there, "b")));
    let before = frame_bytes(&here.place.folder) + frame_bytes(&there.place.folder);
    let begun = Instant::now();
    let (ended, mut a, mut b) = meet_well(a, b);
    let took = begun.elapsed();
    assert_eq!(a.state_hash(), b.state_hash());
    assert_eq!(a.view().current().len(), 100_000);
    let difference = frame_bytes(&here.place.folder) + frame_bytes(&there.place.folder) - before;
    let moved = ended.report.bytes_sent + ended.report.bytes_received;
    println!(
        "50,000 + 50,000 operations: {difference} bytes differ, {moved} were moved, in {took:?}"
    );
    assert!(
        moved * 100 <= difference * 105,
        "{moved} bytes for a difference of {difference}"
    );
}
