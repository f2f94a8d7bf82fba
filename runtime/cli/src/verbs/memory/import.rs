//! `tally memory import`: what people have, out of other programs' exports and documents. `docs/import.md` says what is read.
//!
//! Reading a file again adds nothing, so an import that was interrupted is resumed by starting it again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_import::{DateOrder, Format, Offset, Options, Report};
use tally_memory::secrets::{Identifiers, SecretKind, Secrets, mask, mask_name};
use tally_memory::{EpisodeId, Memory, RememberError, Remembered, Turn};
use tally_memory_service::{PIECE, in_pieces, turns_of};

use super::add::{
    described, dry_described, dry_shown, embedding, learning, remembering, show, would_learn,
};
use crate::failure::{Failure, OrFail, Outcome};
use crate::memories::{self, Keeping, WhichMemory};
use crate::ui::{Progress, grouped, printable, say};

/// Secrets of a file that are shown by where they stood, and characters that are shown of what was not taken.
const SECRETS_SHOWN: usize = 5;
const SHOWN: usize = 80;
/// Bytes at the end of a text that was cut of which it is not known what they are of: more than a card or a key has.
const UNSURE: usize = 64;

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
    #[command(flatten)]
    keeping: Keeping,
    /// Learn from it now. It can take long; `tally memory learn` does it later, and goes on where it stopped.
    #[arg(long)]
    learn: bool,
    /// Say what would be taken, and with --learn what would be learnt from it, and keep nothing.
    #[arg(long)]
    dry_run: bool,
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
    came: Came,
}

/// What came of its turns.
#[derive(Default)]
struct Came {
    remembered: Remembered,
    /// The first secrets that were not kept.
    secrets: Vec<Secret>,
}

/// A secret that was not kept: what it was, where it stood, and the words around it as they are kept.
struct Secret {
    kind: SecretKind,
    place: String,
    words: String,
}

/// What a dry run goes by, since it keeps nothing.
#[derive(Default)]
struct Dry {
    /// What would have been kept by now.
    seen: BTreeSet<EpisodeId>,
    /// The turns that are new, where it is asked what would be learnt from them.
    turns: Option<Vec<Turn>>,
}

