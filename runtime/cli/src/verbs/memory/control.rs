//! `tally memory correct`, `confirm`, `forget`, `history` and `log`.

use clap::Args as ClapArgs;
use tally_memory::{ChangeError, Memory, MemoryId, Moment, Options};

use super::look::{day, find, short};
use crate::failure::{Failure, Outcome};
use crate::memories::{self, Keeping, WhichMemory};
use crate::ui::{Progress, printable, say};
use crate::vaults;

/// Say what is so instead.
#[derive(ClapArgs)]
pub(crate) struct Correct {
    /// The fact: its id, or the beginning of it.
    id: String,
    /// What is so.
    #[arg(required_unless_present = "wrong", conflicts_with = "wrong")]
    text: Option<String>,
    /// It is simply wrong.
    #[arg(long)]
    wrong: bool,
    /// From when on; else since the fact's own beginning.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until when.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Why; it stays in the history.
    #[arg(long, default_value = "")]
    why: String,
    #[command(flatten)]
    keeping: Keeping,
    #[command(flatten)]
    which: WhichMemory,
}

/// Say that a fact is so.
#[derive(ClapArgs)]
pub(crate) struct Confirm {
    /// The fact: its id, or the beginning of it.
    id: String,
    #[command(flatten)]
    which: WhichMemory,
}

/// Destroy memories.
#[derive(ClapArgs)]
pub(crate) struct Forget {
    /// The memories: their ids, or the beginnings of them. What says the same as a fact goes with it.
    #[arg(required_unless_present = "app", conflicts_with = "app")]
    ids: Vec<String>,
    /// Everything that was said in this app, and what was learnt from it.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Of the app only this conversation, or the document of this name.
    #[arg(long, value_name = "THREAD", requires = "app")]
    thread: Option<String>,
    /// Say how much it is, and destroy nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why; it stays in the vault's audit trail.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    which: WhichMemory,
}

/// What became of a memory.
#[derive(ClapArgs)]
pub(crate) struct History {
    /// The memory: its id, or the beginning of it.
    id: String,
    #[command(flatten)]
    which: WhichMemory,
}

/// Every call of a model: those whose records are in the vault, and those that this machine noted, of whatever vault.
#[derive(ClapArgs)]
pub(crate) struct Log {
    #[command(flatten)]
    which: WhichMemory,
}

/// Who must act when something is not changed.
pub(super) fn changing(error: ChangeError) -> Failure {
    match error {
        ChangeError::Write(error) => vaults::writing(error),
        ChangeError::Load(error) => memories::loading(error),
        other => Failure::misuse(&other),
    }
}

pub(crate) fn correct(args: &Correct, json: bool) -> Outcome {
    let from = args.from.as_deref().map(memories::moment).transpose()?;
    let until = args.until.as_deref().map(memories::moment).transpose()?;
    let mut opened = args.which.write(Options {
        identifiers: args.keeping.identifiers(),
        ..Options::default()
    })?;
    let id = find(&opened.memory, &args.id)?;
    let text = args.text.as_deref().unwrap_or_default();
    if text.trim().is_empty() && !args.wrong {
        return Err(Failure::misuse("the correction is empty")
            .advise("to say that the fact is simply wrong: --wrong"));
    }
    let new = opened
        .memory
        .correct(&id, text, from, until, &args.why, memories::now()?)
        .map_err(changing)?;
    if json {
        say!("{}", serde_json::json!({ "id": new, "of": id }));
    } else {
        say!("{new}");
    }
    Ok(())
}

pub(crate) fn confirm(args: &Confirm, json: bool) -> Outcome {
    let mut opened = args.which.write(Options::default())?;
    let id = find(&opened.memory, &args.id)?;
    opened
        .memory
        .confirm(&id, memories::now()?)
        .map_err(changing)?;
    if json {
        say!("{}", serde_json::json!({ "id": id, "confirmed": true }));
    } else {
        eprintln!("confirmed");
    }
    Ok(())
}

/// The memories that are to be forgotten, by name or by where they are from.
fn meant(args: &Forget, memory: &Memory) -> Result<Vec<MemoryId>, Failure> {
    let Some(app) = &args.app else {
        return args.ids.iter().map(|name| find(memory, name)).collect();
    };
    let said = memory.said_in(app, args.thread.as_deref());
    if said.is_empty() {
        let place = match &args.thread {
            Some(thread) => format!("in {thread:?} of {app:?}"),
            None => format!("in {app:?}"),
        };
        return Err(Failure::misuse(format_args!(
            "nothing that is kept was said {place}"
        ))
        .advise("`tally memory search --json` and `tally memory export` name the app and the thread of each turn"));
    }
    Ok(said.into_iter().map(MemoryId::Episode).collect())
}

