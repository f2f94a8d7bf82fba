//! `tally verify`: what a receipt or a journal proves, offline, for a person and for a program.
//!
//! A file is a journal, a proof that a receipt is settled, or evidence against a validator when it begins as one, and a receipt
//! when it is JSON. Everything is checked that can be checked from the file alone; what cannot is listed as not established,
//! and is never counted as a pass. Evidence is verified when the validator is at fault.
//!
//! A journal is verified when the method `journal` says so and every receipt inside was judged, too, and is about the words
//! beside it: a run whose models nobody vouches for is no verified run. Executing the agent again is `tally replay`.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_journal::{Journal, JournalError, code};
use tally_ledger::Genesis;
use tally_receipt::{Check, Context, Digest, Openings, Status, Verdict, verify_bytes};

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{self, Network};
use crate::trust::{Source, Trust, moment};
use crate::ui::{printable, say};

/// Check receipts, journals, proofs of settlement and evidence against validators, offline.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    tally verify run.tally\n  \
    tally verify run.tally --component helper.wasm\n  \
    tally verify run.tally --policy trusted.json --now 2026-11-21T12:00:00.000Z\n  \
    tally verify answer.receipt.json --trust 3b6a… --open answer.openings.json\n  \
    tally verify answer.proof --genesis genesis.toml\n  \
    tally verify v2/data/evidence/3f2a….evidence --genesis genesis.toml\n\n\
    Exit code 0: every file is verified. 1: something failed, or what verification needs was not established.")]
pub(crate) struct Args {
    /// Receipts, journals, proofs and evidence.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// For proofs and evidence: where the ledger began, whose validators are believed; else TALLY_NETWORK, else the one of
    /// `tally ledger use`.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// For proofs and evidence: whose signatures on a checkpoint count (a C2SP policy file).
    #[arg(long, value_name = "FILE")]
    log_policy: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
    /// The moment to judge at, for example 2026-11-21T12:00:00.000Z; else now.
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// The component that should have been run: its file, or its BLAKE3 in hex.
    #[arg(long, value_name = "FILE|DIGEST")]
    component: Option<String>,
    /// Openings of committed fields, as the holder of a receipt gives them away.
    #[arg(long, value_name = "SALTS")]
    open: Option<PathBuf>,
}

