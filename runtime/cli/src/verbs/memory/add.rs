//! `tally memory add` and `learn`.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Deserialize;
use tally_memory::secrets::Secrets;
use tally_memory::{
    ChatModel, DryRun, LearnError, Learnt, Memory, Options, Refused, RememberError, Role, Turn,
};

use crate::failure::{Failure, OrFail, Outcome};
use crate::memories::{self, Keeping, Opened, WhichMemory};
use crate::ui::{Progress, grouped, printable, say};
use crate::vaults;

/// Most bytes of a file of turns.
const TURNS_MAX: u64 = 256 << 20;

/// Remember what was said.
#[derive(ClapArgs)]
pub(crate) struct Add {
    /// What was said; else --turns, else what comes on stdin.
    #[arg(conflicts_with = "turns")]
    text: Option<String>,
    /// Turns from a file, one JSON object a line; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    turns: Option<PathBuf>,
    /// Whose words they are: owner, person, assistant, tool or document.
    #[arg(long, default_value = "owner", value_parser = role)]
    role: Role,
    /// What the speaker is called.
    #[arg(long, default_value = "me", value_name = "NAME")]
    speaker: String,
    /// When it was said; else now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The app it comes from.
    #[arg(long, default_value = "tally", value_name = "NAME")]
    app: String,
    /// The conversation.
    #[arg(long, default_value = "", value_name = "NAME")]
    thread: String,
    /// Keep secrets that are found in it, in the encrypted episode and nowhere else. Otherwise they are not kept.
    #[arg(long)]
    keep_secrets: bool,
    #[command(flatten)]
    keeping: Keeping,
    /// Do not learn from it now.
    #[arg(long, conflicts_with = "dry_run")]
    no_learn: bool,
    /// Say what would be learnt, and keep nothing.
    #[arg(long)]
    dry_run: bool,
    /// The chat model to learn with; else the default one.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Also ask the model what new facts are to known ones: the same, newer, or against them. For models larger than the one that
    /// comes with the program.
    #[arg(long)]
    relate: bool,
    #[command(flatten)]
    which: WhichMemory,
}

/// Learn from what was said.
#[derive(ClapArgs)]
pub(crate) struct Learn {
    /// The chat model; else the default one.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Most calls of the model.
    #[arg(long, value_name = "N")]
    calls: Option<usize>,
    /// Say what would be learnt, and keep nothing: the next `learn` asks about the same lines.
    #[arg(long, conflicts_with = "relate")]
    dry_run: bool,
    /// Also ask the model what new facts are to known ones: the same, newer, or against them. For models larger than the one that
    /// comes with the program.
    #[arg(long)]
    relate: bool,
    #[command(flatten)]
    which: WhichMemory,
}

fn role(text: &str) -> Result<Role, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "owner, person, assistant, tool or document".to_owned())
}

/// A line of a file of turns.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnLine {
    text: String,
    role: Option<Role>,
    speaker: Option<String>,
    at: Option<String>,
    app: Option<String>,
    thread: Option<String>,
    key: Option<String>,
}

pub(crate) fn add(args: &Add, json: bool) -> Outcome {
    let turns = turns(args)?;
    let secrets = if args.keep_secrets {
        Secrets::Keep
    } else {
        Secrets::Drop
    };
    let mut opened = args.which.write(Options {
        secrets,
        identifiers: args.keeping.identifiers(),
        relate: args.relate,
    })?;
    let now = memories::now()?;
    if args.dry_run {
        return dry_run(&opened, args, &turns, json);
    }
    let bar = Progress::spinner("remembering");
    let report = opened
        .memory
        .remember_telling(&turns, embedding(&bar, ""))
        .map_err(remembering)?;
    drop(bar);
    let learnt = if args.no_learn {
        None
    } else {
        let model = opened.chat(args.model.as_deref());
        Some(learning(&mut opened.memory, &model, now, usize::MAX)?)
    };
    for (turn, kind) in &report.secrets {
        let kind = kind.as_str();
        let a = if kind.starts_with('e') { "an" } else { "a" };
        eprintln!("turn {}: {a} {kind} was not kept", turn + 1);
    }
    if json {
        let mut answer = serde_json::json!({
            "new": report.new,
            "known": report.known,
            "forgotten": report.forgotten,
            "empty": report.empty,
            "embedded": report.embedded,
            "secrets": report.secrets.iter().map(|(turn, kind)| serde_json::json!({"turn": turn, "kind": kind.as_str()})).collect::<Vec<_>>(),
        });
        if let Some(learnt) = &learnt {
            answer["learnt"] = described(&opened.memory, learnt);
        }
        say!("{answer}");
        return Ok(());
    }
    eprintln!(
        "{} remembered, {} known already",
        report.new.len(),
        report.known
    );
    if let Some(learnt) = &learnt {
        show(&opened.memory, learnt);
    }
    Ok(())
}

