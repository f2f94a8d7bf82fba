//! `tally memory eval`: how much of the known evidence a search finds, on conversations in the shape of LoCoMo.
//!
//! Every conversation is an index of its own (or, `--together`, all of them are one), and every question is asked of it in each of these ways, in one run:
//!
//! | system | |
//! |---|---|
//! | `bm25` | BM25 alone |
//! | `dense` | cosine of sentence vectors alone, the names of speakers cut from the question |
//! | `rrf` | both, by reciprocal rank fusion |
//! | `tally-words` | our index without a model |
//! | `tally` | our index |
//! | `reranked` | our index, after the model that `--rerank` names has read the best of it with the question |
//! | `facts-words`, `facts` | the same two, with the dataset's observations as facts: what statements by a chat model of its makers buy |
//! | `learnt-words`, `learnt` | the same two, with the facts that `--chat` learns from the turns: what a model of this machine buys |
//!
//! Of facts only the turns they were drawn from count, as for all others. A dataset without observations is asked without.
//!
//! Without an embedding model the ways that need one are left out, and the report says so. `docs/recall.md` has the definitions
//! of the figures and what was measured.
//!
//! `--poison` asks another question, without a dataset: what is learnt from attacks ([`poison`]; `docs/memory.md`).

mod learnt;
mod poison;
mod repeats;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};
use tally_recall::evaluation::{
    self, AbstentionFigures, Baselines, Category, Conversation, Figures, Measured, Question,
};
use tally_recall::{
    Answer, Budget, Document, DocumentId, Embedder, Embedding, Filter, Index, Kind, Mode, Query,
};

use tally_memory::ChatModel as _;

use crate::embedder::LocalEmbedder;
use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::memories::LocalChat;
use crate::reranker::LocalReranker;
use crate::setup::{self, Models};
use crate::ui::{Progress, say};

use repeats::{Repeated, Said};

/// Texts embedded between two reports of progress.
const BATCH: usize = 32;
/// How deep rankings go.
const DEPTH: usize = 100;

/// Measure how well memories are found, on conversations whose evidence is known; or what attacks teach.
#[derive(ClapArgs)]
pub(crate) struct Eval {
    /// Conversations in the shape of LoCoMo: a JSON file.
    #[arg(long, value_name = "FILE", required_unless_present = "poison")]
    dataset: Option<PathBuf>,
    /// Measure what is learnt about the owner from turns that should teach nothing, with a chat model (`--chat`; else tally-nano) and
    /// with one that proposes everything.
    #[arg(
        long,
        conflicts_with_all = ["dataset", "splits", "together", "embedding", "rerank", "details"]
    )]
    poison: bool,
    /// How many junk turns there are among them; else 10,000.
    #[arg(long, value_name = "N", requires = "poison")]
    junk: Option<usize>,
    /// What the junk is made from; else 1.
    #[arg(long, value_name = "N", requires = "poison")]
    seed: Option<u64>,
    /// Only these conversations; may be given several times.
    #[arg(long = "split", value_name = "NAME")]
    splits: Vec<String>,
    /// All conversations in one memory, as of somebody who was told all of it: what is searched when there is much
    #[arg(long)]
    together: bool,
    /// The embedding model: a name, a GGUF file, or `none`; else the default one, or the only one of this machine.
    #[arg(long, value_name = "MODEL")]
    embedding: Option<String>,
    /// Also measure with a reranking model that reads the best turns together with the question: a name, `default`, or a GGUF file
    #[arg(long, value_name = "MODEL")]
    rerank: Option<String>,
    /// Write each question with what `tally` found, and why, into this file: one JSON object a line
    #[arg(long, value_name = "FILE")]
    details: Option<PathBuf>,
    /// Also measure with the facts that a chat model learns from the turns: this one, or the default
    #[arg(long, value_name = "MODEL", num_args = 0..=1, default_missing_value = "")]
    chat: Option<String>,
}

/// Figures of one way of searching.
#[derive(Default)]
struct System {
    answerable: Figures,
    categories: BTreeMap<Category, Figures>,
    conversations: BTreeMap<String, Figures>,
}

