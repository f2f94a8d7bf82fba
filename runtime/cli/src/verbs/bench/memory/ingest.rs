//! How fast turns come into a vault, each figure beside its limit in the same run:
//!
//! * without vectors: the vault's own append of the very same records, as many at once;
//! * with vectors: the embedding model alone, on other texts of the same kind;
//! * with facts: the chat model's answers alone. Few turns, in plain English, since invented words teach nothing.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tally_memory::record::Record;
use tally_memory::{Answer, Ask, ChatModel, Dialect, Memory, ModelError, Moment, Turn};
use tally_memory_service::{PIECE, in_pieces};
use tally_recall::Embedder as _;
use tally_vault::{Change, NewContent, NewRecord};

use super::{
    BEGINNING, BETWEEN, Bench, NAMESPACE, Random, SEED, Standing, new_vault, open_memory, place,
    turn, turns,
};
use crate::memories::LocalChat;
use crate::ui::grouped;

/// Turns without vectors, and with `--quick`.
const BARE: u32 = 20_000;
const BARE_QUICK: u32 = 4_000;
/// Turns that are embedded for real, and with `--quick`.
const EMBEDDED: u32 = 512;
const EMBEDDED_QUICK: u32 = 128;
/// People in the turns that facts are learnt from, and what is said of each.
const PEOPLE: [&str; 6] = ["Lena", "Tom", "Mara", "Ivo", "Nora", "Sam"];
const PEOPLE_QUICK: usize = 2;

pub(super) fn measure(bench: &Bench<'_>) -> anyhow::Result<Value> {
    Ok(json!({
        "withoutVectors": without_vectors(bench).context("without vectors")?,
        "withVectors": match &bench.embedder {
            Some(standing) => with_vectors(bench, standing).context("with vectors")?,
            None => json!("not measured: there is no embedding model"),
        },
        "withFacts": with_facts(bench).context("with facts")?,
    }))
}

fn without_vectors(bench: &Bench<'_>) -> anyhow::Result<Value> {
    let count = if bench.quick { BARE_QUICK } else { BARE };
    bench.progress.says(format!(
        "taking in {} turns without vectors",
        grouped(u64::from(count))
    ));
    let turns = turns(&mut Random(SEED), 0, count)?;
    let mut memory = open_memory(new_vault(&place(bench.root, "words"))?, None)?;
    let (ids, took) = timed(|| Ok(remember(&mut memory, &turns)?.new))?;
    let records: Vec<Record> = ids
        .iter()
        .filter_map(|id| Some(Record::Episode(memory.episode(id)?.0.clone())))
        .collect();
    let bytes: usize = records.iter().map(|one| one.encode().len()).sum();
    let limit = append(&place(bench.root, "appended"), &records)?;
    Ok(json!({
        "turns": count,
        "together": PIECE,
        "turnsPerSecond": per_second(count, took),
        "limit": {
            "what": "the vault's own append of the same records, as many at once",
            "bytesEach": bytes as f64 / records.len() as f64,
            "recordsPerSecond": records.len() as f64 / limit.as_secs_f64(),
        },
    }))
}

