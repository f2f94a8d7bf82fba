//! `tally memory import`: what people have, out of other programs' exports and documents. `docs/import.md` says what is read.
//!
//! Reading a file again adds nothing, so an import that was interrupted is resumed by starting it again.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_import::{DateOrder, Format, Offset, Options, Report};
use tally_memory::secrets::Secrets;
use tally_memory::{Memory, RememberError, Remembered, Turn};
use tally_memory_service::{PIECE, in_pieces, turns_of};

use super::add::{described, learning, remembering, show};
use crate::failure::{Failure, OrFail, Outcome};
use crate::memories::{self, WhichMemory};
use crate::ui::{Progress, printable, say};

/// Take in exports of other programs and documents.
#[derive(ClapArgs)]
pub(crate) struct Import {
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What they are, where their content does not tell: chatgpt, claude, telegram, whatsapp, slack, discord, markdown, text,
    /// html, pdf or docx.
    #[arg(long, value_name = "NAME", value_parser = format)]
    format: Option<Format>,
    /// The name under which you speak, in chats that do not say who of them is you.
    #[arg(long, value_name = "NAME")]
    me: Option<String>,
    /// Minutes east of UTC, for dates that come without a zone.
    #[arg(
        long,
        value_name = "MINUTES",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    offset: i16,
    /// Which of two small numbers of a date is the day: the first, or the second as in the United States. Else it is inferred.
    #[arg(long, value_name = "ORDER", value_parser = ["day-first", "month-first"])]
    dates: Option<String>,
    /// Keep secrets that are found, in the encrypted episodes and nowhere else.
    #[arg(long)]
    keep_secrets: bool,
    /// Learn from it now. It can take long; `tally memory learn` does it later, and goes on where it stopped.
    #[arg(long)]
    learn: bool,
    /// The chat model to learn with; else the default one.
    #[arg(long, value_name = "MODEL", requires = "learn")]
    model: Option<String>,
    #[command(flatten)]
    which: WhichMemory,
}

fn format(text: &str) -> Result<Format, String> {
    Format::named(text).ok_or_else(|| {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
        format!("the formats are {}", names.join(", "))
    })
}

/// What became of one file.
struct Taken {
    report: Report,
    remembered: Remembered,
}

pub(crate) fn import(args: &Import, json: bool) -> Outcome {
    let offset = Offset::from_minutes(args.offset).ok_or_else(|| {
        Failure::misuse(format_args!(
            "no place on Earth is {} minutes east of UTC",
            args.offset
        ))
    })?;
    let secrets = if args.keep_secrets {
        Secrets::Keep
    } else {
        Secrets::Drop
    };
    let mut opened = args.which.write(tally_memory::Options {
        secrets,
        ..tally_memory::Options::default()
    })?;
    let mut all = Vec::new();
    for path in &args.files {
        let options = Options {
            name: path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned()),
            format: args.format,
            offset,
            date_order: args.dates.as_deref().map(|order| match order {
                "month-first" => DateOrder::MonthFirst,
                _ => DateOrder::DayFirst,
            }),
            me: args.me.clone(),
            ..Options::default()
        };
        all.push((path, one(&mut opened.memory, path, &options)?));
    }
    let learnt = if args.learn {
        let model = opened.chat(args.model.as_deref());
        let now = memories::now()?;
        Some(learning(&mut opened.memory, &model, now, usize::MAX)?)
    } else {
        None
    };
    if json {
        let files: Vec<serde_json::Value> =
            all.iter().map(|(path, taken)| file(path, taken)).collect();
        let mut answer = serde_json::json!({ "files": files });
        if let Some(learnt) = &learnt {
            answer["learnt"] = described(&opened.memory, learnt);
        }
        say!("{answer}");
        return Ok(());
    }
    for (path, taken) in &all {
        tell(path, taken);
    }
    match &learnt {
        Some(learnt) => show(&opened.memory, learnt),
        None => {
            let lines = opened.memory.counts().unlearnt_lines;
            if lines > 0 {
                eprintln!("{lines} lines can be learnt from: tally memory learn");
            }
        }
    }
    Ok(())
}

fn one(memory: &mut Memory, path: &Path, options: &Options) -> Result<Taken, Failure> {
    let bar = Progress::spinner(format!("reading {}", path.display()));
    let size = std::fs::metadata(path)
        .or_misuse(format_args!("read {}", path.display()))?
        .len();
    if size > options.limits.input_len as u64 {
        return Err(Failure::misuse(format_args!(
            "{} has {size} bytes, more than the {} that are read",
            path.display(),
            options.limits.input_len
        )));
    }
    let bytes = std::fs::read(path).or_misuse(format_args!("read {}", path.display()))?;
    let mut remembered = Remembered::default();
    let mut waiting: Vec<Turn> = Vec::new();
    let mut failed: Option<RememberError> = None;
    let report = crate::reading::read(&bytes, options, &mut |item| {
        waiting.extend(turns_of(item, None));
        if waiting.len() < PIECE {
            return ControlFlow::Continue(());
        }
        match keep(memory, &mut waiting, &mut remembered) {
            Ok(()) => {
                bar.says(format!(
                    "{}: {} remembered",
                    path.display(),
                    remembered.new.len()
                ));
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if failed.is_none()
        && let Err(error) = keep(memory, &mut waiting, &mut remembered)
    {
        failed = Some(error);
    }
    if let Some(error) = failed {
        return Err(remembering(error));
    }
    let report = report.map_err(|error| {
        Failure::misuse(format_args!(
            "{} cannot be imported: {error}",
            path.display()
        ))
    })?;
    Ok(Taken { report, remembered })
}

fn keep(
    memory: &mut Memory,
    waiting: &mut Vec<Turn>,
    total: &mut Remembered,
) -> Result<(), RememberError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let done = in_pieces(waiting, |piece| memory.remember(piece))?;
    waiting.clear();
    total.add(0, done);
    Ok(())
}

fn file(path: &Path, taken: &Taken) -> serde_json::Value {
    let left: Vec<serde_json::Value> = taken
        .report
        .left_out
        .iter()
        .map(|one| {
            serde_json::json!({ "reason": one.reason.code(), "count": one.count, "examples": one.examples })
        })
        .collect();
    serde_json::json!({
        "file": path,
        "format": taken.report.format.name(),
        "conversations": taken.report.conversations,
        "turns": taken.report.turns,
        "documents": taken.report.documents,
        "passages": taken.report.passages,
        "left_out": left,
        "assumptions": taken.report.assumptions,
        "fault": taken.report.fault,
        "new": taken.remembered.new.len(),
        "known": taken.remembered.known,
        "forgotten": taken.remembered.forgotten,
        "secrets": taken.remembered.secrets.len(),
        "embedded": taken.remembered.embedded,
    })
}

fn tell(path: &Path, taken: &Taken) {
    let report = &taken.report;
    eprintln!(
        "{} ({}): {} turns and {} passages read; {} new, {} known already",
        path.display(),
        report.format,
        report.turns,
        report.passages,
        taken.remembered.new.len(),
        taken.remembered.known
    );
    for one in &report.left_out {
        eprintln!("  left out: {} {}", one.count, one.reason);
    }
    for assumption in &report.assumptions {
        eprintln!("  assumed: {}", printable(assumption));
    }
    if !taken.remembered.secrets.is_empty() {
        eprintln!("  {} secrets were not kept", taken.remembered.secrets.len());
    }
    if let Some(fault) = &report.fault {
        eprintln!("  the file broke off: {}", printable(fault));
    }
}
