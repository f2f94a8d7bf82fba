//! Recall as a user gets it: a memory in a vault on the disk, filled as `tally memory import` fills one, opened anew, and asked.
//!
//! While it is filled random vectors stand in for the model's ([`Standing`](super::Standing)); they are stored, read and
//! searched like any other. Questions are embedded by the model.

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};
use tally_memory::{Moment, Search};
use tally_memory_service::{PIECE, in_pieces};
use tally_vault::{Environment, Key, Open, Vault};

use super::{
    BEGINNING, BETWEEN, Bench, PASSPHRASE, QUESTIONS, Random, SEED, new_vault, open_memory,
    percentiles, place, question, turns,
};
use crate::ui::grouped;

/// A memory of so many memories.
pub(super) fn measure(bench: &Bench<'_>, size: u32) -> anyhow::Result<Value> {
    let place = place(bench.root, &format!("stored-{size}"));
    let mut random = Random(SEED);
    let began = Instant::now();
    fill(bench, &place, size, &mut random)?;
    let fill_s = began.elapsed().as_secs_f64();
    let disk_bytes = super::super::vault::folder_bytes(&place.folder)?;

    let began = Instant::now();
    let open = Open::reading(Key::Passphrase(PASSPHRASE));
    let vault = Vault::open(Environment::of_this_computer(), &place, open)?;
    let memory = open_memory(Arc::new(Mutex::new(vault)), bench.embedder.as_ref())?;
    let open_s = began.elapsed().as_secs_f64();
    let counts = memory.counts();

    let now = Moment::from_unix_ms((BEGINNING + i64::from(size) * BETWEEN) * 1_000)?;
    let mut whole = Vec::new();
    let (mut hits, mut tokens) = (0, 0);
    for _ in 0..QUESTIONS {
        let search = Search::new(question(&mut random));
        let began = Instant::now();
        let answer = black_box(memory.recall(&search, now).context("recall")?);
        whole.push(began.elapsed().as_secs_f64() * 1e3);
        hits += answer.hits.len();
        tokens += answer.tokens;
    }
    let mut embed = bench
        .embedder
        .as_ref()
        .map(|one| one.took())
        .unwrap_or_default();
    drop(memory);
    for folder in [&place.folder, &place.local] {
        remove(folder)?;
    }
    Ok(json!({
        "memories": counts.episodes,
        "withVectors": bench.embedder.as_ref().map_or(0, |_| counts.episodes - counts.without_vectors),
        "searchedBy": if bench.embedder.is_some() { "words and vectors" } else { "words alone: there is no embedding model" },
        "vectors": bench.embedder.as_ref().map(|_| "of memories random, of the model's shape; of questions the model's"),
        "questions": QUESTIONS,
        "recallMs": percentiles(&mut whole),
        "ofThatEmbeddingMs": if embed.is_empty() { Value::Null } else { percentiles(&mut embed) },
        "meanHits": hits as f64 / QUESTIONS as f64,
        "meanTokens": f64::from(tokens) / QUESTIONS as f64,
        "fillSeconds": fill_s,
        "openSeconds": open_s,
        "diskBytes": disk_bytes,
    }))
}

fn fill(
    bench: &Bench<'_>,
    place: &tally_vault::Place,
    size: u32,
    random: &mut Random,
) -> anyhow::Result<()> {
    let mut memory = open_memory(new_vault(place)?, bench.embedder.as_ref())?;
    if let Some(standing) = &bench.embedder {
        standing.stand_in(true);
    }
    let piece = u32::try_from(PIECE)?;
    for from in (0..size).step_by(PIECE) {
        bench.progress.says(format!(
            "a vault: {} of {} memories",
            grouped(u64::from(from)),
            grouped(u64::from(size))
        ));
        let turns = turns(random, from, piece.min(size - from))?;
        in_pieces(&turns, |piece| memory.remember(piece)).context("remember")?;
    }
    if let Some(standing) = &bench.embedder {
        standing.stand_in(false);
    }
    Ok(())
}

/// What is measured next is not to lack the room on the disk.
fn remove(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
}
