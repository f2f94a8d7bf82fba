//! `tally vault export` and `import`: one portable file, a file for the stock `age` tool, another folder.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_vault::format::portable::PortableError;
use tally_vault::{
    AgeError, AgeKey, Environment, ExportError, ImportError, OpenError, Taken, Vault, unpack,
};

use crate::failure::{Failure, OrFail, Outcome};
use crate::ui::{Progress, grouped};
use crate::vaults::{Which, opening, reading, writing};

/// Write the vault to one file.
#[derive(ClapArgs)]
pub(crate) struct Export {
    /// The file; never written over.
    file: PathBuf,
    /// Write the records in a standard age file for this recipient (`age1…`) instead: nothing of Tally is needed to read it.
    #[arg(long, value_name = "RECIPIENT")]
    age: Vec<String>,
    #[command(flatten)]
    which: Which,
}

/// Take what another copy has.
#[derive(ClapArgs)]
pub(crate) struct Import {
    /// An exported file, or the folder of another copy.
    from: PathBuf,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn export(args: &Export, json: bool) -> Outcome {
    if args.file.exists() {
        return Err(
            Failure::misuse(format_args!("{} is there already", args.file.display()))
                .advise("name a new file"),
        );
    }
    let mut vault = args.which.read()?;
    // Beside its place, so that half of an export never carries the name of a whole one.
    let draft = args.file.with_extension("part");
    let file = File::create(&draft).or_environment(format_args!("make {}", draft.display()))?;
    let bar = Progress::spinner("writing");
    let mut output = BufWriter::new(file);
    let written = write(&mut vault, &args.age, &mut output);
    let finished = written.and_then(|done| {
        output
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| tally_durable::rename(&draft, &args.file))
            .or_environment(format_args!("write {}", args.file.display()))?;
        Ok(done)
    });
    drop(bar);
    let done = finished.inspect_err(|_| {
        // The draft is worth nothing without its end.
        let _ = std::fs::remove_file(&draft);
    })?;
    if json {
        super::answer(
            &vault,
            serde_json::json!({ "file": args.file, "written": done }),
        );
    } else {
        eprintln!("{} written", args.file.display());
        for (name, count) in done.as_object().into_iter().flatten() {
            if let Some(count) = count.as_u64() {
                eprintln!("  {name:<14} {}", grouped(count));
            }
        }
    }
    Ok(())
}

fn write(
    vault: &mut Vault,
    recipients: &[String],
    output: &mut impl Write,
) -> Result<serde_json::Value, Failure> {
    if !recipients.is_empty() {
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let records = vault
            .export_age(&AgeKey::Recipients(&recipients), None, output)
            .map_err(|error| match error {
                AgeError::Recipient { .. } | AgeError::Nobody => Failure::misuse(&error),
                AgeError::Read(error) => reading(error),
                _ => Failure::environment(&error),
            })?;
        return Ok(serde_json::json!({ "records": records }));
    }
    let done = vault
        .export(output)
        .map_err(|error: ExportError| Failure::environment(&error))?;
    Ok(
        serde_json::json!({ "frames": done.frames, "blobs": done.blobs, "blobs_missing": done.blobs_missing, "bytes": done.bytes }),
    )
}

pub(crate) fn import(args: &Import, json: bool) -> Outcome {
    let place = args.which.place()?;
    if !args.from.exists() {
        return Err(Failure::misuse(format_args!(
            "{} is not there",
            args.from.display()
        )));
    }
    if args.from.is_file() && !place.folder.join("VAULT").exists() {
        let file =
            File::open(&args.from).or_misuse(format_args!("open {}", args.from.display()))?;
        let bar = Progress::spinner("unpacking");
        let id = unpack(
            Environment::of_this_computer(),
            &place,
            &mut BufReader::new(file),
        )
        .map_err(|error| taking(error, &args.from))?;
        drop(bar);
        if json {
            crate::ui::say!(
                "{}",
                serde_json::json!({ "vault": id.to_string(), "folder": place.folder, "new": true })
            );
        } else {
            eprintln!("vault {id} unpacked into {}", place.folder.display());
        }
        return Ok(());
    }
    let mut vault = args.which.write()?;
    let bar = Progress::spinner("taking what is new");
    let taken = if args.from.is_dir() {
        let from = std::path::absolute(&args.from)
            .or_misuse(format_args!("use {}", args.from.display()))?;
        vault.merge_folder(&from)
    } else {
        let file =
            File::open(&args.from).or_misuse(format_args!("open {}", args.from.display()))?;
        vault.import(&mut BufReader::new(file))
    }
    .map_err(|error| taking(error, &args.from))?;
    drop(bar);
    report(&vault, &taken, json);
    Ok(())
}

fn report(vault: &Vault, taken: &Taken, json: bool) {
    if json {
        super::answer(
            vault,
            serde_json::json!({ "frames": taken.frames, "frame_bytes": taken.frame_bytes, "keyrings": taken.keyrings,
            "slots": taken.slots, "blobs": taken.blobs, "refused": taken.refused }),
        );
        return;
    }
    if *taken == Taken::default() {
        eprintln!("nothing there that is not here");
    } else {
        eprintln!(
            "taken: {} frames ({} bytes), {} keyrings, {} slots, {} large contents",
            grouped(taken.frames),
            grouped(taken.frame_bytes),
            taken.keyrings,
            taken.slots,
            taken.blobs
        );
    }
    if taken.refused > 0 {
        eprintln!(
            "tally: {} frames are not genuine, or of an author that nobody admitted; they were left",
            taken.refused
        );
    }
}

fn taking(error: ImportError, from: &Path) -> Failure {
    match error {
        ImportError::Write(error) => writing(error),
        ImportError::Open(OpenError::NotAVault { .. }) => Failure::misuse(&error)
            .advise("name a vault's folder, or a file that tally vault export wrote"),
        ImportError::Open(error) => opening(error, from),
        ImportError::Portable(PortableError::Magic | PortableError::Version(_)) => {
            Failure::misuse(format_args!("{}: {error}", from.display()))
                .advise("name a file that tally vault export wrote, or another copy's folder")
        }
        ImportError::Input(_) => Failure::environment(&error),
        ImportError::OtherVault { .. } => Failure::misuse(&error),
        _ => Failure::no(&error),
    }
}