pub(crate) fn learn(args: &Learn, json: bool) -> Outcome {
    if args.dry_run {
        return learn_dry(args, json);
    }
    let mut opened = args.which.write(Options {
        relate: args.relate,
        ..Options::default()
    })?;
    let now = memories::now()?;
    let model = opened.chat(args.model.as_deref());
    let calls = args.calls.unwrap_or(usize::MAX);
    say_if_all_is_learnt(&opened.memory);
    let learnt = learning(&mut opened.memory, &model, now, calls)?;
    // What was kept without vectors, before there was a model or while it failed, gets them.
    let bar = Progress::spinner("embedding");
    opened
        .memory
        .embed_missing(embedding(&bar, ""))
        .map_err(remembering)?;
    drop(bar);
    if json {
        say!("{}", described(&opened.memory, &learnt));
    } else {
        show(&opened.memory, &learnt);
    }
    Ok(())
}

/// Says why a model, whatever its name, will be asked nothing.
fn say_if_all_is_learnt(memory: &Memory) {
    if memory.counts().unlearnt_lines == 0 {
        eprintln!("nothing is left to learn from: no model is asked");
    }
}

pub(crate) fn learning(
    memory: &mut Memory,
    model: &dyn ChatModel,
    now: tally_memory::Moment,
    calls: usize,
) -> Result<Learnt, Failure> {
    let bar = Progress::spinner("learning");
    let lines = memory.counts().unlearnt_lines;
    memory
        .learn(model, now, calls, asked_about(&bar, "learning", lines))
        .map_err(learning_failed)
}

/// Says on the bar how many texts are embedded, and of how many, after what comes before it.
pub(super) fn embedding(bar: &Progress, before: &str) -> impl FnMut(usize, usize) {
    move |done, of| {
        bar.says(format!(
            "{before}embedding: {} of {}",
            grouped(done as u64),
            grouped(of as u64)
        ));
    }
}

/// Says on the bar how many of so many lines the model was asked about.
fn asked_about(bar: &Progress, doing: &str, lines: usize) -> impl FnMut(usize) {
    move |left| {
        bar.says(format!(
            "{doing}: {} of {} lines",
            grouped(lines.saturating_sub(left) as u64),
            grouped(lines as u64)
        ));
    }
}

fn learn_dry(args: &Learn, json: bool) -> Outcome {
    let opened = args.which.read()?;
    let now = memories::now()?;
    let model = opened.chat_for("extract", args.model.as_deref());
    let calls = args.calls.unwrap_or(usize::MAX);
    let bar = Progress::spinner("asking");
    let lines = opened.memory.counts().unlearnt_lines;
    say_if_all_is_learnt(&opened.memory);
    let dry = opened
        .memory
        .learn_dry_kept(&model, now, calls, asked_about(&bar, "asking", lines))
        .map_err(learning_failed)?;
    drop(bar);
    if json {
        say!("{}", dry_described(&dry));
    } else {
        dry_shown(&dry);
    }
    Ok(())
}

/// What would be learnt from turns that are not kept.
pub(super) fn would_learn(
    opened: &Opened,
    model: Option<&str>,
    turns: &[Turn],
) -> Result<DryRun, Failure> {
    let (model, now) = (opened.chat_for("extract", model), memories::now()?);
    let bar = Progress::spinner("asking");
    let mut all = DryRun::default();
    for some in turns.chunks(Memory::TURNS_MAX) {
        let dry = opened.memory.learn_dry(some, &model, now, |left| {
            bar.says(format!("asking: {} lines left", grouped(left as u64)));
        });
        all.add(dry.map_err(learning_failed)?);
    }
    Ok(all)
}

fn dry_run(opened: &Opened, args: &Add, turns: &[Turn], json: bool) -> Outcome {
    let dry = would_learn(opened, args.model.as_deref(), turns)?;
    if json {
        say!("{}", dry_described(&dry));
    } else {
        dry_shown(&dry);
    }
    Ok(())
}

pub(super) fn dry_described(dry: &DryRun) -> serde_json::Value {
    serde_json::json!({
        "facts": dry.facts,
        "refused": refused(&dry.refused),
        "unreadable": dry.unreadable,
        "remaining": dry.remaining,
        "calls": dry.calls,
        "prompt_tokens": dry.prompt_tokens,
        "output_tokens": dry.output_tokens,
    })
}

pub(super) fn dry_shown(dry: &DryRun) {
    for fact in &dry.facts {
        say!("{}: {}", printable(&fact.subject), printable(&fact.text));
    }
    show_refused(&dry.refused, dry.unreadable);
    if dry.remaining > 0 {
        eprintln!("{} lines were not asked about", dry.remaining);
    }
}

