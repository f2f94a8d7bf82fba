//! Vaults as the command line sees them: where one is, what opens it, who its members are called.
//!
//! Members have no names in the format, so that whoever stores a vault learns none. Here they have: a record of type
//! `tally.member/1` in the namespace `members`, which devices read and agents do not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};
use tally_vault::format::{
    Genesis, GrantId, Identity, MemberId, MemberKind, NamespaceId, Right, Seed, Share, SlotCost,
    Time, VaultId, combine_shares, from_phrase,
};
use tally_vault::{
    Change, Environment, Key, NewContent, NewRecord, Open, OpenError, Place, ReadError, Severity,
    Stored, Vault, WriteError,
};
use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail};
use crate::home::{self, Home};
use crate::secret;
use crate::ui::{Progress, printable};

/// The namespace of the members' names.
pub(crate) const MEMBERS: &str = "members";
/// The namespace where records go that name none.
pub(crate) const MEMORY: &str = "memory";
/// What a record in [`MEMBERS`] is.
const MEMBER_TYPE: &str = "tally.member/1";

/// Which vault, and with whose key.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Which {
    /// The vault's folder; else $TALLY_VAULT, else the one in this user's data directory.
    #[arg(long, value_name = "DIR", env = "TALLY_VAULT")]
    pub(crate) vault: Option<PathBuf>,
    /// Read the passphrase from this file descriptor instead of the terminal.
    #[arg(long, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Open with the key of this agent instead of the passphrase, and so see and do only what it may.
    #[arg(long = "as", value_name = "AGENT", conflicts_with_all = ["passphrase_fd", "locked"])]
    pub(crate) agent: Option<String>,
    /// Open with no key at all, as somebody who only stores the vault.
    #[arg(long, conflicts_with = "passphrase_fd")]
    pub(crate) locked: bool,
    /// Go on although this computer has seen a newer state of the folder.
    #[arg(long)]
    pub(crate) accept_rollback: bool,
}

impl Which {
    /// The vault in this folder, or the one of commands that name none.
    pub(crate) fn of(vault: Option<PathBuf>) -> Self {
        Self {
            vault: vault.or_else(|| std::env::var_os("TALLY_VAULT").map(PathBuf::from)),
            passphrase_fd: None,
            agent: None,
            locked: false,
            accept_rollback: false,
        }
    }

    /// Where the vault and this device's knowledge of it are.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        let home = Home::open()?;
        let folder = match &self.vault {
            Some(folder) => folder.clone(),
            None => home.path().join("vault"),
        };
        Ok(Place {
            folder: std::path::absolute(&folder)
                .or_misuse(format_args!("use {}", folder.display()))?,
            local: home.vaults()?,
        })
    }

    /// Opens it for reading.
    pub(crate) fn read(&self) -> Result<Vault, Failure> {
        self.open(false)
    }

    /// Opens it for reading and writing.
    pub(crate) fn write(&self) -> Result<Vault, Failure> {
        if self.locked {
            return Err(Failure::misuse(
                "--locked opens the vault with no key, and writing takes one",
            ));
        }
        self.open(true)
    }

    fn open(&self, write: bool) -> Result<Vault, Failure> {
        let place = self.place()?;
        if let Some(agent) = &self.agent {
            let identity = agent_identity(agent, &vault_id(&place)?)?;
            return open(&place, Key::Member(identity), write, self.accept_rollback);
        }
        if self.locked {
            return open(&place, Key::None, write, self.accept_rollback);
        }
        // Asked only where there is something to open.
        if !place.folder.join("VAULT").exists() {
            open(&place, Key::None, false, self.accept_rollback)?;
        }
        let passphrase = secret::ask("passphrase", self.passphrase_fd)?;
        open(
            &place,
            Key::Passphrase(&passphrase),
            write,
            self.accept_rollback,
        )
    }
}

