//! `tally memory verify`: the whole way of a memory again, offline.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_memory::MemoryId;
use tally_memory::verify::{PrintedBio, Trust};
use tally_receipt::{Digest, Status, Verdict};

use super::look::find;
use crate::failure::{Failure, OrFail, Outcome};
use crate::memories::{self, WhichMemory};
use crate::trust;
use crate::ui::{printable, say};

/// Check memories again.
#[derive(ClapArgs)]
pub(crate) struct Verify {
    /// The memories: their ids, or the beginnings of them; else every fact.
    ids: Vec<String>,
    /// Instead, a bio and the call behind it: a file with what `tally memory profile --bio LENGTH --phrase --json` printed.
    #[arg(long, value_name = "FILE", conflicts_with = "ids")]
    bio: Option<PathBuf>,
    /// The weights that should have been used, BLAKE3 in hex.
    #[arg(long, value_name = "DIGEST")]
    weights: Option<String>,
    /// The moment the check is made for; else now.
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    #[command(flatten)]
    trust: trust::Trust,
    #[command(flatten)]
    which: WhichMemory,
}

pub(crate) fn run(args: &Verify, json: bool) -> Outcome {
    let (policy, source) = args.trust.policy()?;
    let now = match &args.now {
        Some(text) => memories::moment(text)?,
        None => memories::now()?,
    };
    let weights = match &args.weights {
        Some(text) => Some(
            text.parse::<Digest>()
                .or_misuse(format_args!("use {text:?} as a digest"))?,
        ),
        None => None,
    };
    let opened = args.which.read()?;
    let memory = &opened.memory;
    let ids: Vec<MemoryId> = if args.bio.is_some() {
        Vec::new()
    } else if args.ids.is_empty() {
        memory.facts()
    } else {
        args.ids
            .iter()
            .map(|name| find(memory, name))
            .collect::<Result<_, _>>()?
    };
    let trust = Trust {
        now,
        policy: policy.as_ref(),
        weights,
    };
    let mut verdicts: Vec<(String, Verdict)> = ids
        .into_iter()
        .map(|id| {
            let verdict = memory.verify(&id, &trust).map_err(Failure::misuse)?;
            Ok((id.to_string(), verdict))
        })
        .collect::<Result<_, Failure>>()?;
    if let Some(path) = &args.bio {
        let (id, printed) = printed_bio(path)?;
        verdicts.push((id, memory.verify_phrase(&printed, &trust)));
    }
    let verified = verdicts
        .iter()
        .filter(|(_, verdict)| verdict.is_verified())
        .count();
    let all = verified == verdicts.len();
    if json {
        let memories: Vec<serde_json::Value> = verdicts
            .iter()
            .map(|(id, verdict)| {
                let checks: Vec<serde_json::Value> = verdict
                    .checks()
                    .iter()
                    .map(|check| {
                        serde_json::json!({
                            "code": check.code,
                            "status": match check.status {
                                Status::Pass => "pass",
                                Status::Fail => "fail",
                                Status::NotEstablished => "not-established",
                            },
                            "reason": check.reason,
                            "sentence": check.sentence,
                        })
                    })
                    .collect();
                serde_json::json!({
                    "id": id, "verified": verdict.is_verified(), "failed": verdict.has_failed(),
                    "checks": checks, "not_proved": verdict.not_proved(),
                })
            })
            .collect();
        say!(
            "{}",
            serde_json::json!({ "verified": all, "memories": memories })
        );
    } else {
        for (id, verdict) in &verdicts {
            let word = match (verdict.is_verified(), verdict.has_failed()) {
                (true, _) => "verified",
                (_, true) => "NOT TRUE",
                _ => "not established",
            };
            say!("{}  {word}", &id[..12]);
            if verdicts.len() == 1 || !verdict.is_verified() {
                say!("{}", printable(&verdict.to_string()));
            }
        }
        eprintln!(
            "{verified} of {} verified, {}",
            verdicts.len(),
            source.sentence()
        );
    }
    if all {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

/// Most bytes of a file with a bio.
const BIO_MAX: u64 = 4 << 20;

/// A bio that was printed, with the id of the call behind it.
fn printed_bio(path: &Path) -> Result<(String, PrintedBio), Failure> {
    let open = std::fs::File::open(path).or_misuse(format_args!("open {}", path.display()))?;
    let printed: PrintedBio =
        serde_json::from_reader(open.take(BIO_MAX)).or_misuse(format_args!(
            "read {} as a bio that was printed with --phrase --json",
            path.display()
        ))?;
    let Some(call) = &printed.call else {
        return Err(Failure::misuse(format_args!(
            "{} names no call: no model was asked",
            path.display()
        ))
        .advise("tally memory profile --bio LENGTH --phrase --json prints one that does"));
    };
    Ok((call.id().to_string(), printed))
}
