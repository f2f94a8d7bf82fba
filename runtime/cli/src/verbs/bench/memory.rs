//! `tally bench memory`: how long a recall takes by the size of a memory, the embedding of the question included, and how fast
//! turns come in. Parts:
//!
//! * `recall`, for each size: the bare index with random vectors, beside a scan of the same vectors, and beside a Qdrant server on the
//!   same vectors where there is one (`qdrant.rs`); and what a user gets, [`tally_memory::Memory::recall`] over a vault on the disk
//!   (`stored.rs`).
//! * `ingest`: turns a second into a vault without vectors, with vectors, and with facts, each beside its limit (`ingest.rs`).
//!
//! Memories are sentences of invented words whose frequencies follow Zipf's law, in sessions of 25, with vectors that point
//! anywhere: what a search costs does not depend on what they mean. Questions are of the same words. With an embedding model
//! questions are embedded by it, and what `ingest` measures too; without one the index gets random vectors for questions, the
//! vault is searched by words alone, and the embedding's share is missing, which the report says.
//!
//! The peer computes the cosine of every vector in binary32 and keeps the best hundred: what a vector search costs that does
//! nothing else.

mod ingest;
mod qdrant;
mod stored;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};
use tally_memory::{Memory, Role, SharedEmbedder, SharedVault, Turn};
use tally_recall::{
    Document, DocumentId, EmbedError, Embedder, Embedding, Index, Kind, Moment, Query, TokenVectors,
};
use tally_vault::format::SlotCost;
use tally_vault::{Create, Environment, Place, Vault};

use super::vault::file_system_of;
use crate::embedder::LocalEmbedder;
use crate::memories::LocalChat;
use crate::ui::{Progress, grouped};

/// Memories in each memory that is asked, where nobody says otherwise; and with `--quick`.
const SIZES: [u32; 2] = [10_000, 100_000];
const QUICK: [u32; 1] = [10_000];
const QUESTIONS: usize = 200;
const VOCABULARY: u64 = 20_000;
const WORDS: std::ops::Range<u64> = 6..28;
const SESSION: u32 = 25;
/// Of a vector where no model tells.
const DIMENSIONS: usize = 384;
const PEER_BEST: usize = 100;
/// When the first memory was said, and seconds between two.
const BEGINNING: i64 = 1_600_000_000;
const BETWEEN: i64 = 600;
const SEED: u64 = 0x7461_6c6c_795f_6265;
const PASSPHRASE: &str = "for measuring only";
const NAMESPACE: &str = "memory";

/// What is measured, and with what.
pub(crate) struct Options<'a> {
    /// Memories in each memory that is asked; nothing for the usual sizes.
    pub(crate) sizes: &'a [u32],
    /// Leaves the largest size out, and takes in fewer turns.
    pub(crate) quick: bool,
    /// A folder for the vaults; else the folder for temporary files.
    pub(crate) folder: Option<&'a Path>,
    /// The embedding model, when there is one.
    pub(crate) embedding: Option<LocalEmbedder>,
    /// The model whose facts are learnt.
    pub(crate) chat: &'a LocalChat,
    pub(crate) progress: &'a Progress,
}

/// What all parts use.
struct Bench<'a> {
    root: &'a Path,
    quick: bool,
    shape: Shape,
    embedder: Option<Arc<Standing>>,
    chat: &'a LocalChat,
    progress: &'a Progress,
}

pub(crate) fn run(options: Options<'_>) -> anyhow::Result<Value> {
    let above = options
        .folder
        .map_or_else(std::env::temp_dir, Path::to_path_buf);
    let folder = tempfile::Builder::new()
        .prefix("tally-bench-memory-")
        .tempdir_in(&above)
        .with_context(|| format!("make a folder in {}", above.display()))?;
    let root = folder.path().canonicalize()?;
    let embedder = options.embedding.map(Standing::over).transpose()?;
    let bench = Bench {
        root: &root,
        quick: options.quick,
        shape: embedder.as_ref().map_or(Shape::USUAL, |one| one.shape),
        embedder: embedder.map(Arc::new),
        chat: options.chat,
        progress: options.progress,
    };
    let sizes: BTreeSet<u32> = match (options.sizes, options.quick) {
        ([], true) => QUICK.into(),
        ([], false) => SIZES.into(),
        (sizes, _) => sizes.iter().copied().collect(),
    };
    let (mut recall, inserted_per_second) = index(&bench, &sizes).context("search an index")?;
    for (row, size) in recall.iter_mut().zip(&sizes) {
        row["vault"] = stored::measure(&bench, *size).context("recall from a vault")?;
    }
    let model = bench.embedder.as_ref().map(|one| one.model.name());
    Ok(json!({
        "bench": "memory",
        "fileSystem": file_system_of(&root)?,
        "embeddingIncluded": model.is_some(),
        "embedding": model,
        "recall": recall,
        "insert": { "memoriesPerSecond": inserted_per_second },
        "ingest": ingest::measure(&bench).context("take turns in")?,
        "peer": "cosine with every vector in binary32, the best hundred kept; no words, no metadata, no embedding",
        "bar": { "recallMsP50": { "10000": 20, "100000": 50 } },
    }))
}

