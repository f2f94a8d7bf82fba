//! `tally memory search`, `profile` and `show`.

use clap::{Args as ClapArgs, ValueEnum};
use tally_memory::profile::{Entry, Length};
use tally_memory::timeline::Standing;
use tally_memory::{
    AskError, By, Category, Cited, Hit, Layer, Memory, MemoryId, Mode, Moment, RecallError,
    Search as Question, export,
};

use crate::failure::{Failure, Outcome};
use crate::memories::{self, Opened, Rerank, WhichMemory};
use crate::ui::{Progress, printable, say};

/// Find what was said and learnt.
#[derive(ClapArgs)]
pub(crate) struct Search {
    /// The question.
    query: String,
    /// What held then, as far as it had been said by then.
    #[arg(long, value_name = "TIME", conflicts_with = "all")]
    as_of: Option<String>,
    /// Also what ended, repeats, and what was corrected.
    #[arg(long)]
    all: bool,
    /// Only facts.
    #[arg(long, conflicts_with = "episodes")]
    facts: bool,
    /// Only what was said.
    #[arg(long)]
    episodes: bool,
    /// Only facts of this category. May be given several times.
    #[arg(long, value_name = "NAME")]
    category: Vec<Category>,
    /// Only of this app. May be given several times.
    #[arg(long, value_name = "NAME")]
    app: Vec<String>,
    /// Only of this conversation. May be given several times.
    #[arg(long, value_name = "NAME")]
    thread: Vec<String>,
    /// Only said by, or about, this speaker. May be given several times.
    #[arg(long, value_name = "NAME")]
    speaker: Vec<String>,
    /// Most memories.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Most tokens of all of them together.
    #[arg(long, value_name = "N")]
    tokens: Option<u32>,
    /// Print them as a model is given them.
    #[arg(long)]
    context: bool,
    #[command(flatten)]
    rerank: Rerank,
    #[command(flatten)]
    which: WhichMemory,
}

/// How long a bio is to be.
#[derive(Clone, Copy, ValueEnum)]
enum BioLength {
    Short,
    Medium,
    Long,
}

/// Who you are, by what you said.
#[derive(ClapArgs)]
pub(crate) struct Profile {
    /// Only a few sentences, in your own words.
    #[arg(long, value_name = "LENGTH")]
    bio: Option<BioLength>,
    /// Have a chat model put it into words. Each of its sentences is held against the facts that it names; where one says anything else,
    /// the facts stand in its place as you said them.
    #[arg(long, requires = "bio", conflicts_with = "as_of")]
    phrase: bool,
    /// The chat model; else the default one.
    #[arg(long, value_name = "MODEL", requires = "phrase")]
    model: Option<String>,
    /// Only this category.
    #[arg(long, value_name = "NAME")]
    category: Option<Category>,
    /// As it was then, as far as it had been said by then.
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    #[command(flatten)]
    which: WhichMemory,
}

/// One memory, or all facts.
#[derive(ClapArgs)]
pub(crate) struct Show {
    /// The memory: its id, or the beginning of it.
    id: Option<String>,
    #[command(flatten)]
    which: WhichMemory,
}

pub(crate) fn search(args: &Search, json: bool) -> Outcome {
    let mode = match &args.as_of {
        Some(text) => Mode::AsOf(memories::moment(text)?),
        None if args.all => Mode::Everything,
        None => Mode::Current,
    };
    let mut opened = args.which.read()?;
    opened.rerank(&args.rerank)?;
    let question = Question {
        text: args.query.clone(),
        mode,
        categories: args.category.clone(),
        apps: args.app.clone(),
        threads: args.thread.clone(),
        speakers: args.speaker.clone(),
        only: match (args.facts, args.episodes) {
            (true, _) => Some(Layer::Facts),
            (_, true) => Some(Layer::Episodes),
            _ => None,
        },
        hits: Some(args.limit),
        tokens: args.tokens,
        rerank: args.rerank.asked().is_some(),
        ..Question::default()
    };
    let found = opened
        .memory
        .recall(&question, memories::now()?)
        .map_err(recalling)?;
    if json {
        let hits: Vec<serde_json::Value> = found.hits.iter().map(hit).collect();
        say!(
            "{}",
            serde_json::json!({
                "hits": hits,
                "tokens": found.tokens,
                "candidates": found.candidates,
                "abstain": found.abstention.advised,
                "covered": found.abstention.covered,
            })
        );
        return Ok(());
    }
    if args.context {
        say!("{}", printable(&found.context()));
        return Ok(());
    }
    if found.hits.is_empty() {
        eprintln!("nothing was found");
    }
    for hit in &found.hits {
        let kind = match hit.id {
            MemoryId::Episode(_) => "said",
            _ => "fact",
        };
        say!(
            "{}  {}  {kind}  {}: {}",
            short(&hit.id),
            day(hit.said_at),
            printable(&hit.speaker),
            printable(&hit.text).replace('\n', " ")
        );
    }
    if found.abstention.advised {
        eprintln!("these may not answer it: memory does not know");
    }
    Ok(())
}