/// Larger files are no receipts and no journals that this machine wrote: a run's limits keep a journal far below.
const MAX_FILE_BYTES: u64 = 4 << 30;

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    let now = moment(args.now.as_deref())?;
    let (policy, source) = args.trust.policy()?;
    let openings = match &args.open {
        None => None,
        Some(path) => {
            let bytes = std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
            Some(
                Openings::parse(&bytes)
                    .or_misuse(format_args!("use {} as openings", path.display()))?,
            )
        }
    };
    let context = Context {
        policy: policy.as_ref(),
        openings: openings.as_ref(),
        expected_component: args.component.as_deref().map(component).transpose()?,
        ..Context::at(now)
    };
    let ledger = Ledger::of(args)?;
    let judged = args
        .files
        .iter()
        .map(|path| Ok((path.as_path(), judge(path, &context, &ledger)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let verified = judged.iter().all(|(_, judgement)| judgement.is_verified());
    if json {
        let files: Vec<_> = judged
            .iter()
            .map(|(path, judgement)| judgement.to_json(path))
            .collect();
        say!(
            "{}",
            serde_json::json!({ "verified": verified, "now": now.to_string(), "files": files })
        );
    } else {
        for (path, judgement) in &judged {
            judgement.print(path, source);
        }
    }
    if verified {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

/// A component named by its file or by its digest.
fn component(text: &str) -> Result<Digest, Failure> {
    if let Ok(digest) = text.parse::<Digest>() {
        return Ok(digest);
    }
    let bytes = std::fs::read(text)
        .or_misuse(format_args!("read {text}"))
        .map_err(|failure| {
            failure.advise("--component takes a component's file or its BLAKE3, 64 hex digits")
        })?;
    Ok(Digest::of(&bytes))
}

/// Whom to believe about what is settled.
struct Ledger {
    genesis: Option<Genesis>,
    policy: Option<tally_log::Policy>,
}

const NOBODY: &str = "believing nobody: name whom with --genesis FILE or --log-policy FILE";

impl Ledger {
    fn trust(&self, context: &Context<'_>) -> tally_ledger::Trust<'_> {
        tally_ledger::Trust {
            now: context.now,
            genesis: self.genesis.as_ref(),
            policy: self.policy.as_ref(),
        }
    }

    fn of(args: &Args) -> Result<Self, Failure> {
        let which = network::Which {
            network: args.genesis.clone(),
            ..network::Which::default()
        };
        // Checking what others did leaves no trace: without a data directory there is no network of its own.
        let genesis = match Home::existing()? {
            Some(home) => which.find(&home)?.map(|network| network.genesis),
            None => match &args.genesis {
                Some(file) => Some(Network::read(file)?.genesis),
                None => None,
            },
        };
        let policy = match &args.log_policy {
            None => None,
            Some(path) => {
                let bytes =
                    std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
                Some(
                    tally_log::Policy::parse(&bytes)
                        .or_misuse(format_args!("use {} as a log's policy", path.display()))?,
                )
            }
        };
        Ok(Self { genesis, policy })
    }
}

/// What one file turned out to be.
pub(crate) struct Judgement {
    kind: &'static str,
    verified: bool,
    checks: Vec<Check>,
    not_proved: Vec<String>,
    /// Whom it was judged by, if not by keys.
    source: Option<String>,
}

fn judge(path: &Path, context: &Context<'_>, ledger: &Ledger) -> Result<Judgement, Failure> {
    let size = std::fs::metadata(path)
        .or_misuse(format_args!("read {}", path.display()))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(Failure::misuse(format_args!(
            "{} has {size} bytes: no journal or receipt is that large",
            path.display()
        )));
    }
    let bytes = std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
    if resembles_journal(&bytes) {
        return Ok(judge_journal(bytes, context));
    }
    if tally_ledger::Proof::resembles(&bytes) || tally_log::ProofFile::resembles(&bytes) {
        let shown = tally_ledger::verify_proof(&bytes, None, &ledger.trust(context));
        let mut judgement = Judgement::new("proof of settlement", &shown.verdict);
        judgement.source = Some(match (&ledger.genesis, &ledger.policy) {
            (Some(genesis), _) if genesis.validators.tolerated() == 0 => {
                "believing every validator of the genesis file, which tolerates nobody".into()
            }
            (Some(_), _) => "believing a quorum of the validators of the genesis file".into(),
            (None, Some(_)) => "believing the cosigners of the log's policy".into(),
            (None, None) => NOBODY.into(),
        });
        return Ok(judgement);
    }
    if tally_ledger::Evidence::resembles(&bytes) {
        let verdict = tally_ledger::verify_evidence(&bytes, &ledger.trust(context));
        let mut judgement = Judgement::new("file of evidence against a validator", &verdict);
        judgement.source = Some(match (&ledger.genesis, &ledger.policy) {
            (Some(genesis), _) => format!(
                "by the validators of the genesis of {}, chain {}",
                genesis.name,
                genesis.chain()
            ),
            (None, Some(_)) => "by the keys of the log's policy".into(),
            (None, None) => NOBODY.into(),
        });
        return Ok(judgement);
    }
    if resembles_receipt(&bytes) {
        let (_, verdict) = verify_bytes(&bytes, context);
        return Ok(Judgement::new("receipt", &verdict));
    }
    Err(Failure::misuse(format_args!(
        "{} is neither a receipt nor a journal nor a proof nor evidence",
        path.display()
    ))
    .advise(
        "a receipt is a DSSE envelope in JSON; a journal is what `tally run` writes, RUN.tally; a proof is what `tally ledger prove` writes; evidence is what a node writes into its data directory",
    ))
}

/// Whether bytes begin as a journal, or did before a few of them were altered: an altered byte must be caught as
/// tampering, wherever it is, and not be taken for another kind of file.
pub(crate) fn resembles_journal(bytes: &[u8]) -> bool {
    let same = bytes
        .iter()
        .zip(tally_journal::MAGIC)
        .filter(|(found, wanted)| **found == *wanted)
        .count();
    same * 2 > tally_journal::MAGIC.len()
}

/// Whether bytes begin as every receipt does, but for a few.
fn resembles_receipt(bytes: &[u8]) -> bool {
    let begin = br#"{"payload":""#;
    let other = br#"{"payloadType":""#;
    [&begin[..], other].into_iter().any(|begin| {
        bytes
            .iter()
            .zip(begin)
            .filter(|(found, wanted)| *found == *wanted)
            .count()
            * 4
            > begin.len() * 3
    })
}

/// Judges a journal and everything inside.
pub(crate) fn judge_journal(bytes: Vec<u8>, context: &Context<'_>) -> Judgement {
    match Journal::parse(bytes.clone()) {
        Ok(journal) => {
            let mut judgement = Judgement::new("journal", &journal.verify(context));
            judgement.verified &= judgement.checks.iter().all(|check| {
                check.status == Status::Pass
                    || ![code::RECEIPT, code::WORDS]
                        .iter()
                        .any(|code| check.code.starts_with(code))
            });
            judgement
        }
        // Of another version of this program, which says nothing against it and nothing for it.
        Err(error @ (JournalError::NewerFormat { .. } | JournalError::OlderFormat { .. })) => {
            Judgement {
                kind: "journal",
                verified: false,
                checks: vec![Check::not_established(
                    code::CHAIN,
                    error.code(),
                    error.to_string(),
                )],
                not_proved: Vec::new(),
                source: None,
            }
        }
        Err(error) => Judgement {
            kind: "journal",
            verified: false,
            checks: vec![Check::fail(
                code::CHAIN,
                error.code(),
                match Journal::recover(bytes) {
                    Ok((whole, Some(_))) => {
                        format!("{error}; the {} entries before hold together", whole.len())
                    }
                    _ => error.to_string(),
                },
            )],
            not_proved: Vec::new(),
            source: None,
        },
    }
}

impl Judgement {
    fn new(kind: &'static str, verdict: &Verdict) -> Self {
        Self {
            kind,
            verified: verdict.is_verified(),
            checks: verdict.checks().to_vec(),
            not_proved: verdict
                .not_proved()
                .iter()
                .map(ToString::to_string)
                .collect(),
            source: None,
        }
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.verified
    }

    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }

    fn to_json(&self, path: &Path) -> serde_json::Value {
        serde_json::json!({
            "file": path,
            "kind": self.kind,
            "verified": self.verified,
            "checks": self.checks,
            "not_proved": self.not_proved,
        })
    }

    fn print(&self, path: &Path, source: Source) {
        say!(
            "{}: a {}, {}",
            path.display(),
            self.kind,
            if self.verified {
                "verified"
            } else {
                "NOT verified"
            }
        );
        self.print_checks("  ");
        say!(
            "  ({})",
            self.source.as_deref().unwrap_or_else(|| source.sentence())
        );
        if !self.not_proved.is_empty() {
            say!("  not proved by this:");
        }
        for sentence in &self.not_proved {
            say!("    - {sentence}");
        }
    }

    pub(crate) fn print_checks(&self, indent: &str) {
        for check in &self.checks {
            say!("{indent}{}", check_line(check));
        }
    }
}

/// A check, for a person.
pub(crate) fn check_line(check: &Check) -> String {
    let mark = match check.status {
        Status::Pass => "pass",
        Status::Fail => "FAIL",
        Status::NotEstablished => " ?  ",
    };
    format!("{mark}  {:<20}  {}", check.code, printable(&check.sentence))
}