/// What a guess at the passphrase is to cost whoever has a copy of the vault, and its owner each time.
#[derive(ClapArgs, Clone, Debug)]
pub(crate) struct Work {
    /// Memory that one guess at the new passphrase costs.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    work_memory: u32,
    /// Passes over that memory.
    #[arg(long, value_name = "PASSES", default_value_t = 3)]
    work_passes: u32,
}

impl Work {
    pub(crate) fn cost(&self) -> Result<SlotCost, Failure> {
        SlotCost::new(self.work_memory.saturating_mul(1024), self.work_passes, 4)
            .or_misuse("make a guess at the passphrase cost that")
    }
}

/// Opens a vault, with the reason in words if it does not.
pub(crate) fn open(
    place: &Place,
    key: Key<'_>,
    write: bool,
    accept_rollback: bool,
) -> Result<Vault, Failure> {
    let _progress = Progress::spinner("opening the vault");
    let options = Open {
        key,
        write,
        expect: None,
        accept_rollback,
    };
    let mut vault = Vault::open(Environment::of_this_computer(), place, options)
        .map_err(|error| opening(error, &place.folder))?;
    announce_closed(&mut vault);
    for finding in vault.findings_when_opened() {
        if finding.code.severity() > Severity::Note {
            eprintln!("tally: {}", printable(&finding.to_string()));
            eprintln!("       {}", finding.code.advice());
        }
    }
    Ok(vault)
}

/// Says which grants opening closed, because they had ended, and which keys it replaced.
pub(crate) fn announce_closed(vault: &mut Vault) {
    let closed = vault.closed_when_opened().clone();
    if closed.grants.is_empty() && closed.rotated.is_empty() {
        return;
    }
    if closed.grants.is_empty() {
        eprintln!(
            "tally: somebody who was removed may have known the keys in use: an earlier revocation was stopped before it made new ones"
        );
    }
    let names = Names::of(vault).unwrap_or_default();
    let rows = vault.grants();
    for id in &closed.grants {
        if let Some(row) = rows.iter().find(|row| row.id == *id) {
            let end = row.expires.map_or_else(String::new, moment);
            eprintln!(
                "tally: the grant of {} ended at {end}: it is closed, and nothing that comes under it counts any more",
                printable(&names.text(&row.card.member())),
            );
        }
    }
    let text = |ids: &[NamespaceId]| {
        let names: Vec<String> = ids.iter().map(|id| namespace_text(vault, id)).collect();
        printable(&names.join(", "))
    };
    if !closed.rotated.is_empty() {
        eprintln!("       new keys for {}", text(&closed.rotated));
    }
    if !closed.not_rotated.is_empty() {
        eprintln!(
            "       the keys of {} are unchanged: an admin of them has to rotate",
            text(&closed.not_rotated)
        );
    }
}

/// The root's seed, from 24 words or from shares of 32 words, one a line.
pub(crate) fn root_seed(vault: &VaultId, words: &str) -> Result<Seed, Failure> {
    let lines: Vec<&str> = words
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let count = |line: &str| line.split_whitespace().count();
    if lines.iter().any(|line| count(line) == Share::WORDS) {
        let shares = lines
            .iter()
            .map(|line| Share::from_words(line))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Failure::misuse)?;
        return combine_shares(vault, &shares).map_err(Failure::misuse);
    }
    from_phrase(words).map_err(|error| Failure::misuse(format_args!("recovery phrase: {error}")))
}