/// Who must act when memory does not answer.
pub(crate) fn recalling(error: RecallError) -> Failure {
    match error {
        RecallError::Empty | RecallError::TooLong { .. } => Failure::misuse(&error),
        RecallError::Rerank(_) => {
            Failure::environment(&error).advise("to search without that model: --rerank none")
        }
        other => Failure::environment(&other).advise("to search by words alone: --embedding none"),
    }
}

pub(crate) fn profile(args: &Profile, json: bool) -> Outcome {
    let as_of = args.as_of.as_deref().map(memories::moment).transpose()?;
    let now = memories::now()?;
    let opened = args.which.read()?;
    let memory = &opened.memory;
    if let Some(length) = args.bio {
        let length = match length {
            BioLength::Short => Length::Short,
            BioLength::Medium => Length::Medium,
            BioLength::Long => Length::Long,
        };
        if args.phrase {
            return phrase(&opened, length, now, args.model.as_deref(), json);
        }
        let bio = match as_of {
            Some(then) => memory.bio_as_of(length, then),
            None => memory.bio(length, now),
        };
        if json {
            say!(
                "{}",
                serde_json::json!({ "bio": bio.text, "citations": bio.citations })
            );
        } else if bio.text.is_empty() {
            eprintln!("nothing is known");
        } else {
            say!("{}", printable(&bio.text));
            for (number, id) in &bio.citations {
                say!("[{number}] {}", short(id));
            }
        }
        return Ok(());
    }
    let mut profile = match as_of {
        Some(then) => memory.profile_as_of(then),
        None => memory.profile(now),
    };
    if let Some(only) = args.category {
        profile.categories.retain(|(category, _)| *category == only);
    }
    if json {
        let categories: serde_json::Map<String, serde_json::Value> = profile
            .categories
            .iter()
            .map(|(category, entries)| (category.as_str().to_owned(), serde_json::json!(entries)))
            .collect();
        say!(
            "{}",
            serde_json::json!({ "static": profile.lasting, "dynamic": profile.recent, "categories": categories })
        );
        return Ok(());
    }
    if profile.categories.is_empty() {
        eprintln!("nothing is known; tally memory add tells it something");
    }
    for (category, entries) in &profile.categories {
        say!("{}", category.as_str());
        for entry in entries {
            say!("  {}", line(entry));
        }
    }
    Ok(())
}

