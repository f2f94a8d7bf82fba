//! `tally verify`: what a receipt or a journal proves, offline, for a person and for a program.
//!
//! A file is a journal, a proof that a receipt is settled, evidence against a validator or a checkpoint of a log when it begins as
//! one, and a receipt when it is JSON. Everything is checked that can be checked from the file alone; what cannot is listed as not
//! established, and is never counted as a pass. Evidence is verified when the validator is at fault.
//!
//! A proof says of which receipt it is. Where receipts are at hand (`--receipt`, or beside it among the files) it must be of one of
//! them. What it shows to have existed by a time is judged as such: the receipt inside, the one named, or the one beside it. One
//! inside or named must not fail, and must be verified where somebody says whose receipts are believed.
//!
//! A journal is verified when the method `journal` says so and every receipt inside was judged, too, and is about the words
//! beside it: a run whose models nobody vouches for is no verified run. Executing the agent again is `tally replay`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_journal::{Journal, JournalError, code};
use tally_ledger::{Entry, Genesis, Proof};
use tally_log::{ProofFile, SignedCheckpoint};
use tally_receipt::{Check, Context, Digest, Openings, Status, Timestamp, Verdict, verify_bytes};

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{self, Network};
use crate::trust::{Source, Trust, moment};
use crate::ui::{printable, say};

/// Check receipts, journals, proofs of settlement, checkpoints and evidence against validators, offline.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    tally verify run.tally\n  \
    tally verify run.tally --component helper.wasm\n  \
    tally verify run.tally --policy trusted.json --now 2026-11-21T12:00:00.000Z\n  \
    tally verify receipts/inference-1.receipt.json --trust 3b6a… --open receipts/inference-1.openings.json\n  \
    tally verify run.proof --genesis genesis.toml\n  \
    tally verify run.proof --receipt receipts/run.receipt.json --genesis genesis.toml    it must be of this one\n  \
    tally verify receipts/run.receipt.json run.proof --policy trusted.json               the same, and the receipt is known since then\n  \
    tally verify v0/log/checkpoint --log-policy today.policy\n  \
    tally verify v2/data/evidence/3f2a….evidence --genesis genesis.toml\n\n\
    Exit code 0: every file is verified. 1: something failed, or what verification needs was not established.")]
