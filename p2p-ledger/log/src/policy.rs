//! Policies: which logs, and which cosigners have to have seen a checkpoint.
//!
//! ```text
//! log VKEY [URL]
//! witness NAME VKEY [URL]
//! group NAME (all | any | K) MEMBER…
//! quorum NAME | none
//! ```
//!
//! A checkpoint is valid when one of the logs has signed it and the quorum has cosigned it. `docs/log.md` has the rest.
//!
//! Source: c2sp.org/tlog-policy. Deviations: a policy without a log is refused, since nobody else says here which log is
//! meant, and more than [`MAX_ENTRIES`] of a kind are.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::SignedCheckpoint;
use crate::note::{KeyType, Signed, UnixSeconds, VerifierKey, VerifierKeyError};

/// Bytes of a policy file.
pub const MAX_POLICY_BYTES: usize = 1 << 20;

/// Logs, witnesses and groups, each.
pub const MAX_ENTRIES: usize = 512;

/// Which checkpoints are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Witness {
    name: Box<[u8]>,
    key: VerifierKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    needed: usize,
    members: Vec<Member>,
}

/// A witness, or a group that was defined before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// Why bytes are no policy. Whoever wrote them must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Larger than any.
    #[error("a policy has at most {MAX_POLICY_BYTES} bytes; this has {found}")]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// A line that cannot be read.
    #[error("line {line}: {reason}")]
    Line {
        /// Which one, from 1.
        line: usize,
        /// Why not.
        reason: LineError,
    },
    /// No log.
    #[error("the policy names no log")]
    NoLog,
    /// No quorum.
    #[error("the policy has no quorum line")]
    NoQuorum,
}

/// Why a line of a policy cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// A control character other than a tab.
    #[error("there is a control character")]
    Control,
    /// Not one of the four.
    #[error("a line begins with log, witness, group, quorum or #")]
    Keyword,
    /// Too few or too many words.
    #[error("there are too few or too many words")]
    Words,
    /// A key that is none.
    #[error("{0}")]
    Key(VerifierKeyError),
    /// A log's key must sign checkpoints, a witness's cosign them.
    #[error("a log's key has type 0x01, a witness's 0x04")]
    KeyType,
    /// The same key twice.
    #[error("this key is there already")]
    KeyTwice,
    /// The same name twice.
    #[error("this name is taken")]
    NameTwice,
    /// A name that was not defined before.
    #[error("a name is used that was not defined above")]
    Undefined,
    /// A member of two groups, or twice of one.
    #[error("a member is in a group already")]
    MemberTwice,
    /// A threshold that cannot be.
    #[error("a threshold is all, any, or a number from 1 to that of the members")]
    Threshold,
    /// A second quorum.
    #[error("there is a quorum line already")]
    QuorumTwice,
    /// Too many.
    #[error("there are more than {MAX_ENTRIES} of a kind")]
    TooMany,
}

/// What a policy makes of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether one of the logs signed it.
    pub log_signed: bool,
    /// Which witnesses cosigned it, by their names in the policy, and when.
    pub cosigned: Vec<(String, UnixSeconds)>,
    /// How many witnesses the policy knows.
    pub witnesses: usize,
    /// Whether the quorum did.
    pub quorum: bool,
    /// Whose signatures, of those the policy knows, are there and do not hold. The checkpoint is not to be used then.
    pub bad: Vec<String>,
}

impl Judgement {
    /// Whether the checkpoint is valid.
    pub fn is_valid(&self) -> bool {
        self.log_signed && self.quorum && self.bad.is_empty()
    }
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge { found: bytes.len() });
        }
        let mut reading = Reading::default();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            reading.line(line).map_err(|reason| PolicyError::Line {
                line: index + 1,
                reason,
            })?;
        }
        if reading.logs.is_empty() {
            return Err(PolicyError::NoLog);
        }
        Ok(Self {
            quorum: reading.quorum.ok_or(PolicyError::NoQuorum)?,
            logs: reading.logs,
            witnesses: reading.witnesses,
            groups: reading.groups,
        })
    }

    /// Judges a checkpoint.
    pub fn judge(&self, checkpoint: &SignedCheckpoint) -> Judgement {
        let mut bad = Vec::new();
        let origin = &checkpoint.checkpoint().origin;
        let mut log_signed = false;
        for log in self.logs.iter().filter(|log| log.name == *origin) {
            match checkpoint.signed_by(log) {
                Signed::Yes => log_signed = true,
                Signed::Bad => bad.push(log.name.to_string()),
                Signed::No | Signed::At(_) => {}
            }
        }
        let mut cosigned = Vec::new();
        let mut seen = vec![false; self.witnesses.len()];
        for (witness, seen) in self.witnesses.iter().zip(&mut seen) {
            let name = || String::from_utf8_lossy(&witness.name).into_owned();
            match checkpoint.signed_by(&witness.key) {
                Signed::At(at) => {
                    cosigned.push((name(), at));
                    *seen = true;
                }
                Signed::Bad => bad.push(name()),
                Signed::No | Signed::Yes => {}
            }
        }
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let found = group
                .members
                .iter()
                .filter(|member| member.is_met(&seen, &groups))
                .count();
            groups.push(found >= group.needed);
        }
        Judgement {
            log_signed,
            cosigned,
            witnesses: self.witnesses.len(),
            quorum: self
                .quorum
                .is_none_or(|member| member.is_met(&seen, &groups)),
            bad,
        }
    }

    /// The keys that the policy knows, of logs and of witnesses.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.logs
            .iter()
            .chain(self.witnesses.iter().map(|witness| &witness.key))
    }
}

