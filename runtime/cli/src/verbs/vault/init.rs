//! `tally vault init`: a new vault, its passphrase, and the recovery phrase, shown once and typed again.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args as ClapArgs;
use tally_vault::format::{Identity, MemberKind, Share, from_phrase, split_seed};
use tally_vault::{Create, CreateError, Environment, Vault};
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail, Outcome};
use crate::secret::{self, Random};
use crate::ui::{Progress, say};
use crate::vaults::{MEMBERS, MEMORY, Which, Work, name_member, new_namespace, root_seed};

/// Make a vault.
#[derive(ClapArgs)]
pub(crate) struct Init {
    /// Its folder; else $TALLY_VAULT, else the one in this user's data directory.
    #[arg(long, value_name = "DIR", env = "TALLY_VAULT")]
    vault: Option<PathBuf>,
    /// A namespace to begin with, beside `memory`. May be given several times; `tally vault namespace` makes more.
    #[arg(long = "namespace", value_name = "NAME", value_parser = new_namespace)]
    namespaces: Vec<String>,
    /// What this computer is called in the vault.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Read the new passphrase from this file descriptor instead of the terminal.
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Write the recovery phrase to this file descriptor instead of the terminal, and do not ask for it again.
    #[arg(long, value_name = "N")]
    phrase_fd: Option<u32>,
    /// Give the recovery phrase as N shares of which any K are enough, instead of as 24 words.
    #[arg(long, value_name = "K/N", value_parser = shares)]
    shares: Option<(u8, u8)>,
    #[command(flatten)]
    work: Work,
}

fn shares(text: &str) -> Result<(u8, u8), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((k, n)) if 2 <= k && k <= n && n <= 32 => Ok((k, n)),
        _ => Err("write K/N with 2 ≤ K ≤ N ≤ 32, for example 2/3".into()),
    }
}

pub(crate) fn run(args: &Init, json: bool) -> Outcome {
    let which = Which {
        vault: args.vault.clone(),
        passphrase_fd: None,
        agent: None,
        locked: false,
        accept_rollback: false,
    };
    let place = which.place()?;
    if place.folder.join("VAULT").exists() {
        return Err(creating(CreateError::Exists {
            folder: place.folder,
        }));
    }
    let shown = args.phrase_fd.is_some()
        || json
        || (std::io::stderr().is_terminal() && std::io::stdin().is_terminal());
    if !shown {
        return Err(Failure::misuse("there is no terminal to show the recovery phrase on")
            .advise("take it on a file descriptor (--phrase-fd 4 4>phrase.txt), or in the answer (--json)"));
    }
    let cost = args.work.cost()?;
    let passphrase = secret::choose("passphrase", args.passphrase_fd)?;
    let mut names: Vec<&str> = args.namespaces.iter().map(String::as_str).collect();
    // Where everything goes that names no namespace, and what members are called.
    for always in [MEMORY, MEMBERS] {
        if !names.contains(&always) {
            names.push(always);
        }
    }
    let made = {
        let _progress = Progress::spinner("making the vault");
        let create = Create {
            passphrase: &passphrase,
            cost,
            namespaces: &names,
        };
        Vault::create(Environment::of_this_computer(), &place, &create).map_err(creating)?
    };
    let (mut vault, phrase) = (made.vault, made.phrase);
    if let Some(device) = vault
        .holders()
        .first()
        .map(tally_vault::format::Card::member)
    {
        let label = args.device.clone().unwrap_or_else(computer);
        name_member(&mut vault, &device, &label)?;
    }
    let given = match args.shares {
        None => vec![phrase],
        Some((k, n)) => split(&vault, &phrase, k, n)?,
    };
    match args.phrase_fd {
        Some(number) => hand_over(&given, number)?,
        None if json => {}
        None => show_and_ask(&vault, &given, args.shares.map_or(1, |(k, _)| k))?,
    }
    if json {
        let mut more = serde_json::json!({ "folder": place.folder, "namespaces": names });
        if args.phrase_fd.is_none() {
            let words: Vec<&str> = given.iter().map(|words| words.as_str()).collect();
            match args.shares {
                None => more["recovery_phrase"] = words[0].into(),
                Some(_) => more["recovery_shares"] = words.into(),
            }
        }
        super::answer(&vault, more);
    } else {
        say!("vault {}", vault.id());
        eprintln!(
            "made in {}; namespaces {}",
            place.folder.display(),
            names.join(", ")
        );
        eprintln!("next: tally vault add 'something to remember'");
    }
    Ok(())
}

