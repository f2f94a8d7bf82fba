//! `tally bench memory`: how long a recall takes at 10,000 and at 100,000 memories, the embedding of the question included,
//! beside a scan of the bare vectors; and how fast memories come in.
//!
//! Memories are sentences of invented words whose frequencies follow Zipf's law, in sessions of 25, with vectors that point
//! anywhere: what a search costs does not depend on what they mean. Questions are of the same words. With an embedding model
//! questions are embedded by it, and some memories too, to tell how fast that is; without one questions get random vectors and
//! the embedding's share is missing, which the report says.
//!
//! The peer computes the cosine of every vector in binary32 and keeps the best hundred: what a vector search costs that does
//! nothing else.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};
use tally_recall::{
    Document, DocumentId, Embedder, Embedding, Index, Kind, Moment, Query, TokenVectors,
};

use crate::embedder::LocalEmbedder;

const SIZES: [u32; 2] = [10_000, 100_000];
const QUESTIONS: usize = 60;
const VOCABULARY: u64 = 20_000;
const WORDS: std::ops::Range<u64> = 6..28;
const SESSION: u32 = 25;
const DIMENSIONS: usize = 384;
const PEER_BEST: usize = 100;
/// Memories that are embedded for real.
const EMBEDDED: usize = 128;

/// `model` is an embedding model, when there is one.
pub(crate) fn run(model: Option<&LocalEmbedder>) -> anyhow::Result<Value> {
    let mut random = Random(0x7461_6c6c_795f_6265);
    let mut index = Index::new();
    let mut bare: Vec<f32> = Vec::new();
    let mut sizes = Vec::new();
    let mut inserted = 0;
    let mut insert_s = 0.0;
    for size in SIZES {
        while inserted < size {
            let document = memory(&mut random, inserted);
            let embedding = embedding(&mut random, &document.text);
            bare.extend(&embedding.sentence);
            let began = Instant::now();
            index
                .insert(document, Some(&embedding))
                .context("insert a memory")?;
            insert_s += began.elapsed().as_secs_f64();
            inserted += 1;
        }
        sizes.push(recall(&index, &bare, &mut random, model)?);
    }
    let ingest = match model {
        None => Value::Null,
        Some(model) => {
            let texts: Vec<String> = (0..EMBEDDED).map(|_| sentence(&mut random)).collect();
            let began = Instant::now();
            model.embed(&texts).context("embed memories")?;
            json!({ "memoriesPerSecond": EMBEDDED as f64 / began.elapsed().as_secs_f64(), "memories": EMBEDDED })
        }
    };
    Ok(json!({
        "bench": "memory",
        "embeddingIncluded": model.is_some(),
        "embedding": model.map(|model| model.name()),
        "recall": sizes,
        "insert": { "memoriesPerSecond": f64::from(inserted) / insert_s },
        "ingestWithEmbedding": ingest,
        "peer": "cosine with every vector in binary32, the best hundred kept; no words, no metadata, no embedding",
    }))
}

fn recall(
    index: &Index,
    bare: &[f32],
    random: &mut Random,
    model: Option<&LocalEmbedder>,
) -> anyhow::Result<Value> {
    let (mut whole, mut embed, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let mut tokens = 0;
    for _ in 0..QUESTIONS {
        let text = question(random);
        let spare = embedding(random, &text);
        let began = Instant::now();
        let embedding = match model {
            Some(model) => {
                let mut made = model
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
    }
    Ok(json!({
        "memories": index.len(),
        "questions": QUESTIONS,
        "recallMs": percentiles(&mut whole),
        "ofThatEmbeddingMs": percentiles(&mut embed),
        "peerScanMs": percentiles(&mut peer),
        "meanTokens": f64::from(tokens) / QUESTIONS as f64,
    }))
}

fn nearest(bare: &[f32], query: &[f32]) -> Vec<(usize, f32)> {
    let mut scores: Vec<(usize, f32)> = bare
        .chunks_exact(DIMENSIONS)
        .map(|row| row.iter().zip(query).map(|(a, b)| a * b).sum())
        .enumerate()
        .collect();
    scores.select_nth_unstable_by(PEER_BEST, |a, b| b.1.total_cmp(&a.1));
    scores.truncate(PEER_BEST);
    scores
}

fn percentiles(values: &mut [f64]) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    json!({ "p50": at(0.5), "p95": at(0.95) })
}

fn memory(random: &mut Random, number: u32) -> Document {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Document {
        speaker: Some(
            if number.is_multiple_of(2) {
                "Ada"
            } else {
                "Ben"
            }
            .to_owned(),
        ),
        session: Some(format!("{}", number / SESSION)),
        position: number % SESSION,
        observed_at: Moment(1_600_000_000 + i64::from(number) * 600),
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

fn embedding(random: &mut Random, text: &str) -> Embedding {
    let sentence: Vec<f32> = (0..DIMENSIONS)
        .map(|_| random.unit() as f32 - 0.5)
        .collect();
    let length = sentence.iter().map(|x| x * x).sum::<f32>().sqrt();
    let tokens = text.split(' ').count() * 2;
    let rows: Vec<f32> = (0..tokens * DIMENSIONS)
        .map(|_| random.unit() as f32 - 0.5)
        .collect();
    Embedding {
        sentence: sentence.into_iter().map(|x| x / length).collect(),
        tokens: TokenVectors::from_rows(DIMENSIONS, rows.chunks_exact(DIMENSIONS)),
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