impl System {
    fn add(&mut self, conversation: &str, question: &Question, ranking: &[DocumentId]) {
        let Some(measured) = Measured::of(ranking, &question.evidence) else {
            return;
        };
        self.categories
            .entry(question.category)
            .or_default()
            .add(&measured);
        if question.category != Category::Adversarial {
            self.answerable.add(&measured);
            self.conversations
                .entry(conversation.to_owned())
                .or_default()
                .add(&measured);
        }
    }

    fn json(&self) -> Value {
        let by = |entries: Vec<(&str, &Figures)>| -> Map<String, Value> {
            entries
                .into_iter()
                .map(|(name, figures)| (name.to_owned(), figures_json(figures)))
                .collect()
        };
        json!({
            "all": figures_json(&self.answerable),
            "categories": by(self.categories.iter().map(|(category, f)| (category.as_str(), f)).collect()),
            "conversations": by(self.conversations.iter().map(|(name, f)| (name.as_str(), f)).collect()),
        })
    }
}

/// What is measured beside rankings.
#[derive(Default)]
struct Costs {
    search_ms: Vec<f64>,
    embed_ms: Vec<f64>,
    rerank_ms: Vec<f64>,
    tokens: Vec<f64>,
    hits: usize,
    repeated: Repeated,
    ingest_s: f64,
    index_s: f64,
    abstention: AbstentionFigures,
    learnt: learnt::Costs,
    details: Option<Vec<String>>,
}

pub(crate) fn eval(args: &Eval, json: bool) -> Outcome {
    match &args.dataset {
        Some(dataset) if !args.poison => search(args, dataset, json),
        _ => poison::eval(
            args.chat.as_deref(),
            args.junk.unwrap_or(poison::JUNK),
            args.seed.unwrap_or(1),
            json,
        ),
    }
}

/// How much of the evidence in a dataset a search finds.
fn search(args: &Eval, dataset: &Path, json: bool) -> Outcome {
    let bytes = std::fs::read(dataset)
        .or_environment(format_args!("read the dataset {}", dataset.display()))
        .map_err(|failure| failure.advise("LoCoMo is published by its authors as locomo10.json; it is not part of this program"))?;
    let hash = blake3::hash(&bytes);
    let mut conversations =
        evaluation::parse(&bytes).or_misuse(format_args!("use {}", dataset.display()))?;
    for split in &args.splits {
        if !conversations
            .iter()
            .any(|conversation| conversation.name == *split)
        {
            let names: Vec<&str> = conversations.iter().map(|c| c.name.as_str()).collect();
            return Err(
                Failure::misuse(format_args!("the dataset has no conversation {split:?}"))
                    .advise(format_args!("it has {}", names.join(", "))),
            );
        }
    }
    if !args.splits.is_empty() {
        conversations.retain(|conversation| args.splits.contains(&conversation.name));
    }
    if args.together {
        conversations = vec![Conversation::together(conversations)];
    }
    let runtime = crate::runtime()?;
    let embedder = LocalEmbedder::find(args.embedding.as_deref(), runtime.handle())?;
    if embedder.is_none() {
        if args.details.is_some() {
            return Err(Failure::misuse(
                "--details says what `tally` found, which needs an embedding model",
            )
            .advise("name one with --embedding, or leave --details out"));
        }
        eprintln!("tally: no embedding model: words and metadata alone are measured");
    }

    let reranker = args
        .rerank
        .as_deref()
        .map(|asked| LocalReranker::find(asked, runtime.handle()))
        .transpose()?;
    let chat = args
        .chat
        .as_deref()
        .map(|name| chat_model(name, &runtime))
        .transpose()?;

    let progress = Progress::spinner("measuring");
    let mut systems: BTreeMap<&str, System> = BTreeMap::new();
    let mut costs = Costs {
        details: args.details.as_ref().map(|_| Vec::new()),
        ..Costs::default()
    };
    let models = Asked {
        embedder: embedder.as_ref(),
        reranker: reranker.as_ref(),
        chat: chat.as_ref().map(|(chat, _)| chat),
    };
    for conversation in &conversations {
        measure(conversation, &models, &mut systems, &mut costs, &progress)?;
    }
    drop(progress);

    if let (Some(file), Some(details)) = (&args.details, &costs.details) {
        std::fs::write(file, details.concat())
            .or_environment(format_args!("write {}", file.display()))?;
    }
    let turns: usize = conversations.iter().map(|c| c.turns.len()).sum();
    let hits = costs.hits.max(1) as f64;
    let share = |repeated: usize| repeated as f64 / hits;
    let report = json!({
        "dataset": {
            "file": dataset.display().to_string(),
            "blake3": hash.to_hex().as_str(),
            "conversations": conversations.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            "turns": turns,
            "observations": conversations.iter().map(|c| c.observations.len()).sum::<usize>(),
            "questions": conversations.iter().map(|c| c.questions.len()).sum::<usize>(),
            "withoutEvidence": conversations.iter().map(|c| c.left_out).sum::<usize>(),
        },
        "chat": chat.as_ref().map(|(chat, _)| costs.learnt.json(chat.name())),
        "embedding": embedder.as_ref().map(|e| json!({ "name": e.name(), "weights": e.model() })),
        "reranker": reranker.as_ref().map(|r| { let (name, weights) = r.identity(); json!({ "name": name, "weights": weights }) }),
        "systems": systems.iter().map(|(name, system)| ((*name).to_owned(), system.json())).collect::<Map<_, _>>(),
        "abstention": {
            "precision": costs.abstention.precision(),
            "recall": costs.abstention.recall(),
            "right": costs.abstention.right, "wrong": costs.abstention.wrong, "missed": costs.abstention.missed,
        },
        "latencyMs": {
            "search": spread(&mut costs.search_ms),
            "embedding": spread(&mut costs.embed_ms),
            "searchAndRerank": spread(&mut costs.rerank_ms),
        },
        "answer": {
            "tokens": spread(&mut costs.tokens),
            "hits": costs.hits,
            "repeatedShare": {
                "words": share(costs.repeated.words),
                "vectors": embedder.as_ref().map(|_| share(costs.repeated.vectors)),
            },
        },
        "ingest": {
            "turnsPerSecond": turns as f64 / (costs.ingest_s + costs.index_s).max(1e-9),
            "embeddingSeconds": costs.ingest_s,
            "indexSeconds": costs.index_s,
        },
    });
    if json {
        say!("{report}");
    } else {
        table(&systems, &report);
    }
    Ok(())
}