/// A bio in a model's words, as far as they say the facts that they name.
fn phrase(
    opened: &Opened,
    length: Length,
    now: Moment,
    model: Option<&str>,
    json: bool,
) -> Outcome {
    let draft = opened.memory.draft(length, now);
    let bar = Progress::spinner("asking");
    let bio = draft
        .phrase(&opened.chat_for("phrase", model), now)
        .map_err(|error| match error {
            AskError::Receipt(_) => Failure::no(&error),
            AskError::Model(_) => Failure::environment(&error)
                .advise("as you said it, without a model: leave --phrase out"),
        })?;
    drop(bar);
    if json {
        let not_taken: Vec<serde_json::Value> = bio
            .not_taken
            .iter()
            .map(|one| serde_json::json!({ "stop": one.stop.as_str(), "sentence": one.sentence }))
            .collect();
        say!(
            "{}",
            serde_json::json!({
                "bio": bio.text(), "sentences": bio.sentences, "citations": bio.citations,
                "not_taken": not_taken, "note": bio.note, "call": bio.call,
            })
        );
        return Ok(());
    }
    if bio.sentences.is_empty() {
        eprintln!("nothing is known");
        return Ok(());
    }
    say!("{}", printable(&bio.text()));
    for (number, id) in &bio.citations {
        say!("[{number}] {}", short(id));
    }
    for one in &bio.not_taken {
        eprintln!(
            "not taken ({}): {}",
            one.stop.as_str(),
            printable(&one.sentence)
        );
    }
    if let Some(note) = bio.note {
        eprintln!("note: {note}");
    }
    if let Some(call) = &bio.call {
        let by_model = bio.sentences.iter().filter(|one| one.by == By::Model);
        eprintln!(
            "{} of {} sentences are {}'s, the rest are quotations; {}; tally memory verify --bio checks what --json prints",
            by_model.count(),
            bio.sentences.len(),
            printable(&call.model),
            if call.receipt.is_some() {
                "receipt"
            } else {
                "no receipt"
            },
        );
    }
    Ok(())
}

/// A line of a profile, with who said it, when, and the fact.
pub(crate) fn line(entry: &Entry) -> String {
    let about = match entry.subject.as_str() {
        "user" => String::new(),
        other => format!("{}: ", printable(other)),
    };
    let plan = if entry.planned { " (planned)" } else { "" };
    format!(
        "{about}{}{plan}  — {}, {}  {}",
        printable(&entry.text),
        printable(&entry.said_by),
        day(entry.said_at),
        short(&entry.id)
    )
}

pub(crate) fn show(args: &Show, json: bool) -> Outcome {
    let opened = args.which.read()?;
    let memory = &opened.memory;
    let Some(name) = &args.id else {
        let facts = memory.facts();
        if json {
            let all: Vec<serde_json::Value> =
                facts.iter().filter_map(|id| describe(memory, id)).collect();
            say!("{}", serde_json::json!({ "memories": all }));
            return Ok(());
        }
        if facts.is_empty() {
            eprintln!("no facts");
        }
        for id in facts {
            if let Some(shown) = memory.show(&id) {
                let standing = shown
                    .place
                    .map_or("", |place| export::standing(place.standing, None).0);
                say!(
                    "{}  {}  {standing:<9}  {}: {}",
                    short(&id),
                    day(shown.fact.observed),
                    printable(&shown.fact.subject),
                    printable(&shown.fact.text)
                );
            }
        }
        return Ok(());
    };
    let id = find(memory, name)?;
    let Some(described) = describe(memory, &id) else {
        return Err(Failure::misuse(format_args!("there is no memory {id}"))
            .advise("tally memory show lists facts, and tally memory search finds what was said"));
    };
    if json {
        say!("{}", serde_json::json!({ "memory": described }));
        return Ok(());
    }
    if let MemoryId::Episode(episode) = id
        && let Some((episode, said)) = memory.episode(&episode)
    {
        say!("{id}");
        say!(
            "{} ({}) in {}, {said}",
            printable(&episode.speaker),
            episode.role.as_str(),
            printable(&episode.app)
        );
        say!("{}", printable(&episode.text));
        return Ok(());
    }
    if let Some(shown) = memory.show(&id) {
        let fact = &shown.fact;
        say!("{id}");
        say!("{}: {}", printable(&fact.subject), printable(&fact.text));
        let categories: Vec<&str> = fact.categories.iter().map(|one| one.as_str()).collect();
        say!(
            "{}, {}, confidence {}‰{}",
            categories.join(", "),
            fact.modality.as_str(),
            shown.confidence,
            if shown.confirmed { ", confirmed" } else { "" }
        );
        if let Some(place) = shown.place {
            let (standing, _) = export::standing(place.standing, place.ended_by);
            let from = place.from.map_or("?".to_owned(), day);
            let until = place.until.map_or("now".to_owned(), day);
            say!("{standing}, {from} to {until}, said {} times", place.times);
        }
        if let Some(by) = shown.corrected_by {
            let text = memory.show(&by).map(|last| last.fact.text);
            match text.filter(|text| !text.is_empty()) {
                Some(text) => say!("corrected to: {}  {}", printable(&text), short(&by)),
                None => say!("said to be wrong  {}", short(&by)),
            }
        }
        for cited in &shown.evidence {
            say!(
                "“{}” — {}, {}",
                printable(cited.words.as_deref().unwrap_or("(forgotten)")),
                printable(cited.speaker.as_deref().unwrap_or("?")),
                cited.said_at.map_or("?".to_owned(), day)
            );
        }
        match &shown.receipt {
            Some(receipt) => say!("receipt {receipt}"),
            None => say!("no receipt"),
        }
    }
    Ok(())
}

