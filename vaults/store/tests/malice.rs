//! Whoever has the storage does what it can to each file. The vault then says what an honest copy said at some time, or a finding
//! names what was done; it never panics, and never mixes.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use support::sim::Sim;
use support::{Computer, PASSPHRASE, START_MS, add, agent, codes, texts};
use tally_vault::format::{MemberId, NamespaceId, OpId, Right};
use tally_vault::state::Status;
use tally_vault::{Change, Code, Key, Open, OpenError, Place, Share, Vault};

/// A vault with a bit of everything, and every state that an honest copy of it has been in.
struct Honest {
    disk: Sim,
    computer: Computer,
    /// Operations that count, with what became of them, after each step.
    states: Vec<BTreeSet<(OpId, Status)>>,
    all: BTreeSet<OpId>,
    /// Of each author, in the order in which it sealed them.
    by_author: BTreeMap<MemberId, Vec<OpId>>,
}

fn by_author(vault: &mut Vault) -> BTreeMap<MemberId, Vec<OpId>> {
    let mut authors: BTreeMap<MemberId, Vec<OpId>> = BTreeMap::new();
    for row in vault.log() {
        authors.entry(row.author).or_default().push(row.operation);
    }
    authors
}

fn state(vault: &mut Vault) -> BTreeSet<(OpId, Status)> {
    vault
        .log()
        .iter()
        .filter(|row| row.status != Status::Void)
        .map(|row| (row.operation, row.status))
        .collect()
}

fn honest() -> &'static Honest {
    static HONEST: OnceLock<Honest> = OnceLock::new();
    HONEST.get_or_init(|| {
        let (disk, computer) = (Sim::new(), Computer::new(31));
        let (mut vault, _) = computer.create(&disk, &["notes", "health"]);
        support::admit_device(&mut vault);
        drop(vault);
        let mut states = Vec::new();
        let mut vault = computer
            .open(&disk, Open::writing(Key::Member(support::device())))
            .expect("it opens");
        let notes = vault.namespace("notes").expect("it was made");
        let health = vault.namespace("health").expect("it was made");
        let share = Share {
            card: *agent(1).card(),
            rights: vec![(notes, Right::Append)],
            expires: None,
            depth: 0,
        };
        let grant = vault.share(&share).expect("shared");
        states.push(state(&mut vault));
        let first = add(&mut vault, &notes, "first").expect("written");
        states.push(state(&mut vault));
        add(&mut vault, &health, &"large ".repeat(12_000)).expect("written");
        states.push(state(&mut vault));
        vault
            .append(
                &notes,
                vec![Change::Supersede {
                    targets: vec![first],
                    record: support::record(b"second"),
                }],
            )
            .expect("written");
        states.push(state(&mut vault));
        drop(vault);
        let mut vault = computer
            .open(&disk, Open::writing(Key::Member(agent(1))))
            .expect("the agent opens it");
        add(&mut vault, &notes, "by the agent").expect("written");
        drop(vault);
        let mut vault = computer
            .open(&disk, Open::writing(Key::Member(support::device())))
            .expect("it opens");
        states.push(state(&mut vault));
        vault.revoke(&grant, &[]).expect("revoked");
        states.push(state(&mut vault));
        add(&mut vault, &notes, "last").expect("written");
        vault.checkpoint().expect("written");
        states.push(state(&mut vault));
        let all = vault.log().iter().map(|row| row.operation).collect();
        let by_author = by_author(&mut vault);
        drop(vault);
        Honest {
            disk: disk.copy(),
            computer,
            states,
            all,
            by_author,
        }
    })
}