/// The chat model of this name, the default one for the empty name; and what loads it, which goes on for as long as it is held.
fn chat_model(
    name: &str,
    runtime: &tokio::runtime::Runtime,
) -> Result<(LocalChat, Models), Failure> {
    let home = Home::open()?;
    let key = Arc::new(home.node_key()?);
    // A name that no model has is said now, and not once everything is embedded.
    let asked = Some(name).filter(|name| !name.is_empty());
    let models = runtime.block_on(setup::models(&home, &key, asked, None))?;
    let chat = LocalChat::new(models.service.clone(), name, runtime.handle().clone());
    Ok((chat, models))
}

/// One line of `--details`: the evidence, and the hundred best with what each arm gave them.
fn detail(
    conversation: &Conversation,
    question: &Question,
    index: &Index,
    answer: &Answer,
) -> String {
    let hits: Vec<Value> = answer
        .hits
        .iter()
        .map(|hit| {
            let parts = hit.trace.0.iter();
            json!({
                "id": hit.id.0,
                "evidence": question.evidence.contains(&hit.id),
                "text": index.get(hit.id).map(Document::passage),
                "score": hit.score,
                "trace": parts.map(|(arm, value)| (arm.as_str().to_owned(), json!(value))).collect::<Map<_, _>>(),
            })
        })
        .collect();
    let evidence = question.evidence.iter();
    json!({
        "conversation": conversation.name,
        "category": question.category.as_str(),
        "question": question.text,
        "evidence": evidence.map(|id| json!({ "id": id.0, "text": index.get(*id).map(Document::passage) })).collect::<Vec<_>>(),
        "hits": hits,
    })
    .to_string()
        + "\n"
}

/// The models to measure with.
struct Asked<'m> {
    embedder: Option<&'m LocalEmbedder>,
    reranker: Option<&'m LocalReranker>,
    chat: Option<&'m LocalChat>,
}

