//! `tally` with a vault: the passphrase comes on a descriptor, as from another program.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Ended, Machine};

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// `tally` with the passphrase on descriptor 3 and, if there is one, another secret on descriptor 4.
pub(crate) fn with_secrets(machine: &Machine, args: &[&str], other: Option<&str>) -> Ended {
    let pass = machine.file("passphrase", PASSPHRASE);
    let other = machine.file("other", other.unwrap_or_default());
    Ended::of(shell(machine, args, &pass, &other))
}

/// The same with the passphrase alone, going on while others run: it reads files of its own.
pub(crate) fn started(machine: &Machine, args: &[&str]) -> Child {
    let pass = machine.file("passphrase-of-its-own", PASSPHRASE);
    let mut command = shell(machine, args, &pass, Path::new("/dev/null"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the command can be started")
}

/// The shell puts itself out of the way: what is started is `tally`.
fn shell(machine: &Machine, args: &[&str], pass: &Path, other: &Path) -> Command {
    let inner = machine.command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$0\" \"$@\" 3<\"$PASS\" 4<\"$OTHER\""])
        .arg(inner.get_program())
        .args(args);
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .env("PASS", pass)
        .env("OTHER", other)
        .stdin(Stdio::null());
    shell
}

/// A verb of `tally vault`, opened with the passphrase.
pub(crate) fn vault(machine: &Machine, args: &[&str]) -> Ended {
    let args = [&["vault"], args, &["--passphrase-fd", "3"]].concat();
    with_secrets(machine, &args, None)
}

/// A new vault, with cheap guesses, and its recovery phrase.
pub(crate) fn init(machine: &Machine, namespaces: &[&str]) -> String {
    let mut args = vec![
        "vault",
        "init",
        "--json",
        "--passphrase-fd",
        "3",
        "--work-memory",
        "64",
        "--work-passes",
        "2",
    ];
    for name in namespaces {
        args.extend(["--namespace", name]);
    }
    let made = with_secrets(machine, &args, None).ok().json();
    made["recovery_phrase"]
        .as_str()
        .expect("the phrase is in the answer")
        .to_owned()
}
