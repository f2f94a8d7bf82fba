//! `tally ledger checkpoint`, `evidence` and `consistency`: a checkpoint of a log, and two of them, compared (`docs/log.md`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_ledger::{Evidence, Genesis, Trust, verify_checkpoint};
use tally_log::{
    ExtendsError, Hash, MAX_NOTE_BYTES, Policy, Resource, SignedCheckpoint, TILE_WIDTH, TiledTree,
    VerifierKey,
};
use tally_node::{AskError, ClientError, RefusedCode};
use tally_receipt::Status;

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::{Network, Which};
use crate::trust::moment;
use crate::ui::{grouped, printable, say};

#[derive(ClapArgs)]
pub(crate) struct CheckpointOf {
    /// Write it to this file, to be kept and compared with later ones; else it is printed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct EvidenceOf {
    /// A checkpoint.
    one: PathBuf,
    /// Another one, of the same log and size.
    other: PathBuf,
    /// Whose signatures, as a C2SP verifier key; may be given several times. Else those of the validators of the network's genesis file: name the key of one who came later.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Where the files go, named by their digests.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    #[command(flatten)]
    which: Which,
}

#[derive(ClapArgs)]
pub(crate) struct Consistency {
    /// The older checkpoint.
    old: PathBuf,
    /// The newer one.
    new: PathBuf,
    /// The log's files, of the newer checkpoint or a later one; else those beside the newer checkpoint.
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// Check that enough of the validators of this genesis file have signed both.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Check that both are signed as this C2SP policy asks. May be given several times, and beside `--genesis`: each checkpoint must
    /// satisfy one of them, as validators may have been replaced in between.
    #[arg(long, value_name = "FILE")]
    log_policy: Vec<PathBuf>,
}

fn read(path: &Path) -> Result<SignedCheckpoint, Failure> {
    let reading = format!("read {}", path.display());
    let size = std::fs::metadata(path).or_misuse(&reading)?.len();
    if size > MAX_NOTE_BYTES as u64 {
        return Err(Failure::misuse(format_args!(
            "{} is larger than any checkpoint",
            path.display()
        )));
    }
    let bytes = std::fs::read(path).or_misuse(reading)?;
    SignedCheckpoint::parse(&bytes)
        .or_misuse(format_args!("use {} as a checkpoint", path.display()))
}

pub(crate) async fn checkpoint(args: &CheckpointOf, home: &Home, json: bool) -> Outcome {
    let network = args.which.get(home)?;
    let (endpoint, client) = network.client(home).await?;
    let asked = client.last_checkpoint().await;
    let ended = endpoint.close().await;
    let signed = asked.map_err(|error| match &error {
        ClientError::Nobody(AskError::Refused(refused)) if refused.code == RefusedCode::NotYet => {
            Failure::no(&error).advise("validators cosign the log once something is settled")
        }
        _ => ended.unwrap_or_else(|| Failure::environment(&error)),
    })?;
    let text = signed.to_string();
    if let Some(out) = &args.out {
        std::fs::write(out, &text).or_environment(format_args!("write {}", out.display()))?;
    }
    let tree = signed.checkpoint();
    if json {
        say!(
            "{}",
            serde_json::json!({
                "log": tree.origin.to_string(), "size": tree.size, "root": hex::encode(tree.root.as_bytes()),
                "checkpoint": text, "file": args.out, "own": network.own.is_some(),
            })
        );
        return Ok(());
    }
    match &args.out {
        Some(out) => say!(
            "{}: the log {} of {} receipts, signed by a quorum of those who validate now",
            out.display(),
            tree.origin,
            grouped(tree.size)
        ),
        None => say!("{}", text.trim_end()),
    }
    Ok(())
}

pub(crate) fn evidence(args: &EvidenceOf, home: &Home, json: bool) -> Outcome {
    let (one, other) = (read(&args.one)?, read(&args.other)?);
    let signers = if args.keys.is_empty() {
        args.which.existing(home)?.genesis.checkpoint_signers()
    } else {
        let keys = args.keys.iter().map(|text| {
            text.parse::<VerifierKey>()
                .or_misuse(format_args!("use {text:?} as a verifier key"))
        });
        keys.collect::<Result<_, _>>()?
    };
    let (here, there) = (one.checkpoint(), other.checkpoint());
    if here.origin != there.origin || here.size != there.size || here.root == there.root {
        let no = Failure::no(
            "these do not exclude each other: two checkpoints do that are of one log and one size with different roots",
        );
        return Err(match here.origin == there.origin {
            true if here.size != there.size => no
                .advise("`tally ledger consistency` says whether the larger one extends the other"),
            _ => no,
        });
    }
    let mut written = Vec::new();
    for signer in signers {
        let name = signer.name.to_string();
        let evidence = Evidence::checkpoints(signer, one.clone(), other.clone());
        if !evidence.is_signed() {
            continue;
        }
        let place = tally_node::write_evidence(&args.out, &evidence)
            .or_environment(format_args!("write to {}", args.out.display()))?;
        written.push((name, place, evidence));
    }
    if json {
        let files: Vec<_> = written
            .iter()
            .map(|(signer, place, _)| serde_json::json!({ "signer": signer, "evidence": place }))
            .collect();
        say!("{}", serde_json::json!({ "files": files }));
    } else {
        for (signer, place, evidence) in &written {
            say!("{}: {signer}: {}", place.display(), evidence.in_words());
        }
    }
    if written.is_empty() {
        if json {
            return Err(Failure::reported());
        }
        return Err(Failure::no("none of these keys has signed both"));
    }
    if !json {
        eprintln!("check it offline: tally verify FILE --genesis genesis.toml");
    }
    Ok(())
}