/// A memory by its name.
pub(super) fn find(memory: &Memory, name: &str) -> Result<MemoryId, Failure> {
    memory
        .find(name)
        .map_err(|error| Failure::misuse(&error).advise("tally memory show lists the facts"))
}

fn describe(memory: &Memory, id: &MemoryId) -> Option<serde_json::Value> {
    if let MemoryId::Episode(episode) = id {
        let (episode, said) = memory.episode(episode)?;
        return Some(serde_json::json!({
            "id": id, "kind": "episode", "said_at": said.to_string(), "episode": episode,
        }));
    }
    let shown = memory.show(id)?;
    let mut value = serde_json::json!({
        "id": id,
        "kind": if matches!(id, MemoryId::Correction(_)) { "correction" } else { "fact" },
        "fact": shown.fact,
        "original": shown.original,
        "confidence": shown.confidence,
        "confirmed": shown.confirmed,
        "evidence": shown.evidence.iter().map(cited).collect::<Vec<_>>(),
        "receipt": shown.receipt,
    });
    if let Some(place) = shown.place {
        let (standing, because) = export::standing(place.standing, place.ended_by);
        value["standing"] = standing.into();
        value["because_of"] = serde_json::json!(because);
        value["from"] = serde_json::json!(place.from.map(|at| at.to_string()));
        value["until"] = serde_json::json!(place.until.map(|at| at.to_string()));
        value["times"] = place.times.into();
    } else if let Some(by) = shown.corrected_by {
        let (standing, because) = export::standing(Standing::Corrected(by), None);
        value["standing"] = standing.into();
        value["because_of"] = serde_json::json!(because);
    }
    Some(value)
}

fn hit(hit: &Hit) -> serde_json::Value {
    let trace: serde_json::Map<String, serde_json::Value> = hit
        .trace
        .0
        .iter()
        .map(|(arm, value)| (arm.as_str().to_owned(), serde_json::json!(value)))
        .collect();
    serde_json::json!({
        "id": hit.id,
        "kind": match hit.id {
            MemoryId::Episode(_) => "episode",
            MemoryId::Fact(_) => "fact",
            MemoryId::Correction(_) => "correction",
        },
        "text": hit.text,
        "speaker": hit.speaker,
        "role": hit.role.as_str(),
        "said_at": hit.said_at.to_string(),
        "app": hit.app,
        "thread": hit.thread,
        "categories": hit.categories,
        "confidence": hit.confidence,
        "standing": hit.place.map(|place| export::standing(place.standing, place.ended_by).0),
        "evidence": hit.evidence.iter().map(cited).collect::<Vec<_>>(),
        "receipt": hit.receipt,
        "score": hit.score,
        "trace": trace,
        "tokens": hit.tokens,
        "duplicates": hit.duplicates,
    })
}

fn cited(one: &Cited) -> serde_json::Value {
    serde_json::json!({
        "episode": one.episode, "start": one.start, "end": one.end, "words": one.words,
        "speaker": one.speaker, "said_at": one.said_at.map(|at| at.to_string()), "app": one.app,
    })
}

pub(crate) fn day(moment: tally_memory::Moment) -> String {
    let mut text = moment.to_string();
    text.truncate(10);
    text
}

pub(crate) fn short(id: &MemoryId) -> String {
    let mut text = id.to_string();
    text.truncate(12);
    text
}