impl Dry {
    fn would(&mut self, memory: &Memory, turns: &[Turn]) -> Result<Remembered, RememberError> {
        let mut all = in_pieces(turns, |piece| Ok(memory.remember_dry(piece)?))?;
        let new = all.new.len();
        all.new.retain(|id| self.seen.insert(*id));
        all.known += new - all.new.len();
        if let Some(kept) = &mut self.turns {
            // A turn that is equal to an earlier one would be told apart from that, and asked about once more.
            let new: BTreeSet<EpisodeId> = all.new.iter().copied().collect();
            for turn in turns {
                let its = memory.remember_dry(std::slice::from_ref(turn))?.new;
                if its.iter().any(|id| new.contains(id)) {
                    kept.push(turn.clone());
                }
            }
        }
        Ok(all)
    }
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
    let keeping = tally_memory::Options {
        secrets,
        identifiers: args.keeping.identifiers(),
        ..tally_memory::Options::default()
    };
    let mut opened = if args.dry_run {
        args.which.read_with(keeping)?
    } else {
        args.which.write(keeping)?
    };
    let mut dry = args.dry_run.then(|| Dry {
        turns: args.learn.then(Vec::new),
        ..Dry::default()
    });
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
        let taken = one(&mut opened.memory, path, &options, dry.as_mut())?;
        all.push((path, taken));
    }
    let would = match dry.and_then(|dry| dry.turns) {
        Some(turns) => Some(would_learn(&opened, args.model.as_deref(), &turns)?),
        None => None,
    };
    let learnt = if args.learn && !args.dry_run {
        let model = opened.chat(args.model.as_deref());
        let now = memories::now()?;
        Some(learning(&mut opened.memory, &model, now, usize::MAX)?)
    } else {
        None
    };
    if json {
        let files: Vec<serde_json::Value> =
            all.iter().map(|(path, taken)| file(path, taken)).collect();
        let mut answer = serde_json::json!({ "files": files, "dry_run": args.dry_run });
        if let Some(learnt) = &learnt {
            answer["learnt"] = described(&opened.memory, learnt);
        }
        if let Some(would) = &would {
            answer["would_learn"] = dry_described(would);
        }
        say!("{answer}");
        return Ok(());
    }
    for (path, taken) in &all {
        tell(path, taken);
    }
    if args.dry_run {
        if let Some(would) = &would {
            dry_shown(would);
        }
        eprintln!("nothing was kept: this was a dry run");
        return Ok(());
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

fn one(
    memory: &mut Memory,
    path: &Path,
    options: &Options,
    mut dry: Option<&mut Dry>,
) -> Result<Taken, Failure> {
    let file = path.display().to_string();
    let bar = Progress::spinner(format!("reading {file}"));
    let size = std::fs::metadata(path)
        .or_misuse(format_args!("read {file}"))?
        .len();
    if size > options.limits.input_len as u64 {
        return Err(Failure::misuse(format_args!(
            "{file} has {size} bytes, more than the {} that are read",
            options.limits.input_len
        )));
    }
    let bytes = std::fs::read(path).or_misuse(format_args!("read {file}"))?;
    let mut came = Came::default();
    let mut waiting: Vec<Turn> = Vec::new();
    let mut failed: Option<RememberError> = None;
    let report = crate::reading::read(&bytes, options, &mut |item| {
        waiting.extend(turns_of(item, None));
        if waiting.len() < PIECE {
            return ControlFlow::Continue(());
        }
        match keep(memory, &mut waiting, dry.as_deref_mut(), &mut came, &bar) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if failed.is_none()
        && let Err(error) = keep(memory, &mut waiting, dry, &mut came, &bar)
    {
        failed = Some(error);
    }
    if let Some(error) = failed {
        return Err(remembering(error));
    }
    let report = report
        .map_err(|error| Failure::misuse(format_args!("{file} cannot be imported: {error}")))?;
    Ok(Taken { report, came })
}

/// Has what is waiting remembered, and says on the bar how far it is.
fn keep(
    memory: &mut Memory,
    waiting: &mut Vec<Turn>,
    dry: Option<&mut Dry>,
    came: &mut Came,
    bar: &Progress,
) -> Result<(), RememberError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let before = came.remembered.new.len() + came.remembered.known;
    let mut done = 0;
    let all = match dry {
        Some(dry) => dry.would(memory, waiting)?,
        None => in_pieces(waiting, |piece| {
            let before = format!("{} turns read; ", grouped((before + done) as u64));
            bar.says(format!("{before}remembering {} more", piece.len()));
            done += piece.len();
            memory.remember_telling(piece, embedding(bar, &before))
        })?,
    };
    for (at, kind) in &all.secrets {
        if came.secrets.len() < SECRETS_SHOWN {
            came.secrets.push(secret(&waiting[*at], *kind));
        }
    }
    waiting.clear();
    came.remembered.add(0, all);
    bar.says(format!(
        "{} turns read",
        grouped((came.remembered.new.len() + came.remembered.known) as u64)
    ));
    Ok(())
}

/// A secret of a turn as it can be shown: by the words that are kept.
fn secret(turn: &Turn, kind: SecretKind) -> Secret {
    // Whatever else is kept is not for the screen.
    let (stored, _) = Secrets::Drop.drop_from(Identifiers::Drop, &turn.text);
    let mark = format!("[{} not kept]", kind.as_str());
    let at = stored.find(&mark).unwrap_or_default();
    // The words before it say what it was of.
    let start = stored[..at]
        .char_indices()
        .rev()
        .nth(SHOWN / 2)
        .map_or(0, |(start, _)| start);
    let key = turn.key.as_deref().unwrap_or_default();
    Secret {
        kind,
        place: format!("{}, {}", mask_name(&turn.thread), mask_name(key)),
        words: short(&stored[start..]),
    }
}

/// How something that was left begins, for whoever looks at the screen: without secrets, which are taken out before it is made shorter.
/// Where it was cut already, its last bytes are not shown: nobody tells that the beginning of a secret is one.
fn beginning(text: &str, is_cut: bool) -> String {
    let mut masked = mask(text);
    if is_cut {
        let mut end = masked.len().saturating_sub(UNSURE);
        while !masked.is_char_boundary(end) {
            end -= 1;
        }
        masked.truncate(end);
    }
    let shown = short(&masked);
    if is_cut && !shown.ends_with('…') {
        return format!("{shown}…");
    }
    shown
}

/// On one line, and cut.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn file(path: &Path, taken: &Taken) -> serde_json::Value {
    let left: Vec<serde_json::Value> = taken
        .report
        .left_out
        .iter()
        .map(|one| {
            let examples: Vec<serde_json::Value> = one
                .examples
                .iter()
                .map(|example| {
                    serde_json::json!({
                        "place": mask_name(&example.place),
                        "begins": example.begins.as_deref().map(|text| beginning(text, example.is_cut)),
                    })
                })
                .collect();
            serde_json::json!({ "reason": one.reason.code(), "count": one.count, "examples": examples })
        })
        .collect();
    let secrets: Vec<serde_json::Value> = taken
        .came
        .secrets
        .iter()
        .map(|one| {
            serde_json::json!({ "kind": one.kind.as_str(), "place": one.place, "words": one.words })
        })
        .collect();
    let remembered = &taken.came.remembered;
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
        "new": remembered.new.len(),
        "known": remembered.known,
        "forgotten": remembered.forgotten,
        "empty": remembered.empty,
        "secrets": remembered.secrets.len(),
        "secret_examples": secrets,
        "embedded": remembered.embedded,
    })
}