/// Who must act when a vault does not open.
pub(crate) fn opening(error: OpenError, folder: &Path) -> Failure {
    match error {
        OpenError::NotAVault { .. } => Failure::misuse(&error).advise(format_args!(
            "make one: tally vault init --vault {}",
            folder.display()
        )),
        OpenError::Substituted { .. } => Failure::no(&error).advise(
            "put the vault's own folder back; if you exchanged it yourself, move the new one elsewhere and name that folder with --vault",
        ),
        OpenError::WrongPassphrase | OpenError::OtherRoot | OpenError::Stranger { .. } => {
            Failure::no(&error)
        }
        OpenError::Phrase(_) => Failure::misuse(&error),
        OpenError::Genesis(_) | OpenError::SlotsRefused(_) => Failure::no(&error)
            .advise("tally vault check --locked says what is wrong with the folder"),
        OpenError::File(_) if folder.is_file() => Failure::misuse(format_args!(
            "{} is a file, and a vault is a folder",
            folder.display()
        ))
        .advise("to unpack a file that tally vault export wrote: tally vault import FILE --vault FOLDER"),
        OpenError::InUse => Failure::environment("another program is writing this vault")
            .advise("wait until it is done, or read the vault meanwhile"),
        _ => Failure::environment(&error),
    }
}

/// Who must act when something is not written.
pub(crate) fn writing(error: WriteError) -> Failure {
    let full = error.is_disk_full();
    match error {
        _ if full => Failure::environment(&error)
            .advise("the disk is full: nothing was acknowledged, and nothing that was is lost"),
        WriteError::RolledBack { .. } => Failure::no(&error).advise(
            "wait for your sync tool to finish, or sync with a newer copy; to go on from here with a new device key: --accept-rollback",
        ),
        WriteError::NotPermitted { .. } | WriteError::NotBelow(_) | WriteError::Wider(_) => {
            Failure::no(&error)
        }
        WriteError::File(_)
        | WriteError::Random(_)
        | WriteError::Device(_)
        | WriteError::Broken
        | WriteError::EndOfTime => Failure::environment(&error),
        WriteError::Read(error) => reading(error),
        _ => Failure::misuse(&error),
    }
}

/// Who must act when something is not read.
pub(crate) fn reading(error: ReadError) -> Failure {
    match error {
        ReadError::NoSuchOperation(_) | ReadError::NotARecord(_) => Failure::misuse(&error),
        ReadError::Output(_) | ReadError::File(_) => Failure::environment(&error),
        _ => Failure::no(&error),
    }
}

/// A namespace by its name or id.
pub(crate) fn namespace(vault: &mut Vault, name: &str) -> Result<NamespaceId, Failure> {
    if let Some(id) = vault.namespace(name) {
        return Ok(id);
    }
    let known: Vec<String> = vault
        .namespaces()
        .into_iter()
        .filter_map(|one| one.name)
        .collect();
    let failure = Failure::misuse(format_args!(
        "no namespace {name:?} can be opened with this key"
    ));
    if known.is_empty() {
        return Err(failure);
    }
    let is_agent = vault
        .holders()
        .iter()
        .any(|card| card.kind() == MemberKind::Agent);
    let more = if is_agent {
        format!("to share one more: tally vault share --agent NAME {name}=read")
    } else {
        format!("to make one more: tally vault namespace {name}")
    };
    let known = known.join(", ");
    Err(failure.advise(printable(&format!("there are: {known}; {more}"))))
}

/// What a new namespace may be called on the command line, where some words mean no single one.
pub(crate) fn new_namespace(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("a namespace has a name"),
        "*" => Err("`*` means every namespace"),
        "control" => Err("`control` is where a vault says who its members are"),
        _ => Ok(text.to_owned()),
    }
}

/// What a namespace is called, for a person.
pub(crate) fn namespace_text(vault: &Vault, id: &NamespaceId) -> String {
    match *id {
        NamespaceId::ALL => "every namespace".to_owned(),
        NamespaceId::CONTROL => "control".to_owned(),
        _ => vault
            .namespace_name(id)
            .map_or_else(|| id.to_string(), str::to_owned),
    }
}

#[derive(Serialize, Deserialize)]
struct MemberName {
    member: String,
    label: String,
}

/// What the members are called, as far as this key may know.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<MemberId, String>);