/// The bare index: a row for each size, and memories inserted in a second.
fn index(bench: &Bench<'_>, sizes: &BTreeSet<u32>) -> anyhow::Result<(Vec<Value>, f64)> {
    let mut random = Random(SEED);
    let mut index = Index::new();
    let mut bare: Vec<f32> = Vec::new();
    let mut rows = Vec::new();
    let mut inserted = 0;
    let mut insert_s = 0.0;
    for size in sizes {
        bench.progress.says(format!(
            "an index of {} memories",
            grouped(u64::from(*size))
        ));
        while inserted < *size {
            let document = memory(&mut random, inserted);
            let embedding = embedding(&mut random, &document.text, bench.shape);
            bare.extend(&embedding.sentence);
            let began = Instant::now();
            index
                .insert(document, Some(&embedding))
                .context("insert a memory")?;
            insert_s += began.elapsed().as_secs_f64();
            inserted += 1;
        }
        rows.push(recall(bench, &index, &bare, &mut random)?);
    }
    Ok((rows, f64::from(inserted) / insert_s))
}

fn recall(
    bench: &Bench<'_>,
    index: &Index,
    bare: &[f32],
    random: &mut Random,
) -> anyhow::Result<Value> {
    let (mut whole, mut embed, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let mut vectors: Vec<Vec<f32>> = Vec::new();
    let mut tokens = 0;
    for _ in 0..QUESTIONS {
        let text = question(random);
        let spare = embedding(random, &text, bench.shape);
        let began = Instant::now();
        let embedding = match &bench.embedder {
            Some(standing) => {
                let mut made = standing
                    .model
                    .embed(&[index.embeddable(&text)])
                    .context("embed a question")?;
                made.pop().context("a text has a vector")?
            }
            None => spare,
        };
        embed.push(began.elapsed().as_secs_f64() * 1e3);
        let vector = embedding.sentence.clone();
        let query = Query {
            embedding: Some(embedding),
            ..Query::new(text, Moment(2_000_000_000))
        };
        let answer = black_box(index.search(&query));
        whole.push(began.elapsed().as_secs_f64() * 1e3);
        tokens += answer.tokens;

        let began = Instant::now();
        black_box(nearest(bare, &vector));
        peer.push(began.elapsed().as_secs_f64() * 1e3);
        vectors.push(vector);
    }
    bench.progress.says(format!(
        "Qdrant with {} vectors, if there is one",
        grouped(index.len() as u64)
    ));
    Ok(json!({
        "memories": index.len(),
        "questions": QUESTIONS,
        "recallMs": percentiles(&mut whole),
        "ofThatEmbeddingMs": percentiles(&mut embed),
        "peerScanMs": percentiles(&mut peer),
        "qdrant": qdrant::measure(bare, bench.shape.dimensions, &vectors),
        "meanTokens": f64::from(tokens) / QUESTIONS as f64,
    }))
}

/// The best rows with their cosines, in no order.
fn nearest(bare: &[f32], query: &[f32]) -> Vec<(usize, f32)> {
    let mut scores: Vec<(usize, f32)> = bare
        .chunks_exact(query.len())
        .map(|row| row.iter().zip(query).map(|(a, b)| a * b).sum())
        .enumerate()
        .collect();
    if scores.len() > PEER_BEST {
        scores.select_nth_unstable_by(PEER_BEST, |a, b| b.1.total_cmp(&a.1));
        scores.truncate(PEER_BEST);
    }
    scores
}

fn percentiles(values: &mut [f64]) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    json!({ "p50": at(0.5), "p95": at(0.95), "p99": at(0.99) })
}

// ---- models ----

/// What the vectors of a model look like.
#[derive(Clone, Copy)]
struct Shape {
    dimensions: usize,
    /// Whether there is a vector for each word.
    has_tokens: bool,
}

impl Shape {
    const USUAL: Self = Self {
        dimensions: DIMENSIONS,
        has_tokens: true,
    };
}

/// The embedding model as a memory asks it. While a large memory is filled, random vectors of its shape stand in for what it
/// would make, which takes it a minute for every few thousand memories.
struct Standing {
    model: LocalEmbedder,
    shape: Shape,
    stands_in: AtomicBool,
    random: Mutex<Random>,
    /// Milliseconds that the model took, each time it was asked.
    took: Mutex<Vec<f64>>,
}

impl Standing {
    fn over(model: LocalEmbedder) -> anyhow::Result<Self> {
        // Also starts its process, which no figure is to contain.
        let made = model
            .embed(&["What does it look like?".to_owned()])
            .context("embed a question")?;
        let one = made.first().context("a text has a vector")?;
        Ok(Self {
            shape: Shape {
                dimensions: one.sentence.len(),
                has_tokens: !one.tokens.is_empty(),
            },
            model,
            stands_in: AtomicBool::new(false),
            random: Mutex::new(Random(SEED)),
            took: Mutex::default(),
        })
    }