fn measure<'s>(
    conversation: &Conversation,
    models: &Asked<'_>,
    systems: &mut BTreeMap<&'s str, System>,
    costs: &mut Costs,
    progress: &Progress,
) -> Outcome {
    let &Asked {
        embedder,
        reranker,
        chat,
    } = models;
    let passages: Vec<String> = conversation.turns.iter().map(Document::passage).collect();
    let began = Instant::now();
    let vectors = embed(
        embedder,
        &passages,
        &format!("{}: turns", conversation.name),
        progress,
    )?;
    costs.ingest_s += began.elapsed().as_secs_f64();

    let began = Instant::now();
    let index = indexed(conversation, conversation.turns.iter().zip(&vectors))?;
    costs.index_s += began.elapsed().as_secs_f64();
    let mut with_facts = Vec::new();
    if !conversation.observations.is_empty() {
        let facts = &conversation.observations;
        let index = beside(conversation, &vectors, facts, embedder, progress)?;
        with_facts.push((["facts-words", "facts"], index));
    }
    if let Some(chat) = chat {
        let facts = learnt::learn(conversation, chat, &mut costs.learnt, progress)?;
        let index = beside(conversation, &vectors, &facts, embedder, progress)?;
        with_facts.push((["learnt-words", "learnt"], index));
    }
    let said: HashMap<DocumentId, Said> = conversation
        .turns
        .iter()
        .zip(&vectors)
        .map(|(turn, vectors)| (turn.id, Said::of(turn, vectors.as_ref())))
        .collect();
    let mut baselines = Baselines::default();
    for (turn, vectors) in conversation.turns.iter().zip(vectors) {
        baselines.insert(turn, vectors.map_or_else(Vec::new, |v| v.sentence));
    }

    let now = conversation.asked_at();
    for question in &conversation.questions {
        let began = Instant::now();
        let embeddable = [index.embeddable(&question.text)];
        let vectors = embed(
            embedder,
            &embeddable,
            &format!("{}: questions", conversation.name),
            progress,
        )?;
        let embedding = vectors.into_iter().next().flatten();
        if embedding.is_some() {
            costs.embed_ms.push(milliseconds(began));
        }
        let mut add = |system: &'s str, ranking: &[DocumentId]| {
            systems
                .entry(system)
                .or_default()
                .add(&conversation.name, question, ranking);
        };
        let deep = Query {
            mode: Mode::All,
            budget: Budget {
                tokens: u32::MAX,
                hits: DEPTH,
            },
            ..Query::new(question.text.clone(), now)
        };
        add("bm25", &baselines.bm25(&question.text));
        add("tally-words", &ids(&index.search(&deep)));
        if let Some(embedding) = &embedding {
            add("dense", &baselines.dense(&embedding.sentence));
            add("rrf", &baselines.fused(&question.text, &embedding.sentence));
            let answer = index.search(&Query {
                embedding: Some(embedding.clone()),
                ..deep.clone()
            });
            add("tally", &ids(&answer));
            if let Some(details) = &mut costs.details {
                details.push(detail(conversation, question, &index, &answer));
            }
        }
        if let Some(reranker) = reranker {
            let query = Query {
                embedding: embedding.clone(),
                ..deep.clone()
            };
            let began = Instant::now();
            let answer = index
                .search_and_rerank(&query, reranker)
                .or_environment("rerank")?;
            costs.rerank_ms.push(milliseconds(began));
            add("reranked", &ids(&answer));
            progress.says(format!("{}: questions, reranked", conversation.name));
        }
        for ([words, both], index) in &with_facts {
            let turns = Query {
                filter: Filter {
                    kinds: vec![Kind::Episode],
                    ..Filter::default()
                },
                ..deep.clone()
            };
            add(words, &ids(&index.search(&turns)));
            if embedding.is_some() {
                let embedding = embedding.clone();
                add(both, &ids(&index.search(&Query { embedding, ..turns })));
            }
        }
        // As a caller asks, with the default budget.
        let query = Query {
            embedding,
            budget: Budget::default(),
            ..deep
        };
        let began = Instant::now();
        let answer = index.search(&query);
        costs.search_ms.push(milliseconds(began));
        costs.tokens.push(f64::from(answer.tokens));
        costs.hits += answer.hits.len();
        let hits = answer.hits.iter();
        let hits: Vec<&Said> = hits.filter_map(|hit| said.get(&hit.id)).collect();
        costs.repeated.add(&hits);
        costs.abstention.add(
            answer.abstention.advised,
            question.category != Category::Adversarial,
        );
    }
    Ok(())
}