impl Member {
    fn is_met(self, witnesses: &[bool], groups: &[bool]) -> bool {
        match self {
            Self::Witness(index) => witnesses[index],
            // Groups are defined before they are used, so this one's answer is known.
            Self::Group(index) => groups[index],
        }
    }
}

#[derive(Default)]
struct Reading {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    names: BTreeMap<Box<[u8]>, Member>,
    in_groups: BTreeSet<Member>,
    quorum: Option<Option<Member>>,
}

impl Reading {
    fn line(&mut self, line: &[u8]) -> Result<(), LineError> {
        if line
            .iter()
            .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
        {
            return Err(LineError::Control);
        }
        let words: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|word| !word.is_empty())
            .collect();
        match words[..] {
            [] => Ok(()),
            [word, ..] if word.starts_with(b"#") => Ok(()),
            [b"log", key] | [b"log", key, _] => self.log(key),
            [b"witness", name, key] | [b"witness", name, key, _] => self.witness(name, key),
            [b"group", name, threshold, ref members @ ..] if !members.is_empty() => {
                self.group(name, threshold, members)
            }
            [b"quorum", name] => self.quorum(name),
            [b"log" | b"witness" | b"group" | b"quorum", ..] => Err(LineError::Words),
            _ => Err(LineError::Keyword),
        }
    }

    fn log(&mut self, key: &[u8]) -> Result<(), LineError> {
        let key = verifier_key(key, KeyType::Ed25519)?;
        if self.logs.iter().any(|other| other.key == key.key) {
            return Err(LineError::KeyTwice);
        }
        bounded(self.logs.len())?;
        self.logs.push(key);
        Ok(())
    }

    fn witness(&mut self, name: &[u8], key: &[u8]) -> Result<(), LineError> {
        let key = verifier_key(key, KeyType::Cosignature)?;
        if self.witnesses.iter().any(|other| other.key.key == key.key) {
            return Err(LineError::KeyTwice);
        }
        bounded(self.witnesses.len())?;
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness {
            name: name.into(),
            key,
        });
        Ok(())
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), LineError> {
        bounded(self.groups.len())?;
        let needed = match threshold {
            b"all" => members.len(),
            b"any" => 1,
            digits => std::str::from_utf8(digits)
                .ok()
                .and_then(crate::text::number)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (1..=members.len()).contains(number))
                .ok_or(LineError::Threshold)?,
        };
        let members = members
            .iter()
            .map(|name| {
                let member = *self.names.get(*name).ok_or(LineError::Undefined)?;
                match self.in_groups.insert(member) {
                    true => Ok(member),
                    false => Err(LineError::MemberTwice),
                }
            })
            .collect::<Result<_, _>>()?;
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { needed, members });
        Ok(())
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), LineError> {
        let member = match name {
            b"none" => None,
            name => Some(*self.names.get(name).ok_or(LineError::Undefined)?),
        };
        match self.quorum.replace(member) {
            None => Ok(()),
            Some(_) => Err(LineError::QuorumTwice),
        }
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), LineError> {
        if name == b"none" || self.names.contains_key(name) {
            return Err(LineError::NameTwice);
        }
        self.names.insert(name.into(), member);
        Ok(())
    }
}

const fn bounded(count: usize) -> Result<(), LineError> {
    if count < MAX_ENTRIES {
        Ok(())
    } else {
        Err(LineError::TooMany)
    }
}

fn verifier_key(word: &[u8], key_type: KeyType) -> Result<VerifierKey, LineError> {
    let key: VerifierKey = std::str::from_utf8(word)
        .map_err(|_| LineError::Key(VerifierKeyError::Form))?
        .parse()
        .map_err(LineError::Key)?;
    if key.key_type == key_type {
        Ok(key)
    } else {
        Err(LineError::KeyType)
    }
}