    /// Whether random vectors are given from now on.
    fn stand_in(&self, stands_in: bool) {
        self.stands_in.store(stands_in, Ordering::Relaxed);
    }

    /// What the model took since this was asked last.
    fn took(&self) -> Vec<f64> {
        std::mem::take(&mut *self.took.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Embedder for Standing {
    fn model(&self) -> &str {
        self.model.model()
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        if self.stands_in.load(Ordering::Relaxed) {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            let random = &mut *random;
            return Ok(texts
                .iter()
                .map(|text| embedding(random, text, self.shape))
                .collect());
        }
        let began = Instant::now();
        let made = self.model.embed(texts)?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        let mut all = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(took);
        Ok(made)
    }
}

// ---- vaults ----

/// Where a vault of this name is.
fn place(root: &Path, name: &str) -> Place {
    Place {
        folder: root.join(name),
        local: root.join(format!("{name}.local")),
    }
}

/// A new vault to write to.
fn new_vault(place: &Place) -> anyhow::Result<SharedVault> {
    let create = Create {
        passphrase: PASSPHRASE,
        cost: SlotCost::LEAST,
        namespaces: &[NAMESPACE],
    };
    let made =
        Vault::create(Environment::of_this_computer(), place, &create).context("make a vault")?;
    Ok(Arc::new(Mutex::new(made.vault)))
}

fn open_memory(vault: SharedVault, embedder: Option<&Arc<Standing>>) -> anyhow::Result<Memory> {
    let embedder = embedder.map(|one| Arc::clone(one) as SharedEmbedder);
    Memory::open_with(vault, NAMESPACE, tally_memory::Options::default(), embedder)
        .context("open a memory")
}

// ---- what is said and asked ----

/// Turns as an app hands them over: as [`memory`] has them, from this number on.
fn turns(random: &mut Random, from: u32, count: u32) -> anyhow::Result<Vec<Turn>> {
    (from..from + count)
        .map(|number| turn(number, sentence(random)))
        .collect()
}

fn turn(number: u32, text: String) -> anyhow::Result<Turn> {
    let is_owner = number.is_multiple_of(2);
    let said = (BEGINNING + i64::from(number) * BETWEEN) * 1_000;
    Ok(Turn {
        app: "bench".to_owned(),
        thread: (number / SESSION).to_string(),
        key: Some(number.to_string()),
        role: if is_owner { Role::Owner } else { Role::Person },
        speaker: speaker(number).to_owned(),
        at: Some(tally_memory::Moment::from_unix_ms(said)?),
        text,
    })
}

fn speaker(number: u32) -> &'static str {
    if number.is_multiple_of(2) {
        "Ada"
    } else {
        "Ben"
    }
}

fn memory(random: &mut Random, number: u32) -> Document {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Document {
        speaker: Some(speaker(number).to_owned()),
        session: Some(format!("{}", number / SESSION)),
        position: number % SESSION,
        observed_at: Moment(BEGINNING + i64::from(number) * BETWEEN),
        ..Document::new(DocumentId(id), Kind::Episode, sentence(random))
    }
}

fn sentence(random: &mut Random) -> String {
    let count = random.below(WORDS.end - WORDS.start) + WORDS.start;
    (0..count)
        .map(|_| word(random))
        .collect::<Vec<_>>()
        .join(" ")
}

fn question(random: &mut Random) -> String {
    let words: Vec<String> = (0..6).map(|_| word(random)).collect();
    format!("What did Ada {}?", words.join(" "))
}

/// A word by Zipf's law: its rank is the vocabulary's size to a random power.
fn word(random: &mut Random) -> String {
    let mut rank = (VOCABULARY as f64).powf(random.unit()) as u64;
    let mut word = String::new();
    for _ in 0..3 {
        word.push(char::from(b"bdfglmnprstvz"[(rank % 13) as usize]));
        rank /= 13;
        word.push(char::from(b"aeiou"[(rank % 5) as usize]));
        rank /= 5;
    }
    word
}

fn embedding(random: &mut Random, text: &str, shape: Shape) -> Embedding {
    let sentence: Vec<f32> = (0..shape.dimensions)
        .map(|_| random.unit() as f32 - 0.5)
        .collect();
    let length = sentence.iter().map(|x| x * x).sum::<f32>().sqrt();
    let tokens = if shape.has_tokens {
        let words = text.split(' ').count() * 2;
        let rows: Vec<f32> = (0..words * shape.dimensions)
            .map(|_| random.unit() as f32 - 0.5)
            .collect();
        TokenVectors::from_rows(shape.dimensions, rows.chunks_exact(shape.dimensions))
    } else {
        TokenVectors::default()
    };
    Embedding {
        sentence: sentence.into_iter().map(|x| x / length).collect(),
        tokens,
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same memories on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 inclusive to 1 exclusive.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.unit() * end as f64) as u64
    }
}