impl Names {
    pub(crate) fn of(vault: &mut Vault) -> Result<Self, Failure> {
        let mut names = BTreeMap::new();
        let root = vault.genesis().root().member();
        names.insert(root, "the recovery phrase".to_owned());
        for row in vault.grants() {
            if row.card.kind() == MemberKind::Slot {
                names.insert(row.card.member(), "the passphrase".to_owned());
            }
        }
        if let Some(id) = vault.namespace(MEMBERS) {
            let mut found = Vec::new();
            let read = vault.for_each_current::<ReadError>(Some(&[id]), |_, record| {
                if record.record_type == MEMBER_TYPE
                    && let Stored::Inline(bytes) = &record.content
                    && let Ok(name) = serde_json::from_slice::<MemberName>(bytes)
                    && let Ok(member) = name.member.parse::<MemberId>()
                {
                    found.push((member, name.label));
                }
                Ok(())
            });
            match read {
                Ok(()) | Err(ReadError::NoKey(_)) => names.extend(found),
                Err(error) => return Err(reading(error)),
            }
        }
        Ok(Self(names))
    }

    /// A member's name, or the beginning of its key.
    pub(crate) fn text(&self, member: &MemberId) -> String {
        match self.0.get(member) {
            Some(name) => name.clone(),
            None => format!("{}…", &member.to_string()[..12]),
        }
    }

    pub(crate) fn label(&self, member: &MemberId) -> Option<&str> {
        self.0.get(member).map(String::as_str)
    }

    /// The members of that name.
    pub(crate) fn find(&self, label: &str) -> Vec<MemberId> {
        self.0
            .iter()
            .filter(|(_, name)| *name == label)
            .map(|(member, _)| *member)
            .collect()
    }
}

/// Writes down what a member is called. Without the namespace for it, as in a vault that another program made, it stays
/// without a name.
pub(crate) fn name_member(
    vault: &mut Vault,
    member: &MemberId,
    label: &str,
) -> Result<(), Failure> {
    let Some(id) = vault.namespace(MEMBERS) else {
        return Ok(());
    };
    let name = MemberName {
        member: member.to_string(),
        label: label.to_owned(),
    };
    let content = serde_json::to_vec(&name).expect("two strings are JSON");
    let record = NewRecord {
        record_type: MEMBER_TYPE,
        run: None,
        receipt: None,
        content: NewContent::Bytes(&content),
    };
    vault
        .append(&id, vec![Change::Add(record)])
        .map_err(writing)?;
    Ok(())
}

/// A grant by its id, the beginning of its id, or the name of its subject.
pub(crate) fn grant(vault: &mut Vault, names: &Names, text: &str) -> Result<GrantId, Failure> {
    let standing: Vec<_> = vault
        .grants()
        .into_iter()
        .filter(|row| {
            row.standing == tally_vault::state::GrantStanding::Valid && row.id != GrantId::ROOT
        })
        .collect();
    let members = names.find(text);
    let found: Vec<GrantId> = standing
        .iter()
        .filter(|row| {
            members.contains(&row.card.member())
                || (text.len() >= 6 && row.id.to_string().starts_with(text))
                || row.card.member().to_string() == text
        })
        .map(|row| row.id)
        .collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(
            Failure::misuse(format_args!("no grant that stands is called {text:?}"))
                .advise("tally vault status lists the grants"),
        ),
        _ => Err(
            Failure::misuse(format_args!("{} grants are meant by {text:?}", found.len()))
                .advise("name one by the beginning of its id; tally vault status lists them"),
        ),
    }
}

/// A right by its name.
pub(crate) fn right(text: &str) -> Result<Right, Failure> {
    [
        Right::Relay,
        Right::Read,
        Right::Append,
        Right::Curate,
        Right::Admin,
    ]
    .into_iter()
    .find(|right| right.name() == text)
    .ok_or_else(|| {
        Failure::misuse(format_args!("{text:?} is no right")).advise(
            "a right is one of relay, read, append, curate, admin; each contains the ones before",
        )
    })
}