/// Opens what was tampered with on a computer that knows the vault and on one that does not, and judges.
fn judge(disk: &Sim, what: &str) {
    let honest = honest();
    let whole = honest.states.last().expect("states");
    let strange = Computer {
        place: Place {
            local: PathBuf::from("/elsewhere"),
            ..honest.computer.place.clone()
        },
        ..honest.computer.clone()
    };
    for (computer, known) in [(&honest.computer, true), (&strange, false)] {
        let disk = disk.copy();
        let opened = computer.open(&disk, Open::reading(Key::Member(support::device())));
        let mut vault = match opened {
            Ok(vault) => vault,
            // Refused with a name is loud enough.
            Err(
                OpenError::Genesis(_)
                | OpenError::NotAVault { .. }
                | OpenError::Substituted { .. }
                | OpenError::Stranger { .. },
            ) => continue,
            Err(error) => panic!("{what}: {error}"),
        };
        let found = state(&mut vault);
        let codes = codes(&mut vault);
        // Nothing that no honest member wrote.
        for row in vault.log() {
            assert!(
                honest.all.contains(&row.operation) || row.status == Status::Void,
                "{what}: {} was smuggled in",
                row.operation
            );
        }
        if found == *whole {
            continue;
        }
        // Less than the whole: on a computer that saw it, that has a name. Elsewhere it may pass only if each author's part
        // is what that author had sealed at some time, or if it shows in what others built on it.
        let named = codes.iter().any(|code| {
            matches!(
                *code,
                "author.rolled-back"
                    | "author.rewritten"
                    | "seal.gap"
                    | "frame.damaged"
                    | "box.altered"
                    | "box.missing"
                    | "author.withheld"
                    | "seal.forged"
                    | "file.header"
                    | "keyring.missing"
                    | "keyring.damaged"
                    | "frame.foreign"
                    | "frontier.missing"
                    | "file.unreadable"
                    | "box.unreadable"
            )
        });
        let is_earlier = by_author(&mut vault).iter().all(|(author, ops)| {
            honest
                .by_author
                .get(author)
                .is_none_or(|all| all.starts_with(ops))
        });
        let shows = codes.contains(&"operation.void") || codes.contains(&"keyring.foreign");
        assert!(
            named || (!known && (is_earlier || shows)),
            "{what} (known: {known}): silent; {codes:?}, was so: {}",
            honest.states.contains(&found)
        );
        // What every current record says is what its author sealed, or it cannot be read at all.
        for id in vault.view().current() {
            let _ = vault.get(&id);
        }
    }
}

fn files() -> Vec<(PathBuf, Vec<u8>)> {
    honest()
        .disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("/vault"))
        .collect()
}

fn changed(path: &Path, bytes: &[u8]) -> Sim {
    let disk = honest().disk.copy();
    disk.put(path, bytes);
    disk
}

#[test]
fn nothing_was_done() {
    let honest = honest();
    let mut vault = honest
        .computer
        .open(
            &honest.disk.copy(),
            Open::reading(Key::Member(support::device())),
        )
        .expect("it opens");
    assert_eq!(state(&mut vault), *honest.states.last().expect("states"));
    assert_eq!(codes(&mut vault), Vec::<&str>::new());
}

/// How much of a file is not room.
fn written(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1)
}

#[test]
fn a_byte_is_flipped_anywhere() {
    for (path, bytes) in files() {
        // Every field of the headers and seals, and a sample of what is long.
        let step = (written(&bytes) / 150).max(1);
        // One place in the room, too.
        for at in (0..bytes.len().min(written(&bytes) + step)).step_by(step) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x41;
            judge(
                &changed(&path, &bytes),
                &format!("byte {at} of {}", path.display()),
            );
        }
    }
}

#[test]
fn a_file_is_cut_anywhere_or_grows() {
    for (path, bytes) in files() {
        let step = (written(&bytes) / 60).max(1);
        for at in (0..written(&bytes)).step_by(step) {
            judge(
                &changed(&path, &bytes[..at]),
                &format!("{} cut to {at}", path.display()),
            );
        }
        for extra in [&[0; 40][..], b"more", &bytes.clone()] {
            judge(
                &changed(&path, &[&bytes[..], extra].concat()),
                &format!("{} grown", path.display()),
            );
        }
    }
}

#[test]
fn a_file_is_removed_emptied_doubled_or_renamed() {
    for (path, bytes) in files() {
        let disk = honest().disk.copy();
        disk.take(&path);
        judge(&disk, &format!("{} removed", path.display()));
        judge(&changed(&path, &[]), &format!("{} emptied", path.display()));

        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let copy = path.with_file_name(format!("{name} (conflicted copy)"));
        judge(
            &changed(&copy, &bytes),
            &format!("{} doubled", path.display()),
        );
        let disk = changed(&copy, &bytes);
        disk.take(&path);
        judge(&disk, &format!("{} renamed", path.display()));
    }
}

#[test]
fn files_are_swapped() {
    let files = files();
    for (one, one_bytes) in &files {
        for (other, other_bytes) in &files {
            if one < other {
                let disk = changed(one, other_bytes);
                disk.put(other, one_bytes);
                judge(
                    &disk,
                    &format!("{} and {} swapped", one.display(), other.display()),
                );
            }
        }
    }
}

