//! What a person gets who types the command wrong, names the wrong file, or has a machine that lacks something:
//! one clear sentence that says what to do, the right exit code, nothing lost.

mod support;

use support::{Machine, component};

#[test]
fn help_has_examples_for_every_verb() {
    let machine = Machine::bare();
    for verb in [
        &["run"][..],
        &["replay"],
        &["verify"],
        &["demo"],
        &["bench"],
        &["agent", "new"],
        &["agent", "build"],
        &["agent", "inspect"],
        &["agent", "test"],
        &["model", "add"],
        &["model", "pull"],
        &["model", "list"],
        &["model", "default"],
        &["model", "inspect"],
        &["model", "remove"],
    ] {
        let mut args = verb.to_vec();
        args.push("--help");
        let help = machine.tally(&args).ok().stdout();
        assert!(
            help.contains("Example"),
            "{verb:?} shows no example:\n{help}"
        );
    }
}

#[test]
fn an_unknown_verb_is_misuse() {
    Machine::bare().tally(["rum"]).exits(2).says("run");
}

#[test]
fn an_agent_that_is_not_there_is_misuse_and_named() {
    let machine = Machine::bare();
    machine
        .tally(["run", "nowhere.wasm", "--input", "x"])
        .exits(2)
        .says("nowhere.wasm");
}

#[test]
fn files_that_are_no_agents_are_told_apart() {
    let machine = Machine::bare();
    let cases: [(&str, &[u8], &str); 4] = [
        ("empty.wasm", b"", "empty"),
        (
            "text.wasm",
            b"hello, this is a text file",
            "not a WebAssembly",
        ),
        ("core.wasm", b"\0asm\x01\0\0\0", "core module"),
        ("cut.wasm", b"\0asm\x0d\0\x01\0\x07", "cut off"),
    ];
    for (name, bytes, words) in cases {
        let path = machine.file(name, bytes);
        machine
            .tally([
                "run".as_ref(),
                path.as_os_str(),
                "--input".as_ref(),
                "x".as_ref(),
            ])
            .exits(2)
            .says(words);
        machine
            .tally(["agent".as_ref(), "inspect".as_ref(), path.as_os_str()])
            .exits(2)
            .says(words);
    }
}

#[test]
fn a_plugin_run_as_an_agent_is_called_a_plugin() {
    let machine = Machine::bare();
    let plugin = component("text-tools");
    machine
        .tally([
            "run".as_ref(),
            plugin.as_os_str(),
            "--input".as_ref(),
            "x".as_ref(),
        ])
        .exits(2)
        .says("plugin");
}

#[test]
fn a_model_that_is_not_there_is_misuse_and_named() {
    let machine = Machine::bare();
    machine
        .tally([
            "run".as_ref(),
            component("answer-with-sources").as_os_str(),
            "--grant-asked".as_ref(),
            "--model".as_ref(),
            "nothing-like-it".as_ref(),
        ])
        .exits(2)
        .says("nothing-like-it");
}

#[test]
fn model_files_that_are_no_models_are_refused_and_the_old_model_stays() {
    let machine = Machine::with_model();
    let before = machine.tally(["model", "list", "--json"]).ok().json();
    let good = std::fs::read(support::seed_model()).expect("the seed model is there");
    let mut wrong_magic = good.clone();
    wrong_magic[0] ^= 0xff;
    let mut absurd = good[..24].to_vec();
    absurd[8..24].fill(0xff);
    let cases: [(&str, &[u8], &str); 4] = [
        ("empty.gguf", b"", "empty"),
        ("cut.gguf", &good[..good.len() / 2], "truncated"),
        ("magic.gguf", &wrong_magic, "does not begin with"),
        ("absurd.gguf", &absurd, "claims"),
    ];
    for (name, bytes, words) in cases {
        let path = machine.file(name, bytes);
        machine
            .tally([
                "model".as_ref(),
                "add".as_ref(),
                path.as_os_str(),
                "--name".as_ref(),
                "seed".as_ref(),
            ])
            .exits(2)
            .says(words);
    }
    assert_eq!(
        machine.tally(["model", "list", "--json"]).ok().json(),
        before
    );
}