/// When something ends: `30d`, `12h`, `never`, or a moment like 2026-12-31T00:00:00Z.
pub(crate) fn end(text: &str) -> Result<Option<Time>, Failure> {
    let bad = || {
        Failure::misuse(format_args!("{text:?} is no end"))
            .advise("say for how long (30d, 12h, 45m), until when (2026-12-31T00:00:00Z), or never")
    };
    if text == "never" {
        return Ok(None);
    }
    if let Ok(moment) = text.parse::<tally_capability::Moment>() {
        let end = Time::from_millis(moment.epoch_seconds().saturating_mul(1000));
        if end.millis() <= now_ms() {
            return Err(Failure::misuse(format_args!("{text} is past")));
        }
        return Ok(Some(end));
    }
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    let seconds = match unit {
        "d" => number.checked_mul(86_400),
        "h" => number.checked_mul(3_600),
        "m" => number.checked_mul(60),
        _ => None,
    };
    let millis = seconds
        .and_then(|seconds| seconds.checked_mul(1000))
        .ok_or_else(bad)?;
    Ok(Some(Time::from_millis(now_ms().saturating_add(millis))))
}

fn now_ms() -> u64 {
    use tally_vault::Clock as _;
    tally_vault::SystemClock.now_ms()
}

/// A moment as a person reads it: to the second, in UTC.
pub(crate) fn moment(time: Time) -> String {
    tally_capability::Moment::from_epoch_seconds(time.millis() / 1000).to_string()
}

/// Which vault lies in a folder, before it is opened.
pub(crate) fn vault_id(place: &Place) -> Result<VaultId, Failure> {
    let path = place.folder.join("VAULT");
    let bytes = std::fs::read(&path).map_err(|_| {
        opening(
            OpenError::NotAVault {
                folder: place.folder.clone(),
            },
            &place.folder,
        )
    })?;
    let genesis = Genesis::parse(&bytes).map_err(|error| opening(error.into(), &place.folder))?;
    Ok(genesis.vault_id())
}

/// The key of an agent of this machine for one vault: another for each, so that nobody who stores two of them learns that
/// they have an agent in common.
///
/// What it is derived from is kept in the clear, readable by this user alone, so that an agent can run while nobody is there to type a
/// passphrase. What it opens is what was shared with the agent, until that ends.
pub(crate) fn agent_identity(name: &str, vault: &VaultId) -> Result<Identity, Failure> {
    let path = agent_path(name)?;
    match home::read_seed(&path)? {
        Some(seed) => Ok(derived(&seed, vault)),
        None => Err(
            Failure::misuse(format_args!("no agent {name:?} has a key on this machine")).advise(
                format_args!(
                    "share something with it first: tally vault share --agent {name} memory=read"
                ),
            ),
        ),
    }
}

/// The key of an agent of this machine, made if there is none.
pub(crate) fn agent_identity_or_new(name: &str, vault: &VaultId) -> Result<Identity, Failure> {
    let path = agent_path(name)?;
    Ok(derived(&*home::seed_or_new(&path)?, vault))
}

fn derived(seed: &[u8; 32], vault: &VaultId) -> Identity {
    let mut material = Zeroizing::new([0; 64]);
    material[..32].copy_from_slice(seed);
    material[32..].copy_from_slice(vault.as_bytes());
    let seed = blake3::derive_key("tally cli v1 2026-11-21 agent in vault", &*material);
    Identity::new(MemberKind::Agent, Seed::from_bytes(seed))
}

fn agent_path(name: &str) -> Result<PathBuf, Failure> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fit) || name.starts_with('.') {
        return Err(
            Failure::misuse(format_args!("{name:?} cannot be an agent's name"))
                .advise("use up to 64 letters, digits, `-`, `_` and `.`"),
        );
    }
    Ok(Home::open()?.agents()?.join(format!("{name}.key")))
}
