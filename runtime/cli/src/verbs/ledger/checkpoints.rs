//! `tally ledger evidence` and `consistency`: two checkpoints of a log, compared (`docs/log.md`).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_ledger::Evidence;
use tally_log::{
    ExtendsError, Hash, MAX_NOTE_BYTES, Resource, SignedCheckpoint, TILE_WIDTH, TiledTree,
    VerifierKey,
};

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::network::Which;
use crate::ui::{grouped, say};

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

pub(crate) fn consistency(args: &Consistency, json: bool) -> Outcome {
    let (old, new) = (read(&args.old)?, read(&args.new)?);
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
            "--tiles names a folder with the log's files, as a node keeps them in its data directory under `log`",
        ),
    })?;
    if json {
        say!(
            "{}",
            serde_json::json!({
                "log": new.origin.to_string(), "old": old.size, "new": new.size, "extends": extends,
            })
        );
    } else if extends {
        say!(
            "{}: the log of {} receipts extends that of {}",
            new.origin,
            grouped(new.size),
            grouped(old.size)
        );
        eprintln!("whose signatures are on the checkpoints was not looked at");
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