pub(super) fn described(memory: &Memory, learnt: &Learnt) -> serde_json::Value {
    let facts: Vec<serde_json::Value> = learnt
        .facts
        .iter()
        .filter_map(|id| {
            let fact = memory.fact(id)?;
            Some(serde_json::json!({ "id": id, "subject": fact.subject, "text": fact.text }))
        })
        .collect();
    serde_json::json!({
        "facts": facts,
        "refused": refused(&learnt.refused),
        "unreadable": learnt.unreadable,
        "remaining": learnt.remaining,
        "calls": learnt.calls,
        "prompt_tokens": learnt.prompt_tokens,
        "output_tokens": learnt.output_tokens,
    })
}

fn refused(all: &[Refused]) -> Vec<serde_json::Value> {
    all.iter()
        .map(|one| {
            serde_json::json!({ "gate": one.gate.as_str(), "basis": one.basis, "subject": one.subject })
        })
        .collect()
}

pub(super) fn show(memory: &Memory, learnt: &Learnt) {
    for id in &learnt.facts {
        if let Some(fact) = memory.fact(id) {
            say!(
                "{}  {}: {}",
                &id.to_string()[..12],
                printable(&fact.subject),
                printable(&fact.text)
            );
        }
    }
    show_refused(&learnt.refused, learnt.unreadable);
    if learnt.remaining > 0 {
        eprintln!("{} lines are left: tally memory learn", learnt.remaining);
    }
}

fn show_refused(all: &[Refused], unreadable: usize) {
    for one in all {
        eprintln!(
            "not learnt ({}): {}",
            one.gate.as_str(),
            printable(&one.basis)
        );
    }
    if unreadable > 0 {
        eprintln!(
            "{unreadable} answers of the model were cut off or not of the form that was asked for: nothing was learnt from them"
        );
    }
}

/// Who must act when turns are not remembered.
pub(crate) fn remembering(error: RememberError) -> Failure {
    match error {
        RememberError::Turn(error) => Failure::misuse(&error),
        RememberError::Write(error) => vaults::writing(error),
        RememberError::Load(error) => memories::loading(error),
        other => Failure::environment(&other),
    }
}

fn learning_failed(error: LearnError) -> Failure {
    match error {
        LearnError::Turn(error) => Failure::misuse(&error),
        LearnError::Receipt(_) => Failure::no(&error),
        LearnError::Write(error) => vaults::writing(error),
        LearnError::Load(error) => memories::loading(error),
        other => Failure::environment(&other)
            .advise("what was said is kept; to learn from it later: tally memory learn"),
    }
}

fn turns(args: &Add) -> Result<Vec<Turn>, Failure> {
    let at = match &args.at {
        Some(text) => memories::moment(text)?,
        None => memories::now()?,
    };
    let turn = Turn {
        app: args.app.clone(),
        thread: args.thread.clone(),
        key: None,
        role: args.role,
        speaker: args.speaker.clone(),
        at: Some(at),
        text: String::new(),
    };
    let Some(path) = &args.turns else {
        let text = match &args.text {
            Some(text) => text.clone(),
            None if std::io::stdin().is_terminal() => {
                return Err(Failure::misuse("there is nothing to remember")
                    .advise("give a text, a file of turns (--turns), or something on stdin"));
            }
            None => read(&mut std::io::stdin().lock(), "stdin")?,
        };
        return Ok(vec![Turn { text, ..turn }]);
    };
    let text = if path.as_os_str() == "-" {
        read(&mut std::io::stdin().lock(), "stdin")?
    } else {
        let mut file =
            std::fs::File::open(path).or_misuse(format_args!("open {}", path.display()))?;
        read(&mut file, &path.display().to_string())?
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            let read: TurnLine = serde_json::from_str(line)
                .or_misuse(format_args!("read line {}", number + 1))
                .map_err(|failure| {
                    failure.advise("each line is one JSON object with `text`, and perhaps `role`, `speaker`, `at`, `app`, `thread`, `key`")
                })?;
            let role = read.role.unwrap_or(turn.role);
            // A turn of a file that says not when it was said is not of today.
            let at = match read.at.as_deref().or(args.at.as_deref()) {
                Some(text) => Some(memories::moment(text)?),
                None => None,
            };
            Ok(Turn {
                app: read.app.unwrap_or_else(|| turn.app.clone()),
                thread: read.thread.unwrap_or_else(|| turn.thread.clone()),
                key: read.key,
                speaker: read.speaker.unwrap_or_else(|| match role {
                    Role::Owner => turn.speaker.clone(),
                    other => other.as_str().to_owned(),
                }),
                role,
                at,
                text: read.text,
            })
        })
        .collect()
}

fn read(from: &mut dyn Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(TURNS_MAX + 1)
        .read_to_end(&mut bytes)
        .or_environment(format_args!("read {name}"))?;
    if bytes.len() as u64 > TURNS_MAX {
        return Err(Failure::misuse(format_args!(
            "{name} has more than {TURNS_MAX} bytes"
        )));
    }
    String::from_utf8(bytes).or_misuse(format_args!("use {name}: it is not UTF-8"))
}