/// How long these records take into a vault of their own.
fn append(place: &tally_vault::Place, records: &[Record]) -> anyhow::Result<Duration> {
    let encoded: Vec<(&'static str, Vec<u8>)> = records
        .iter()
        .map(|one| (one.record_type(), one.encode()))
        .collect();
    let shared = new_vault(place)?;
    let mut vault = shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let namespace = vault
        .namespace(NAMESPACE)
        .context("the namespace was made")?;
    let ((), took) = timed(|| {
        for piece in encoded.chunks(PIECE) {
            let changes = piece
                .iter()
                .map(|(record_type, bytes)| {
                    Change::Add(NewRecord {
                        record_type,
                        run: None,
                        receipt: None,
                        content: NewContent::Bytes(bytes),
                    })
                })
                .collect();
            vault.append(&namespace, changes)?;
        }
        Ok(())
    })?;
    Ok(took)
}

fn with_vectors(bench: &Bench<'_>, standing: &std::sync::Arc<Standing>) -> anyhow::Result<Value> {
    let count = if bench.quick {
        EMBEDDED_QUICK
    } else {
        EMBEDDED
    };
    bench
        .progress
        .says(format!("taking in {count} turns with vectors"));
    let mut random = Random(SEED);
    let both = turns(&mut random, 0, 2 * count)?;
    let (kept, other) = both.split_at(count as usize);
    let place = place(bench.root, "vectors");
    let mut memory = open_memory(new_vault(&place)?, Some(standing))?;
    let (embedded, took) = timed(|| Ok(remember(&mut memory, kept)?.embedded))?;
    // As memories are embedded: with who says it.
    let passages: Vec<String> = other
        .iter()
        .map(|turn| format!("{}: {}", turn.speaker, turn.text))
        .collect();
    let (_, limit) = timed(|| Ok(standing.model.embed(&passages)?))?;
    Ok(json!({
        "turns": count,
        "embedded": embedded,
        "turnsPerSecond": per_second(count, took),
        "limit": {
            "what": "the embedding model alone, as many other texts",
            "textsPerSecond": per_second(count, limit),
        },
    }))
}

fn with_facts(bench: &Bench<'_>) -> anyhow::Result<Value> {
    let people = if bench.quick {
        PEOPLE_QUICK
    } else {
        PEOPLE.len()
    };
    let mut said: Vec<Turn> = Vec::new();
    for name in PEOPLE.into_iter().take(people) {
        for text in [
            format!("I have a friend called {name}, who lives in Ghent."),
            format!("{name} works as a nurse in a hospital."),
            format!("I play chess with {name} on Sundays."),
            format!("I bought {name} a book about gardens last week."),
        ] {
            // All of them the owner's: every second number.
            said.push(turn(u32::try_from(2 * said.len())?, text)?);
        }
    }
    let count = u32::try_from(said.len())?;
    bench
        .progress
        .says(format!("taking in {count} turns with facts"));
    let place = place(bench.root, "facts");
    let mut memory = open_memory(new_vault(&place)?, bench.embedder.as_ref())?;
    let model = Timed {
        model: bench.chat,
        took: Cell::default(),
    };
    let now = Moment::from_unix_ms((BEGINNING + i64::from(count) * 2 * BETWEEN) * 1_000)?;
    // Loading the model is in no figure.
    if let Err(error) = memory.learn_dry(&said[..1], &model, now, |_| ()) {
        return Ok(json!(format!("not measured: {error}")));
    }
    model.took.set(Duration::ZERO);
    let (learnt, took) = timed(|| {
        remember(&mut memory, &said)?;
        Ok(memory.learn(&model, now, usize::MAX, |left| {
            bench.progress.says(format!(
                "learning: {} of {count} lines",
                (count as usize).saturating_sub(left)
            ));
        })?)
    })?;
    let log = memory.log();
    Ok(json!({
        "model": log.last().map(|(_, call)| call.model.clone()),
        "embedded": bench.embedder.is_some(),
        "turns": count,
        "turnsPerSecond": per_second(count, took),
        "calls": learnt.calls.len(),
        "facts": learnt.facts.len(),
        "refused": learnt.refused.len(),
        "promptTokens": learnt.prompt_tokens,
        "outputTokens": learnt.output_tokens,
        "limit": {
            "what": "the chat model's answers alone, receipts included",
            "turnsPerSecond": per_second(count, model.took.get()),
        },
    }))
}

/// As `tally memory import` has them remembered.
fn remember(
    memory: &mut Memory,
    turns: &[Turn],
) -> Result<tally_memory::Remembered, tally_memory::RememberError> {
    in_pieces(turns, |piece| memory.remember(piece))
}

/// The chat model, and how long it took altogether.
struct Timed<'a> {
    model: &'a LocalChat,
    took: Cell<Duration>,
}

impl ChatModel for Timed<'_> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn dialect(&self) -> Dialect {
        self.model.dialect()
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
        let began = Instant::now();
        let answer = self.model.ask(ask);
        self.took.set(self.took.get() + began.elapsed());
        answer
    }
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Duration)> {
    let began = Instant::now();
    let done = work()?;
    Ok((done, began.elapsed()))
}

fn per_second(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.as_secs_f64()
}
