//! Real processes on a real disk: killed while they append, full disks, two at once.
//!
//! The test binary runs itself again as the process that writes: `append_until_killed` does nothing unless it is told to.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{add, texts};
use tally_vault::format::SlotCost;
use tally_vault::{Create, Environment, Key, Open, OpenError, Place, Vault};

const FOLDER: &str = "TALLY_VAULT_TEST_FOLDER";
const NAME: &str = "TALLY_VAULT_TEST_NAME";
const ENOUGH: &str = "TALLY_VAULT_TEST_FILE_SIZE";

fn place(folder: &Path, device: &str) -> Place {
    Place {
        folder: folder.join("vault"),
        local: folder.join(device),
    }
}

/// The member whose key the writing processes have: each its own.
fn member(name: &str) -> tally_vault::format::Identity {
    let seed = tally_vault::format::Seed::from_bytes([name.as_bytes()[0]; 32]);
    tally_vault::format::Identity::new(tally_vault::format::MemberKind::Device, seed)
}

fn prepare(folder: &Path, names: &[&str]) {
    let create = Create {
        passphrase: "a passphrase",
        cost: SlotCost::LEAST,
        namespaces: &["notes"],
    };
    let mut vault = Vault::create(
        Environment::of_this_computer(),
        &place(folder, "owner"),
        &create,
    )
    .expect("made")
    .vault;
    for name in names {
        let rights = vec![(
            tally_vault::format::NamespaceId::ALL,
            tally_vault::format::Right::Admin,
        )];
        let share = tally_vault::Share {
            card: *member(name).card(),
            rights,
            expires: None,
            depth: 1,
        };
        vault.share(&share).expect("shared");
    }
}

fn start(folder: &Path, name: &str, file_size: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test's own path"));
    command
        .args([
            "--exact",
            "append_until_killed",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(FOLDER, folder)
        .env(NAME, name)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(bytes) = file_size {
        command.env(ENOUGH, bytes.to_string());
    }
    command.spawn().expect("started")
}

/// Not a test of its own: the process that the others start. It appends one record after the other, and says after each
/// that it is acknowledged. It takes turns with another process by letting the vault go after a few.
#[test]
fn append_until_killed() {
    let (Ok(folder), Ok(name)) = (std::env::var(FOLDER), std::env::var(NAME)) else {
        return;
    };
    if let Ok(bytes) = std::env::var(ENOUGH) {
        let limit = rustix::process::Rlimit {
            current: bytes.parse().ok(),
            maximum: None,
        };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit)
            .expect("a limit is set");
    }
    let folder = PathBuf::from(folder);
    let mut out = std::io::stdout();
    let mut number = 0_u64;
    let start = std::process::id();
    loop {
        let options = Open::writing(Key::Member(member(&name)));
        let mut vault = match Vault::open(
            Environment::of_this_computer(),
            &place(&folder, &name),
            options,
        ) {
            Ok(vault) => vault,
            Err(OpenError::InUse) => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) => {
                writeln!(out, "error {error}").expect("the pipe is open");
                return;
            }
        };
        let notes = vault.namespace("notes").expect("it was made");
        for _ in 0..4 {
            let text = format!(
                "{name} {start} {number} {}",
                "x".repeat(usize::try_from(number % 900).expect("small"))
            );
            match add(&mut vault, &notes, &text) {
                Ok(_) => writeln!(out, "acknowledged {text}").expect("the pipe is open"),
                Err(error) => {
                    let full = if error.is_disk_full() {
                        "full"
                    } else {
                        "error"
                    };
                    writeln!(out, "{full} {error}").expect("the pipe is open");
                    return;
                }
            }
            number += 1;
        }
    }
}