/// Whose signatures are to be on two checkpoints.
struct Signers {
    genesis: Option<Genesis>,
    policies: Vec<Policy>,
}

impl Signers {
    fn of(args: &Consistency) -> Result<Self, Failure> {
        let genesis = match &args.genesis {
            Some(file) => Some(Network::read(file)?.genesis),
            None => None,
        };
        let policies = args.log_policy.iter().map(|path| {
            let bytes = std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
            Policy::parse(&bytes)
                .or_misuse(format_args!("use {} as a log's policy", path.display()))
        });
        Ok(Self {
            genesis,
            policies: policies.collect::<Result<_, _>>()?,
        })
    }

    /// Whether anybody was named.
    fn are_named(&self) -> bool {
        self.genesis.is_some() || !self.policies.is_empty()
    }

    /// Refuses a checkpoint that not enough of those have signed who were named, if any were.
    fn judge(&self, path: &Path, checkpoint: &SignedCheckpoint) -> Outcome {
        let text = checkpoint.to_string();
        let now = moment(None)?;
        let by_genesis = self.genesis.as_ref().map(|genesis| (Some(genesis), None));
        let by_policies = self.policies.iter().map(|policy| (None, Some(policy)));
        let mut refused = None;
        for (genesis, policy) in by_genesis.into_iter().chain(by_policies) {
            let trust = Trust {
                now,
                genesis,
                policy,
            };
            let verdict = verify_checkpoint(text.as_bytes(), &trust);
            if verdict.is_verified() {
                return Ok(());
            }
            let failed = verdict
                .checks()
                .iter()
                .find(|check| check.status != Status::Pass);
            refused = failed.map(|check| check.sentence.to_string()).or(refused);
        }
        match refused {
            None => Ok(()),
            Some(sentence) => Err(Failure::no(format_args!(
                "{}: {}",
                path.display(),
                printable(&sentence)
            ))
            .advise(
                "after validators were replaced, name a policy of each time: tally ledger policy [--now]",
            )),
        }
    }
}

pub(crate) fn consistency(args: &Consistency, json: bool) -> Outcome {
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let signers = Signers::of(args)?;
    signers.judge(&args.old, &old)?;
    signers.judge(&args.new, &new)?;
    let (old, new) = (old.checkpoint(), new.checkpoint());
    let tiles = match &args.tiles {
        Some(tiles) => tiles.clone(),
        None => args
            .new
            .parent()
            .map_or_else(PathBuf::new, Path::to_path_buf),
    };
    let tree = TiledTree::new(new.size, |tile| read_tile(&tiles, tile));
    let extends = tally_log::extends(&tree, old, new).map_err(|error| match error {
        ExtendsError::OtherLog(_) => Failure::misuse(&error),
        ExtendsError::Larger { .. } => {
            Failure::misuse(&error).advise("name the older checkpoint first")
        }
        error => Failure::environment(&error).advise(
            "--tiles names a folder with the log's files: a node keeps them in its data directory under `log`, and `tally node --role follower --genesis FILE --data DIR` makes a copy that it has checked, in DIR/log",
        ),
    })?;
    if json {
        say!(
            "{}",
            serde_json::json!({
                "log": new.origin.to_string(), "old": old.size, "new": new.size, "extends": extends,
                "signatures_checked": signers.are_named(),
            })
        );
    } else if extends {
        say!(
            "{}: the log of {} receipts extends that of {}",
            new.origin,
            grouped(new.size),
            grouped(old.size)
        );
        match signers.are_named() {
            true => say!("enough of those who were named have signed both"),
            false => eprintln!(
                "whose signatures are on the checkpoints was not looked at: --genesis FILE or --log-policy FILE"
            ),
        }
    }
    match (extends, json) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::reported()),
        (false, false) => {
            let no = Failure::no(format_args!(
                "{}: the log of {} receipts does not extend that of {}: a receipt was altered, taken out or put in",
                new.origin,
                grouped(new.size),
                grouped(old.size)
            ));
            Err(match old.size == new.size {
                true => no.advise("`tally ledger evidence` makes evidence of these two"),
                false => no,
            })
        }
    }
}

/// A tile out of a folder. Where one of its width is not there, one of the same place that grew since begins with the same hashes.
fn read_tile(folder: &Path, wanted: Resource) -> Result<Vec<u8>, String> {
    let read = |resource: Resource| {
        let path = folder.join(resource.path());
        let failed = format!("{}: ", path.display());
        std::fs::read(path).map_err(|error| (error.kind(), failed + &error.to_string()))
    };
    let exact = read(wanted);
    let (
        Err((ErrorKind::NotFound, missing)),
        Resource::Tile {
            level,
            index,
            width,
        },
    ) = (&exact, wanted)
    else {
        return exact.map_err(|(_, sentence)| sentence);
    };
    for wider in width + 1..=TILE_WIDTH {
        match read(Resource::Tile {
            level,
            index,
            width: wider,
        }) {
            Ok(mut bytes) => {
                bytes.truncate(usize::from(width) * Hash::LENGTH);
                return Ok(bytes);
            }
            Err((ErrorKind::NotFound, _)) => {}
            Err((_, sentence)) => return Err(sentence),
        }
    }
    Err(missing.clone())
}