pub(crate) fn forget(args: &Forget, json: bool) -> Outcome {
    let mut opened = if args.dry_run {
        args.which.read()?
    } else {
        args.which.write(Options::default())?
    };
    let ids = meant(args, &opened.memory)?;
    let now = memories::now()?;
    let bar = Progress::spinner("forgetting");
    let done = if args.dry_run {
        opened.memory.forget_dry(&ids, now)
    } else {
        opened.memory.forget(&ids, &args.reason, now)
    };
    let done = done.map_err(changing)?;
    drop(bar);
    if json {
        say!(
            "{}",
            serde_json::json!({
                "memories": done.memories, "repeats": done.repeats, "calls": done.calls, "unproved": done.unproved,
                "remains": done.remains, "dry_run": args.dry_run,
            })
        );
        return Ok(());
    }
    let of = |wanted: fn(&MemoryId) -> bool| done.memories.iter().filter(|id| wanted(id)).count();
    eprintln!(
        "{} in this copy of the vault: {} turns, {} facts, {} corrections, and {} records of calls",
        if args.dry_run {
            "to be destroyed"
        } else {
            "destroyed"
        },
        of(|id| matches!(id, MemoryId::Episode(_))),
        of(|id| matches!(id, MemoryId::Fact(_))),
        of(|id| matches!(id, MemoryId::Correction(_))),
        done.calls.len()
    );
    if !done.repeats.is_empty() {
        eprintln!(
            "note: {} of them were not named and say the same",
            done.repeats.len()
        );
    }
    if !done.unproved.is_empty() {
        eprintln!(
            "note: {} other facts came from the same calls; they stay, and {}",
            done.unproved.len(),
            if args.dry_run {
                "their receipts go"
            } else {
                "their receipts are gone"
            }
        );
    }
    if args.dry_run {
        eprintln!("nothing was destroyed: this was a dry run");
    }
    for place in done.remains {
        eprintln!("note: {place}");
    }
    Ok(())
}

pub(crate) fn history(args: &History, json: bool) -> Outcome {
    let opened = args.which.read()?;
    let id = find(&opened.memory, &args.id)?;
    let events = opened.memory.history(&id).map_err(changing)?;
    if json {
        let events: Vec<serde_json::Value> = events
            .iter()
            .map(|event| {
                serde_json::json!({
                    "at": event.at.to_string(), "what": event.what, "sentence": event.sentence,
                    "other": event.other, "by": event.by, "operation": event.operation,
                })
            })
            .collect();
        say!("{}", serde_json::json!({ "id": id, "history": events }));
        return Ok(());
    }
    for event in events {
        let other = event.other.map(|id| format!("  {}", short(&id)));
        say!(
            "{}  {:<9}  {}{}",
            event.at,
            event.what,
            printable(&event.sentence),
            other.unwrap_or_default()
        );
    }
    Ok(())
}

pub(crate) fn log(args: &Log, json: bool) -> Outcome {
    let opened = args.which.read()?;
    let calls = opened.memory.log();
    // The calls of the vault are shown all the same.
    let (noted, gone) = opened.calls.read().unwrap_or_else(|error| {
        eprintln!("tally: cannot read what this machine noted of calls: {error}");
        Default::default()
    });
    let (mut read, mut wrote, mut took) = (0_u64, 0_u64, 0_u64);
    for (_, call) in &calls {
        read += u64::from(call.prompt_tokens);
        wrote += u64::from(call.output_tokens);
        took += call.took_ms;
    }
    let mut beside = gone;
    for call in &noted {
        beside.add(call);
    }
    if json {
        let calls: Vec<serde_json::Value> = calls
            .iter()
            .map(|(id, call)| serde_json::json!({ "id": id, "call": call }))
            .collect();
        say!(
            "{}",
            serde_json::json!({
                "calls": calls, "prompt_tokens": read, "output_tokens": wrote, "took_ms": took,
                "noted": noted, "noted_gone": gone, "noted_sum": beside,
            })
        );
        return Ok(());
    }
    let mut rows: Vec<(Moment, String)> = Vec::with_capacity(calls.len() + noted.len());
    for (id, call) in &calls {
        let refused: u32 = call.refused.values().sum();
        let row = format!(
            "{}  {}  {:<8} {}  {} + {} tokens, {} ms, {} refused, {}",
            &id.to_string()[..12],
            day(call.at),
            call.purpose.as_str(),
            printable(&call.model),
            call.prompt_tokens,
            call.output_tokens,
            call.took_ms,
            refused,
            if call.receipt.is_some() {
                "receipt"
            } else {
                "no receipt"
            }
        );
        rows.push((call.at, row));
    }
    for call in &noted {
        let at = Moment::of_clock(call.at);
        let outcome = match (&call.error, &call.receipt) {
            (Some(class), _) => format!("failed: {class}"),
            (None, Some(receipt)) => format!("receipt {}", receipt.get(..12).unwrap_or(receipt)),
            (None, None) => "no receipt".to_owned(),
        };
        let row = format!(
            "{:<12}  {}  {:<8} {}  {} + {} tokens, {} ms, {} texts, {outcome}",
            "(noted)",
            day(at),
            printable(&call.purpose),
            printable(&call.model),
            call.prompt_tokens,
            call.output_tokens,
            call.took_ms,
            call.texts,
        );
        rows.push((at, row));
    }
    rows.sort_by_key(|(at, _)| *at);
    for (_, row) in rows {
        say!("{row}");
    }
    eprintln!(
        "{} calls, {read} tokens read, {wrote} written, {took} ms",
        calls.len()
    );
    eprintln!(
        "noted by this machine beside them: {} calls, of which {} failed and the lines of {} are gone, {} tokens read, {} written, {} ms",
        beside.calls,
        beside.failed,
        gone.calls,
        beside.prompt_tokens,
        beside.output_tokens,
        beside.took_ms
    );
    Ok(())
}