/// The index with facts beside the turns.
fn beside(
    conversation: &Conversation,
    of_turns: &[Option<Embedding>],
    facts: &[Document],
    embedder: Option<&LocalEmbedder>,
    progress: &Progress,
) -> Result<Index, Failure> {
    let passages: Vec<String> = facts.iter().map(Document::passage).collect();
    let what = format!("{}: facts", conversation.name);
    let of_facts = embed(embedder, &passages, &what, progress)?;
    let turns = conversation.turns.iter().zip(of_turns);
    indexed(conversation, turns.chain(facts.iter().zip(&of_facts)))
}

fn indexed<'a>(
    conversation: &Conversation,
    documents: impl Iterator<Item = (&'a Document, &'a Option<Embedding>)>,
) -> Result<Index, Failure> {
    let mut index = Index::new();
    for (document, vectors) in documents {
        index
            .insert(document.clone(), vectors.as_ref())
            .or_misuse(format_args!("use {}", conversation.name))?;
    }
    Ok(index)
}

fn embed(
    embedder: Option<&LocalEmbedder>,
    texts: &[String],
    what: &str,
    progress: &Progress,
) -> Result<Vec<Option<Embedding>>, Failure> {
    let Some(embedder) = embedder else {
        return Ok(vec![None; texts.len()]);
    };
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(BATCH) {
        vectors.extend(
            embedder
                .embed(batch)
                .or_environment("embed")?
                .into_iter()
                .map(Some),
        );
        progress.says(format!("{what}, {} of {}", vectors.len(), texts.len()));
    }
    Ok(vectors)
}

fn ids(answer: &Answer) -> Vec<DocumentId> {
    answer.hits.iter().map(|hit| hit.id).collect()
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Median, 95th percentile and mean.
fn spread(values: &mut [f64]) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    json!({ "p50": at(0.5), "p95": at(0.95), "mean": values.iter().sum::<f64>() / values.len() as f64 })
}

fn figures_json(figures: &Figures) -> Value {
    let means = figures.means();
    let percent = |share: f64| (share * 1000.0).round() / 10.0;
    json!({
        "questions": figures.questions(),
        "recall@5": percent(means.recall_5),
        "recall@10": percent(means.recall_10),
        "any@10": percent(means.any_10),
        "all@10": percent(means.all_10),
        "mrr": (means.reciprocal_rank * 1000.0).round() / 1000.0,
    })
}

fn table(systems: &BTreeMap<&str, System>, report: &Value) {
    say!(
        "{:12} {:>8} {:>9} {:>7} {:>7} {:>6}   recall@10 by category",
        "",
        "recall@5",
        "recall@10",
        "any@10",
        "all@10",
        "mrr"
    );
    for (name, system) in systems {
        let means = system.answerable.means();
        let categories: Vec<String> = system
            .categories
            .iter()
            .map(|(category, figures)| {
                format!(
                    "{} {:.1}",
                    category.as_str(),
                    100.0 * figures.means().recall_10
                )
            })
            .collect();
        say!(
            "{name:12} {:8.1} {:9.1} {:7.1} {:7.1} {:6.3}   {}",
            100.0 * means.recall_5,
            100.0 * means.recall_10,
            100.0 * means.any_10,
            100.0 * means.all_10,
            means.reciprocal_rank,
            categories.join(", ")
        );
    }
    if !report["chat"].is_null() {
        say!("learnt       {}", report["chat"]);
    }
    say!("abstention   {}", report["abstention"]);
    say!("latency, ms  {}", report["latencyMs"]);
    say!("answer       {}", report["answer"]);
    say!("ingest       {}", report["ingest"]);
}