/// Everything a process said it had acknowledged. What follows the last line break it had not finished saying.
fn acknowledged(output: impl std::io::Read) -> Vec<String> {
    let mut lines = BufReader::new(output);
    let mut said = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
        if line.ends_with('\n')
            && let Some(text) = line.trim_end_matches('\n').strip_prefix("acknowledged ")
        {
            said.push(text.to_owned());
        }
        line.clear();
    }
    said
}

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path(), &["alice", "bob"]);
    let mut expected: Vec<String> = Vec::new();
    for round in 0..12_u64 {
        let mut children = [
            start(folder.path(), "alice", None),
            start(folder.path(), "bob", None),
        ];
        let readers: Vec<_> = children
            .iter_mut()
            .map(|child| {
                let output = child.stdout.take().expect("piped");
                std::thread::spawn(move || acknowledged(output))
            })
            .collect();
        for (index, child) in children.iter_mut().enumerate() {
            std::thread::sleep(Duration::from_millis(150 + 37 * round + 90 * index as u64));
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
        for reader in readers {
            expected.extend(reader.join().expect("read"));
        }
        let options = Open::reading(Key::Member(member("alice")));
        let mut vault = Vault::open(
            Environment::of_this_computer(),
            &place(folder.path(), "alice"),
            options,
        )
        .expect("it opens");
        let found = texts(&mut vault);
        for text in &expected {
            assert!(
                found.binary_search(text).is_ok(),
                "round {round}: {text:.40} was acknowledged and is lost"
            );
        }
        let odd: Vec<_> = vault
            .check()
            .expect("readable")
            .into_iter()
            .filter(|found| !matches!(found.code.as_str(), "tail.cut" | "file.doubled"))
            .collect();
        assert!(odd.is_empty(), "round {round}: {odd:?}");
    }
    assert!(
        expected.len() > 100,
        "the processes got to write: {}",
        expected.len()
    );
}

#[test]
fn nothing_acknowledged_is_lost_when_files_may_not_grow() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path(), &["carol"]);
    let mut child = start(folder.path(), "carol", Some(40_000));
    // SIGXFSZ ends the process at the limit, as a kill does, unless it is ignored, and then the write fails.
    let said = acknowledged(child.stdout.take().expect("piped"));
    child.wait().expect("gone");
    assert!(said.len() > 5, "{}", said.len());
    let options = Open::writing(Key::Member(member("carol")));
    let mut vault = Vault::open(
        Environment::of_this_computer(),
        &place(folder.path(), "carol"),
        options,
    )
    .expect("it opens");
    let found = texts(&mut vault);
    assert!(said.iter().all(|text| found.contains(text)));
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "without the limit").expect("written");
}

#[test]
fn a_second_process_is_told_and_the_lock_goes_with_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path(), &["dora"]);
    let open = |write| {
        let key = Key::Member(member("dora"));
        let options = if write {
            Open::writing(key)
        } else {
            Open::reading(key)
        };
        Vault::open(
            Environment::of_this_computer(),
            &place(folder.path(), "dora"),
            options,
        )
    };
    let first = open(true).expect("it opens");
    assert!(matches!(open(true), Err(OpenError::InUse)));
    open(false).expect("readers go on");
    drop(first);
    open(true).expect("it is free again");
}

#[test]
fn links_and_pipes_are_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path(), &["erik"]);
    let place = place(folder.path(), "erik");
    let target = folder.path().join("precious");
    std::fs::write(&target, b"not a vault's").expect("written");
    let tail = place
        .folder
        .join("tail")
        .join(format!("{}.log", member("erik").member()));
    std::os::unix::fs::symlink(&target, &tail).expect("linked");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        place.folder.join("seg/pipe.seg"),
        rustix::fs::Mode::RUSR,
    )
    .expect("made");
    let options = Open::writing(Key::Member(member("erik")));
    let mut vault =
        Vault::open(Environment::of_this_computer(), &place, options).expect("it opens");
    let notes = vault.namespace("notes").expect("it was made");
    add(&mut vault, &notes, "no").expect_err("the tail is a link");
    assert_eq!(std::fs::read(&target).expect("readable"), b"not a vault's");
    assert!(support::codes(&mut vault).contains(&"file.irregular"));
}