#[test]
fn frames_are_reordered_doubled_or_left_out() {
    for (path, bytes) in files() {
        if !bytes.starts_with(b"TALLYSEG") {
            continue;
        }
        let mut frames = Vec::new();
        let mut at = 10;
        // Up to the room of a tail.
        while bytes.get(at) == Some(&0xf1) {
            let len =
                u32::from_be_bytes(*bytes[at + 2..].first_chunk().expect("a header")) as usize + 6;
            frames.push(&bytes[at..at + len]);
            at += len;
        }
        let file = |frames: &[&[u8]]| [&bytes[..10], &frames.concat()].concat();
        let mut reversed = frames.clone();
        reversed.reverse();
        let disk = changed(&path, &file(&reversed));
        judge(&disk, &format!("{} reversed", path.display()));
        let mut vault = honest()
            .computer
            .open(&disk, Open::reading(Key::Member(support::device())))
            .expect("order does not matter");
        assert_eq!(state(&mut vault), *honest().states.last().expect("states"));
        judge(
            &changed(&path, &file(&[&frames[..], &frames[..]].concat())),
            &format!("{} doubled", path.display()),
        );
        for left_out in 0..frames.len() {
            let mut some = frames.clone();
            some.remove(left_out);
            judge(
                &changed(&path, &file(&some)),
                &format!("frame {left_out} of {} left out", path.display()),
            );
        }
    }
}

#[test]
fn the_folder_is_set_back_to_every_earlier_state_of_each_author() {
    for (path, bytes) in files() {
        if !path.starts_with("/vault/tail") {
            continue;
        }
        let mut at = 10;
        let mut ends = vec![10];
        while bytes.get(at) == Some(&0xf1) {
            at +=
                u32::from_be_bytes(*bytes[at + 2..].first_chunk().expect("a header")) as usize + 6;
            ends.push(at);
        }
        for end in &ends[..ends.len() - 1] {
            let disk = changed(&path, &bytes[..*end]);
            let mut vault = honest()
                .computer
                .open(&disk, Open::reading(Key::None))
                .expect("it opens");
            assert!(
                codes(&mut vault).contains(&"author.rolled-back"),
                "{} set back to {end}",
                path.display()
            );
            judge(&disk, &format!("{} set back to {end}", path.display()));
        }
    }
}

#[test]
fn a_device_does_not_seal_twice_after_the_folder_was_set_back() {
    let honest = honest();
    let (tail, bytes) = files()
        .into_iter()
        .find(|(path, _)| {
            *path == Path::new("/vault/tail").join(format!("{}.log", support::device().member()))
        })
        .expect("the device's tail");
    let cut = u32::from_be_bytes(*bytes[12..].first_chunk().expect("a header")) as usize + 16;
    let disk = changed(&tail, &bytes[..cut]);
    let open = |accept| {
        let options = Open {
            accept_rollback: accept,
            ..Open::writing(Key::Member(support::device()))
        };
        honest.computer.open(&disk, options).expect("it opens")
    };
    let mut vault = open(false);
    let notes = vault.namespaces()[0].id;
    let error = add(&mut vault, &notes, "no").expect_err("it would fork");
    assert!(
        matches!(error, tally_vault::WriteError::RolledBack { .. }),
        "{error}"
    );
    drop(vault);
    let mut vault = open(true);
    add(&mut vault, &notes, "the owner knows").expect("written");
}

#[test]
fn another_vault_lies_in_the_folder() {
    let honest = honest();
    let (disk, other) = (Sim::new(), Computer::new(32));
    drop(other.create(&disk, &["notes"]));
    let substituted = honest.disk.copy();
    for path in substituted
        .files()
        .into_keys()
        .filter(|path| path.starts_with("/vault"))
    {
        substituted.take(&path);
    }
    for (path, bytes) in disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("/vault"))
    {
        substituted.put(&path, &bytes);
    }
    let opened = honest.computer.open(&substituted, Open::reading(Key::None));
    assert!(matches!(opened, Err(OpenError::Substituted { .. })));

    // Frames, keyrings and slots of another vault among ours.
    for (path, bytes) in disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with("/vault"))
    {
        if path
            .file_name()
            .is_some_and(|name| name == "VAULT" || name == "lock")
        {
            continue;
        }
        judge(
            &changed(&path, &bytes),
            &format!("{} injected", path.display()),
        );
    }
}