#[test]
fn a_grant_with_a_misspelt_key_is_refused_and_the_key_named() {
    let machine = Machine::with_model();
    let grant = machine.file("grant.toml", "modles = [\"*\"]\n");
    let agent = component("answer-with-sources");
    machine
        .tally([
            "run".as_ref(),
            agent.as_os_str(),
            "--input".as_ref(),
            "x".as_ref(),
            "--grant".as_ref(),
            grant.as_os_str(),
        ])
        .exits(2)
        .says("modles");
}

#[test]
fn a_journal_is_never_overwritten() {
    let machine = Machine::with_model();
    let agent = component("answer-with-sources");
    let journal = machine.file("run.tally", "precious");
    machine
        .tally([
            "run".as_ref(),
            agent.as_os_str(),
            "--input".as_ref(),
            "x".as_ref(),
            "--grant-asked".as_ref(),
            "--journal".as_ref(),
            journal.as_os_str(),
        ])
        .exits(2)
        .says("never overwritten");
    assert_eq!(
        std::fs::read(&journal).expect("it is still there"),
        b"precious"
    );
}

#[test]
fn errors_are_one_json_object_for_programs() {
    let machine = Machine::bare();
    let ended = machine
        .tally(["run", "nowhere.wasm", "--input", "x", "--json"])
        .exits(2);
    let error = ended.json();
    assert_eq!(error["error"]["kind"], "misuse");
    assert!(
        error["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("nowhere.wasm"))
    );
}

#[test]
fn files_that_are_neither_receipt_nor_journal_are_misuse_to_verify() {
    let machine = Machine::bare();
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("text", b"hello"),
        ("json", b"{\"a\":1}"),
        ("zip", b"PK\x03\x04"),
    ] {
        let path = machine.file(name, bytes);
        machine
            .tally(["verify".as_ref(), path.as_os_str()])
            .exits(2)
            .says(name);
    }
    // Refused by how it begins, before the rest of it is read.
    let large = machine.file("large", b"hello");
    let file = std::fs::File::options().write(true).open(&large);
    file.expect("it is there")
        .set_len((64 << 20) + 1)
        .expect("a disk with holes");
    for verb in ["verify", "replay"] {
        let words = [verb.as_ref(), large.as_os_str(), "--view".as_ref()];
        let words = words.into_iter().take(if verb == "replay" { 3 } else { 2 });
        machine.tally(words).exits(2).says("is that large");
    }
    machine
        .tally(["verify", "nowhere"])
        .exits(2)
        .says("nowhere");
    machine.tally(["verify"]).exits(2);
}

#[test]
fn a_file_that_is_no_journal_is_misuse_to_replay() {
    let machine = Machine::bare();
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("text", b"hello"),
        ("json", b"{\"payload\":\"\"}"),
    ] {
        let path = machine.file(name, bytes);
        for more in [&["--view"][..], &["--agent", "nowhere.wasm"]] {
            let words = ["replay".as_ref(), path.as_os_str()];
            machine
                .tally(words.into_iter().chain(more.iter().map(AsRef::as_ref)))
                .exits(2)
                .says("is not a journal");
        }
    }
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::with_model();
    let agent = component("bench-guest");
    machine
        .tally([
            "run".as_ref(),
            agent.as_os_str(),
            "--input".as_ref(),
            "x".as_ref(),
            "--grant-asked".as_ref(),
        ])
        .ok();
    let key = machine.path("home/keys/node.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644))
        .expect("the mode can be set");
    machine
        .tally([
            "run".as_ref(),
            agent.as_os_str(),
            "--input".as_ref(),
            "x".as_ref(),
            "--grant-asked".as_ref(),
        ])
        .exits(3)
        .says("chmod 600");
}