pub(crate) struct Args {
    /// Receipts, journals, proofs, checkpoints and evidence. Where there are receipts among them, each proof must be of one.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// For proofs: the receipt that they must be of.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// For proofs, checkpoints and evidence: where the ledger began, whose validators are believed; else TALLY_NETWORK, else the one
    /// of `tally ledger use`.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// For proofs, checkpoints and evidence: whose signatures on a checkpoint count (a C2SP policy file).
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

/// Larger files are no journals that this machine wrote: a run's limits keep a journal far below.
const MAX_JOURNAL_BYTES: u64 = 4 << 30;
/// Of what else is checked here, proofs may be the largest.
const MAX_OTHER_BYTES: u64 = tally_ledger::MAX_PROOF_BYTES as u64;

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
    let looked = args
        .files
        .iter()
        .map(|path| Ok((path.as_path(), look(path, &context, &ledger)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let at_hand = match &args.receipt {
        Some(named) if looked.iter().any(|(_, file)| file.is_proof()) => {
            vec![named_receipt(named)?]
        }
        Some(_) => {
            return Err(Failure::misuse(
                "--receipt says which receipt a proof must be of, and none of these files is a proof",
            ));
        }
        None => looked
            .iter()
            .filter_map(|(_, file)| file.receipt().map(<[u8]>::to_vec))
            .collect(),
    };
    let proofs = Proofs {
        at_hand,
        is_named: args.receipt.is_some(),
        source,
    };
    // Of a receipt beside a proof of it, it is known since when it exists.
    let has_receipts = looked.iter().any(|(_, file)| file.receipt().is_some());
    let known: Vec<(Digest, Timestamp)> = looked
        .iter()
        .filter(|_| has_receipts)
        .filter_map(|(_, file)| proofs.known(file, &context, &ledger))
        .collect();
    let judged: Vec<(&Path, Judgement)> = looked
        .into_iter()
        .map(|(path, file)| {
            let judgement = match file {
                File::Judged(judgement) => judgement,
                File::Proof(bytes) => proofs.judge(&bytes, &context, &ledger),
                File::Receipt(bytes) => judge_receipt(&bytes, &known, &context),
            };
            (path, judgement)
        })
        .collect();
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

const BY_POLICY: &str = "believing the cosigners of the log's policy";
const NOBODY: &str = "believing nobody: name whom with --genesis FILE or --log-policy FILE";

impl Ledger {
    fn trust(&self, context: &Context<'_>) -> tally_ledger::Trust<'_> {
        tally_ledger::Trust {
            now: context.now,
            genesis: self.genesis.as_ref(),
            policy: self.policy.as_ref(),
        }
    }

    /// For a person. Checkpoints are judged by a policy where there is one.
    fn believed(&self, about_checkpoint: bool) -> String {
        match (&self.genesis, &self.policy) {
            (_, Some(_)) if about_checkpoint => BY_POLICY.into(),
            (Some(genesis), _) if genesis.validators.tolerated() == 0 => {
                "believing every validator of the genesis file, which tolerates nobody".into()
            }
            (Some(_), _) => "believing a quorum of the validators of the genesis file".into(),
            (None, Some(_)) => BY_POLICY.into(),
            (None, None) => NOBODY.into(),
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

/// What a file is. Proofs and receipts are judged once it is known which there are.
enum File {
    Judged(Judgement),
    Proof(Vec<u8>),
    Receipt(Vec<u8>),
}

impl File {
    fn is_proof(&self) -> bool {
        matches!(self, Self::Proof(_))
    }

    fn receipt(&self) -> Option<&[u8]> {
        match self {
            Self::Receipt(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// What one file turned out to be.
pub(crate) struct Judgement {
    kind: &'static str,
    verified: bool,
    /// What it is of, for a person.
    said: Vec<String>,
    /// And for a program.
    fields: serde_json::Map<String, serde_json::Value>,
    checks: Vec<Check>,
    /// Those of the receipt that a proof is of.
    receipt_checks: Vec<Check>,
    not_proved: Vec<String>,
    /// Whom it was judged by, if not by keys.
    source: Option<String>,
}

/// A file's bytes, unless there are more of them than any file has that begins like it and is checked here.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let reading = format!("read {}", path.display());
    let file = std::fs::File::open(path).or_misuse(&reading)?;
    let size = file.metadata().or_misuse(&reading)?.len();
    let mut bytes = Vec::new();
    (&file)
        .take(tally_journal::MAGIC.len() as u64)
        .read_to_end(&mut bytes)
        .or_misuse(&reading)?;
    let (most, what) = if resembles_journal(&bytes) {
        (MAX_JOURNAL_BYTES, "no journal")
    } else {
        (MAX_OTHER_BYTES, "nothing else that is checked")
    };
    if size <= most {
        // What is no file of a disk, such as a pipe, has no size; one byte more tells that it goes on.
        (&file)
            .take(most + 1 - bytes.len() as u64)
            .read_to_end(&mut bytes)
            .or_misuse(&reading)?;
    }
    if size > most || bytes.len() as u64 > most {
        return Err(Failure::misuse(format_args!(
            "{} has more than {most} bytes: {what} is that large",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The receipt that proofs must be of.
fn named_receipt(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path)?;
    if resembles_receipt(&bytes) {
        return Ok(bytes);
    }
    Err(Failure::misuse(format_args!(
        "{} is no receipt, which --receipt must name",
        path.display()
    )))
}

fn look(path: &Path, context: &Context<'_>, ledger: &Ledger) -> Result<File, Failure> {
    let bytes = read(path)?;
    if resembles_journal(&bytes) {
        return Ok(File::Judged(judge_journal(bytes, context)));
    }
    if Proof::resembles(&bytes) || ProofFile::resembles(&bytes) {
        return Ok(File::Proof(bytes));
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
        return Ok(File::Judged(judgement));
    }
    if resembles_receipt(&bytes) {
        return Ok(File::Receipt(bytes));
    }
    if resembles_checkpoint(&bytes) {
        return Ok(File::Judged(judge_checkpoint(&bytes, context, ledger)));
    }
    Err(Failure::misuse(format_args!(
        "{} is neither a receipt nor a journal nor a proof nor a checkpoint nor evidence",
        path.display()
    ))
    .advise(
        "a receipt is a DSSE envelope in JSON; a journal is what `tally run` writes, RUN.tally; a proof is what `tally ledger prove` writes; a checkpoint is what a node writes into `log` of its data directory, and evidence what it writes into `evidence`",
    ))
}

/// Which entry of a log a proof is about, whether it holds or not.
fn entry_of(proof: &[u8]) -> Option<Entry> {
    if ProofFile::resembles(proof) {
        let extra = ProofFile::parse(proof).ok()?.extra?;
        return Entry::from_bytes(&extra).ok();
    }
    Some(*Proof::from_bytes(proof).ok()?.entry())
}

/// What proofs are judged beside.
struct Proofs {
    /// Receipts, of one of which each proof must be if there are any.
    at_hand: Vec<Vec<u8>>,
    /// Whether that is the one that somebody named; else they are judged as files of their own.
    is_named: bool,
    /// Where the policy for receipts is from.
    source: Source,
}

impl Proofs {
    /// What a proof shows, and the receipt at hand that it is of.
    fn shown(
        &self,
        bytes: &[u8],
        trust: &tally_ledger::Trust<'_>,
    ) -> (tally_ledger::Shown, Option<&[u8]>) {
        let wanted = entry_of(bytes).map(|entry| entry.receipt);
        let mut all = self.at_hand.iter();
        let found = all.find(|one| Some(Digest::of(one)) == wanted);
        // Of none of them it is of another one than the first.
        let given = found.or(self.at_hand.first()).map(Vec::as_slice);
        let shown = tally_ledger::verify_proof(bytes, given, trust);
        (shown, found.map(Vec::as_slice))
    }

    /// Which receipt a file shows to have existed, and since when.
    fn known(
        &self,
        file: &File,
        context: &Context<'_>,
        ledger: &Ledger,
    ) -> Option<(Digest, Timestamp)> {
        let File::Proof(bytes) = file else {
            return None;
        };
        let (shown, _) = self.shown(bytes, &ledger.trust(context));
        Some((shown.entry?.receipt, shown.known_since?))
    }

    fn judge(&self, bytes: &[u8], context: &Context<'_>, ledger: &Ledger) -> Judgement {
        let (shown, found) = self.shown(bytes, &ledger.trust(context));
        let mut judgement = Judgement::new("proof of settlement", &shown.verdict);
        judgement.source = Some(ledger.believed(ProofFile::resembles(bytes)));
        let document = match self.at_hand.is_empty() {
            true => shown.receipt.as_deref(),
            false => found.filter(|_| self.is_named),
        };
        let context = Context {
            known_since: shown.known_since,
            ..*context
        };
        let verdict = document.map(|document| self.judge_document(document, &context));
        if let Some((verdict, holds)) = &verdict {
            judgement.verified &= holds;
            judgement.receipt_checks = verdict.checks().to_vec();
        }
        if let Some(entry) = &shown.entry {
            judgement.said.push(format!(
                "of the receipt {}, which is number {} that the node {} settled",
                entry.receipt, entry.sequence, entry.node
            ));
        }
        let entry = shown.entry;
        judgement.field("receipt", entry.map(|entry| entry.receipt.to_string()));
        judgement.field("node", entry.map(|entry| entry.node.to_string()));
        judgement.field("sequence", entry.map(|entry| entry.sequence.get()));
        judgement.field(
            "known_since",
            shown.known_since.map(|time| time.to_string()),
        );
        judgement.field("receipt_verdict", verdict.map(|(verdict, _)| verdict));
        judgement
    }

    /// Judges the receipt that a proof is of, and says whether that stands in the proof's way. Where nobody has said whose receipts
    /// are believed, the proof carries the answer, and the receipt may not fail.
    fn judge_document(&self, document: &[u8], context: &Context<'_>) -> (Verdict, bool) {
        let (_, verdict) = verify_bytes(document, context);
        if self.source.is_named() || verdict.is_verified() {
            let holds = verdict.is_verified();
            return (verdict, holds);
        }
        let by_nobody = Context {
            policy: None,
            ..*context
        };
        let (_, verdict) = verify_bytes(document, &by_nobody);
        let holds = !verdict.has_failed();
        (verdict, holds)
    }
}

/// Judges a receipt, which proofs beside it may show to have existed since a time.
fn judge_receipt(bytes: &[u8], known: &[(Digest, Timestamp)], context: &Context<'_>) -> Judgement {
    let digest = Digest::of(bytes);
    let same = known.iter().filter(|(receipt, _)| *receipt == digest);
    let known_since = same.map(|(_, since)| *since).min();
    let context = Context {
        known_since,
        ..*context
    };
    let (_, verdict) = verify_bytes(bytes, &context);
    let mut judgement = Judgement::new("receipt", &verdict);
    if let Some(since) = known_since {
        judgement.said.push(format!(
            "known to have existed at {since}, by the proof beside it"
        ));
    }
    judgement.field("known_since", known_since.map(|time| time.to_string()));
    judgement
}

fn judge_checkpoint(bytes: &[u8], context: &Context<'_>, ledger: &Ledger) -> Judgement {
    let verdict = tally_ledger::verify_checkpoint(bytes, &ledger.trust(context));
    let mut judgement = Judgement::new("checkpoint of a log", &verdict);
    judgement.source = Some(ledger.believed(true));
    let read = SignedCheckpoint::parse(bytes).ok();
    let tree = read.as_ref().map(SignedCheckpoint::checkpoint);
    judgement.field("log", tree.map(|tree| tree.origin.to_string()));
    judgement.field("size", tree.map(|tree| tree.size));
    judgement.field("root", tree.map(|tree| hex::encode(tree.root.as_bytes())));
    judgement
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

/// Whether bytes are a checkpoint, or begin as one of ours.
fn resembles_checkpoint(bytes: &[u8]) -> bool {
    bytes.starts_with(b"tally/") || SignedCheckpoint::parse(bytes).is_ok()
}

/// Judges a journal and everything inside.
pub(crate) fn judge_journal(bytes: Vec<u8>, context: &Context<'_>) -> Judgement {
    // Once, however large it is: one that was cut is read up to there, and is not whole.
    let (read, before) = match Journal::recover(bytes) {
        Ok((journal, None)) => (Ok(journal), None),
        Ok((whole, Some(torn))) => (Err(torn.reason), Some(whole.len())),
        Err(error) => (Err(error), None),
    };
    match read {
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
            Judgement::of(
                "journal",
                false,
                vec![Check::not_established(
                    code::CHAIN,
                    error.code(),
                    error.to_string(),
                )],
            )
        }
        Err(error) => Judgement::of(
            "journal",
            false,
            vec![Check::fail(
                code::CHAIN,
                error.code(),
                match before {
                    Some(len) => format!("{error}; the {len} entries before hold together"),
                    None => error.to_string(),
                },
            )],
        ),
    }
}

impl Judgement {
    fn new(kind: &'static str, verdict: &Verdict) -> Self {
        let not_proved = verdict.not_proved().iter();
        Self {
            not_proved: not_proved.map(ToString::to_string).collect(),
            ..Self::of(kind, verdict.is_verified(), verdict.checks().to_vec())
        }
    }

    fn of(kind: &'static str, verified: bool, checks: Vec<Check>) -> Self {
        Self {
            kind,
            verified,
            said: Vec::new(),
            fields: serde_json::Map::new(),
            checks,
            receipt_checks: Vec::new(),
            not_proved: Vec::new(),
            source: None,
        }
    }

    /// What a program is told beside the checks; null where it is not known.
    fn field(&mut self, name: &str, value: impl serde::Serialize) {
        self.fields
            .insert(name.to_owned(), serde_json::json!(value));
    }

    pub(crate) fn is_verified(&self) -> bool {
        self.verified
    }

    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }

    fn to_json(&self, path: &Path) -> serde_json::Value {
        let mut fields = self.fields.clone();
        let common = serde_json::json!({
            "file": path,
            "kind": self.kind,
            "verified": self.verified,
            "checks": self.checks,
            "not_proved": self.not_proved,
        });
        if let serde_json::Value::Object(common) = common {
            fields.extend(common);
        }
        fields.into()
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
        for sentence in &self.said {
            say!("  {sentence}");
        }
        self.print_checks("  ");
        say!(
            "  ({})",
            self.source.as_deref().unwrap_or_else(|| source.sentence())
        );
        if !self.receipt_checks.is_empty() {
            say!("  the receipt itself:");
            for check in &self.receipt_checks {
                say!("    {}", check_line(check));
            }
            match source.is_named() {
                true => say!("    ({})", source.sentence()),
                false => say!(
                    "    (nobody has said whose receipts are believed: --policy FILE or --trust KEY)"
                ),
            }
        }
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