fn tell(path: &Path, taken: &Taken) {
    let (report, remembered) = (&taken.report, &taken.came.remembered);
    eprintln!(
        "{} ({}): {} turns and {} passages read; {} new, {} known already",
        path.display(),
        report.format,
        report.turns,
        report.passages,
        remembered.new.len(),
        remembered.known
    );
    for one in &report.left_out {
        eprintln!("  left out: {} {}", one.count, one.reason);
        for example in &one.examples {
            let place = printable(&mask_name(&example.place));
            match &example.begins {
                Some(text) => eprintln!(
                    "    {place}: {}",
                    printable(&beginning(text, example.is_cut))
                ),
                None => eprintln!("    {place}"),
            }
        }
    }
    for assumption in &report.assumptions {
        eprintln!("  assumed: {}", printable(assumption));
    }
    if remembered.forgotten > 0 {
        eprintln!(
            "  {} were forgotten before, and stay so",
            remembered.forgotten
        );
    }
    if !remembered.secrets.is_empty() {
        eprintln!("  {} secrets were not kept", remembered.secrets.len());
        for one in &taken.came.secrets {
            eprintln!("    {}: {}", printable(&one.place), printable(&one.words));
        }
    }
    if let Some(fault) = &report.fault {
        eprintln!("  the file broke off: {}", printable(fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_what_was_left_has_no_secret_even_where_it_is_cut() {
        let card = "4111 1111 1111 1111";
        for before in 0..=SHOWN {
            let text = format!("{}\n{card} is my card", "x".repeat(before));
            let shown = beginning(&text, false);
            assert!(!shown.contains("4111") && !shown.contains('\n'), "{shown}");
            assert!(shown.chars().count() <= SHOWN + 1, "{shown}");
        }
        // Of what was cut the end may be the beginning of one.
        let cut = format!("hi{}4111 1111 1111", " ".repeat(1_008));
        assert_eq!(beginning(&cut, true), "hi…");
    }

    #[test]
    fn a_secret_is_shown_by_the_words_around_it_as_they_are_kept() {
        let turn = Turn {
            app: "whatsapp".to_owned(),
            thread: "Ben".to_owned(),
            key: Some("2023-12-31T21:41:00#1".to_owned()),
            role: tally_memory::Role::Person,
            speaker: "Ben".to_owned(),
            at: None,
            text: format!(
                "{}My card is 4111 1111 1111 1111, and the password is hunter2",
                "é".repeat(100)
            ),
        };
        for (kind, words) in [
            (SecretKind::Card, "My card is [card number not kept]"),
            (SecretKind::Password, "password is [password not kept]"),
        ] {
            let shown = secret(&turn, kind);
            assert_eq!(shown.place, "Ben, 2023-12-31T21:41:00#1");
            assert!(shown.words.contains(words), "{}", shown.words);
            assert!(!shown.words.contains("4111") && !shown.words.contains("hunter2"));
        }
    }
}