#[test]
fn a_slot_that_asks_for_less_work_is_never_tried() {
    let honest = honest();
    let (path, mut bytes) = files()
        .into_iter()
        .find(|(path, _)| path.starts_with("/vault/slots"))
        .expect("a slot");
    // Memory, at its offset behind magic, version, vault and card.
    bytes[8 + 2 + 32 + 129..][..4].copy_from_slice(&1_024_u32.to_be_bytes());
    let disk = changed(&path, &bytes);
    let opened = honest
        .computer
        .open(&disk, Open::reading(Key::Passphrase(PASSPHRASE)));
    assert!(matches!(opened, Err(OpenError::SlotsRefused(_))));
    // Inside the bounds, but not what its member signed.
    bytes[8 + 2 + 32 + 129..][..4].copy_from_slice(&131_072_u32.to_be_bytes());
    let disk = changed(&path, &bytes);
    let opened = honest
        .computer
        .open(&disk, Open::reading(Key::Passphrase(PASSPHRASE)));
    assert!(matches!(
        opened,
        Err(OpenError::SlotsRefused(
            tally_vault::format::SlotError::Signature
        ))
    ));
    let mut vault = honest
        .computer
        .open(&disk, Open::reading(Key::None))
        .expect("it opens");
    assert!(codes(&mut vault).contains(&"slot.damaged"));
}

#[test]
fn strangers_write_and_count_for_nothing() {
    // A member of another vault with a grant there writes into this one's folder under its own, self-made authority.
    let honest = honest();
    let disk = honest.disk.copy();
    let seed = tally_vault::format::Seed::from_bytes([9; 32]);
    let stranger =
        tally_vault::format::Identity::new(tally_vault::format::MemberKind::Device, seed);
    let vault = honest
        .computer
        .open(&disk, Open::reading(Key::None))
        .expect("it opens")
        .id();
    let mut draft = tally_vault::format::BoxDraft::new(
        vault,
        NamespaceId::CONTROL,
        stranger.member(),
        1,
        OpId::NONE,
        None,
    );
    let grant = tally_vault::format::Grant {
        parent: tally_vault::format::GrantId::ROOT,
        card: *stranger.card(),
        depth: 200,
        expires: None,
        rights: vec![(NamespaceId::ALL, Right::Admin)],
    };
    let op = tally_vault::format::Op {
        kind: tally_vault::format::OpKind::Grant,
        time: tally_vault::format::Time::from_millis(START_MS),
        targets: Vec::new(),
        body: tally_vault::format::Body::Present {
            salt: [1; 32],
            bytes: tally_vault::format::Content::Grant(grant).encode(),
        },
    };
    draft.push(&op).expect("well-formed");
    let mut bytes = b"TALLYSEG\x00\x01".to_vec();
    let position = tally_vault::format::ChainPosition::first(tally_vault::format::GrantId::ROOT);
    let mut rng = support::Chance::new(1);
    tally_vault::format::seal_frame(&stranger, position, &draft, None, &mut rng, &mut bytes)
        .expect("sealed");
    disk.put(
        &Path::new("/vault/tail").join(format!("{}.log", stranger.member())),
        &bytes,
    );
    judge(&disk, "a stranger admits itself");
    let opened = honest
        .computer
        .open(&disk, Open::reading(Key::Member(support::device())));
    assert!(codes(&mut opened.expect("it opens")).contains(&Code::OperationVoid.as_str()));
}

#[test]
fn no_canary_is_in_any_file() {
    let (disk, computer) = (Sim::new(), Computer::new(33));
    let (mut vault, phrase) = computer.create(&disk, &["canary-namespace"]);
    let place = vault.namespace("canary-namespace").expect("it was made");
    for number in 0..5 {
        add(&mut vault, &place, &format!("canary-content {number}")).expect("written");
    }
    let id = add(&mut vault, &place, &"canary-large ".repeat(10_000)).expect("written");
    vault
        .append(
            &place,
            vec![Change::Retract {
                targets: vec![id],
                reason: "canary-reason",
            }],
        )
        .expect("written");
    // While it is open, and after.
    let check = |when: &str| {
        for (path, bytes) in disk.files() {
            let shown = path.display().to_string();
            for canary in [
                "canary",
                PASSPHRASE,
                phrase.split(' ').next().expect("a word"),
            ] {
                let needle = canary.as_bytes();
                // A word of the phrase may be in a file by chance only if it is short; those of the list have 3 letters and more.
                if needle.len() < 5 && canary != "canary" {
                    continue;
                }
                assert!(
                    !bytes.windows(needle.len()).any(|part| part == needle),
                    "{when}: {canary} in {shown}"
                );
                assert!(
                    !shown.contains(canary),
                    "{when}: {canary} in the name {shown}"
                );
            }
        }
    };
    check("open");
    let mut file = Vec::new();
    vault.export(&mut file).expect("exported");
    assert!(!file.windows(6).any(|part| part == b"canary"));
    vault
        .redact(&place, &[id], "canary-reason")
        .expect("redacted");
    vault.rotate_full(&[place]).expect("rotated");
    drop(vault);
    check("closed");
    let mut vault = computer.read(&disk);
    assert_eq!(texts(&mut vault).len(), 5);
}