/// What this computer calls itself.
fn computer() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this computer".to_owned())
}

fn creating(error: CreateError) -> Failure {
    match error {
        CreateError::Exists { .. } => {
            Failure::misuse(&error).advise("tally vault status says what is in it")
        }
        CreateError::NotEmpty { .. } | CreateError::Name(_) | CreateError::NameTwice(_) => {
            Failure::misuse(&error)
        }
        _ => Failure::environment(&error),
    }
}

/// The root's seed in shares.
fn split(vault: &Vault, phrase: &str, k: u8, n: u8) -> Result<Vec<Zeroizing<String>>, Failure> {
    let seed = from_phrase(phrase).expect("it was made from a seed");
    let mut rng = Random::new()?;
    let shares = split_seed(&vault.id(), &seed, k, n, &mut rng).or_misuse("split the phrase")?;
    Ok(shares.iter().map(Share::to_words).collect())
}

fn hand_over(words: &[Zeroizing<String>], number: u32) -> Result<(), Failure> {
    let path = format!("/dev/fd/{number}");
    let write = |mut file: std::fs::File| {
        words.iter().try_for_each(|line| {
            file.write_all(line.as_bytes())
                .and_then(|()| file.write_all(b"\n"))
        })
    };
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(write)
        .or_misuse(format_args!(
            "write the recovery phrase to file descriptor {number}"
        ))
        .map_err(|failure| {
            failure.advise(
                "the vault was made and its phrase is lost: remove the folder and make it again",
            )
        })
}

/// Shows the phrase or the shares, and lets the person type what is needed to come back, so that what was written down is what
/// opens the vault.
fn show_and_ask(vault: &Vault, given: &[Zeroizing<String>], needed: u8) -> Result<(), Failure> {
    let (what, them) = if given.len() == 1 {
        ("These 24 words open".to_owned(), "them")
    } else {
        (
            format!("Any {needed} of these {} shares open", given.len()),
            "as many shares as are needed, one a line,",
        )
    };
    eprintln!(
        "\n{what} the vault when the passphrase or every device is lost. They are shown once and"
    );
    eprintln!("kept nowhere. Write them down, and keep them where you keep a passport.\n");
    for (at, words) in given.iter().enumerate() {
        if given.len() > 1 {
            eprintln!("  share {}", at + 1);
        }
        let words: Vec<&str> = words.split(' ').collect();
        for (row, line) in words.chunks(4).enumerate() {
            let line: Vec<String> = line
                .iter()
                .enumerate()
                .map(|(at, word)| format!("{:>2} {word:<10}", row * 4 + at + 1))
                .collect();
            eprintln!("  {}", line.join(""));
        }
        eprintln!();
    }
    let root = vault.genesis().root().member();
    loop {
        eprint!("type {them} again, or press Ctrl-C and remove the folder: ");
        let mut typed = Zeroizing::new(String::new());
        let lines = if given.len() == 1 { 1 } else { needed };
        for _ in 0..lines {
            let read = std::io::stdin()
                .read_line(&mut typed)
                .or_environment("read what you type")?;
            if read == 0 {
                return Err(Failure::misuse("the words were not typed again")
                    .advise("the vault is there and its words were shown above; if they were not written down, remove the folder and make it again"));
            }
        }
        let typed = root_seed(&vault.id(), &typed)
            .map(|seed| Identity::new(MemberKind::Root, seed).member());
        match typed {
            Ok(member) if member == root => {
                eprintln!("these are the words");
                return Ok(());
            }
            Ok(_) => eprintln!("these words are another vault's"),
            Err(failure) => eprintln!("{}", failure.message()),
        }
    }
}
