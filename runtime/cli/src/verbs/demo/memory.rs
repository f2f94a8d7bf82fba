//! The demo's memory: what a person says is kept in the vault and learnt from, by the calls that `tally memory add` makes, with the
//! model that the demo answers with. Then it is asked, and one fact is checked from its words to its receipt.
//!
//! A model proposes and gates decide, so nobody knows beforehand what will be learnt: the step shows what was, and if it was
//! nothing it shows that. Only a fact that does not verify ends the demo.

use std::sync::{Arc, Mutex};

use tally_inference::ModelRecord;
use tally_memory::profile::Entry;
use tally_memory::verify::Trust as Believed;
use tally_memory::{
    Category, ChatModel, Fact, Memory, MemoryId, Moment, Options, Recalled, Role, Search,
    SharedEmbedder, Turn,
};
use tally_receipt::{Policy, Verdict};
use tally_vault::{Key, Place};
use tokio::runtime::Handle;

use crate::embedder::{LocalEmbedder, chosen};
use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::memories::{self, LocalChat};
use crate::setup::{self, Live};
use crate::trust::Trust;
use crate::ui::printable;
use crate::vaults;
use crate::verbs::memory::{add, look};
use crate::verbs::verify::check_line;

/// The person's own app, which may read, add to and change the memory.
pub(super) const NOTEBOOK: &str = "notebook";

/// What the person tells it, and how many days ago. The last one takes the place of the first.
const SAID: [(i64, &str); 5] = [
    (730, "I live in Lyon."),
    (30, "I'm Marta, I run a tiny bakery in Porto"),
    (2, "My sister Lena is allergic to peanuts."),
    (1, "What could I bake on a rainy Sunday?"),
    (0, "I live in Porto now."),
];

/// What is asked where words have to be the same.
const ASKED: &str = "Who is allergic to peanuts?";
/// What is asked where a model knows what words mean.
const ASKED_OTHERWISE: &str = "What must nobody cook for my sister?";

/// Most lines of the profile and most memories found that are shown.
const PROFILE_LINES: usize = 6;
const HITS: usize = 2;

/// Why words have to be the same on a machine without an embedding model, and how they no longer have to.
const NO_EMBEDDING_MODEL: &str =
    "this machine has no embedding model; to search in other words, too:
    make models && tally model add ~/.cache/tally/models/tally-recall.q8_0.gguf";

/// What the memory is searched by.
enum SearchedBy {
    /// Words and an embedding model of this machine, by its name.
    Meaning(String),
    /// Words alone, and why.
    Words(String),
}

/// Something that was said, and the facts that rest on it.
struct Said {
    at: Moment,
    app: String,
    text: String,
    facts: Vec<(MemoryId, Fact)>,
}

/// A fact whose place another took.
struct Superseded {
    fact: MemoryId,
    text: String,
    from: Option<Moment>,
    until: Option<Moment>,
    by: MemoryId,
    by_text: String,
}

/// What the step showed.
pub(super) struct Shown {
    by: SearchedBy,
    said: Vec<Said>,
    /// Why proposals were not taken: the gates' names.
    refused: Vec<&'static str>,
    superseded: Option<Superseded>,
    profile: Vec<(Category, Entry)>,
    question: &'static str,
    found: Recalled,
    verified: Option<(MemoryId, Verdict)>,
}

/// The embedding model of the demo, or why words are all that is searched by.
pub(super) type Embedding = Result<ModelRecord, String>;

/// The embedding model that is asked for, else the one of this machine; see [`chosen`].
pub(super) async fn embedding(home: &Home, asked: Option<&str>) -> Result<Embedding, Failure> {
    match (chosen(&setup::store(home).await?, asked).await, asked) {
        (Ok(Some(record)), _) => Ok(Ok(record)),
        (Ok(None), None) => Ok(Err(NO_EMBEDDING_MODEL.to_owned())),
        (Ok(None), Some(_)) => Ok(Err(setup::no_embedding_model(asked).to_owned())),
        // Several and no default; the message says how to choose one.
        (Err(failure), None) if !failure.is_environment() => Ok(Err(failure.message().to_owned())),
        (Err(failure), _) => Err(failure),
    }
}

/// Tells the memory in `place` what there is to tell, learns with `model`, and asks.
pub(super) async fn step(
    place: &Place,
    live: &Live,
    model: &str,
    embedding: &Embedding,
) -> Result<Shown, Failure> {
    let (service, handle) = (live.models.service.clone(), Handle::current());
    let (by, embedder) = match embedding {
        Ok(record) => {
            let embedder = LocalEmbedder::new(service.clone(), record, handle.clone());
            (
                SearchedBy::Meaning(record.name.to_string()),
                Some(Arc::new(embedder) as SharedEmbedder),
            )
        }
        Err(why) => (SearchedBy::Words(why.clone()), None),
    };
    let chat = LocalChat::new(service, model, handle);
    let (policy, _) = Trust::default().policy()?;
    let key = vaults::agent_identity(NOTEBOOK, &vaults::vault_id(place)?)?;
    let vault = vaults::open(place, Key::Member(key), true, false)?;
    let work = move || {
        let vault = Arc::new(Mutex::new(vault));
        let mut memory = Memory::open_with(vault, vaults::MEMORY, Options::default(), embedder)
            .map_err(memories::loading)?;
        let refused = tell(&mut memory, &chat, memories::now()?)?;
        show(&memory, by, refused, policy.as_ref(), memories::now()?)
    };
    // Memory waits on models.
    let shown = tokio::task::spawn_blocking(work)
        .await
        .or_environment("wait for the thread that remembers")??;
    match &shown.verified {
        Some((id, verdict)) if !verdict.is_verified() => Err(Failure::no(format_args!(
            "the fact {}, just learnt, does not verify:\n{}",
            look::short(id),
            printable(&verdict.to_string())
        ))),
        _ => Ok(shown),
    }
}

/// Learns from what is there already, then says one thing after the other and learns from each before the next. Gives the names of
/// what stopped proposals.
fn tell(
    memory: &mut Memory,
    chat: &dyn ChatModel,
    now: Moment,
) -> Result<Vec<&'static str>, Failure> {
    let mut learnt = vec![add::learning(memory, chat, now, usize::MAX)?];
    for (days, text) in SAID {
        let turn = Turn {
            app: NOTEBOOK.to_owned(),
            thread: String::new(),
            key: None,
            role: Role::Owner,
            speaker: "me".to_owned(),
            at: Some(now.plus_days(-days)),
            text: text.to_owned(),
        };
        memory.remember(&[turn]).map_err(add::remembering)?;
        learnt.push(add::learning(memory, chat, now, usize::MAX)?);
    }
    // Facts are searched by their vectors too.
    memory.embed_missing(|_, _| ()).map_err(add::remembering)?;
    let refused = learnt.iter().flat_map(|one| {
        let gates = one.refused.iter().map(|proposal| proposal.gate.as_str());
        gates.chain(std::iter::repeat_n("unreadable", one.unreadable))
    });
    Ok(refused.collect())
}

/// Looks at what the memory holds, asks it, and checks a fact.
fn show(
    memory: &Memory,
    by: SearchedBy,
    refused: Vec<&'static str>,
    policy: Option<&Policy>,
    now: Moment,
) -> Result<Shown, Failure> {
    let facts: Vec<(MemoryId, tally_memory::Shown)> = memory
        .facts()
        .into_iter()
        .filter_map(|id| Some((id, memory.show(&id)?)))
        .collect();
    let said = memory
        .episodes()
        .into_iter()
        .filter_map(|id| {
            let (episode, at) = memory.episode(&id)?;
            let rest_on_it = facts
                .iter()
                .filter(|(_, shown)| shown.evidence.iter().any(|one| one.episode == id));
            Some(Said {
                at,
                app: episode.app.clone(),
                text: episode.text.clone(),
                facts: rest_on_it
                    .map(|(id, shown)| (*id, shown.fact.clone()))
                    .collect(),
            })
        })
        .collect();
    let superseded = facts.iter().find_map(|(id, shown)| {
        let place = shown.place?;
        let by = place.ended_by?;
        Some(Superseded {
            fact: *id,
            text: shown.fact.text.clone(),
            from: place.from,
            until: place.until,
            by,
            by_text: memory.show(&by)?.fact.text,
        })
    });
    let profile = memory
        .profile(now)
        .categories
        .into_iter()
        .flat_map(|(category, entries)| entries.into_iter().map(move |entry| (category, entry)))
        .take(PROFILE_LINES)
        .collect();
    let question = match by {
        SearchedBy::Meaning(_) => ASKED_OTHERWISE,
        SearchedBy::Words(_) => ASKED,
    };
    let search = Search {
        hits: Some(HITS),
        ..Search::new(question)
    };
    let found = memory.recall(&search, now).map_err(look::recalling)?;
    // The fact that holds now is the one to prove; else the last that was learnt.
    let proved = match (&superseded, facts.last()) {
        (Some(superseded), _) => Some(superseded.by),
        (None, last) => last.map(|(id, _)| *id),
    };
    let trust = Believed {
        now,
        policy,
        weights: None,
    };
    let verified = match proved {
        Some(id) => Some((id, memory.verify(&id, &trust).map_err(Failure::no)?)),
        None => None,
    };
    Ok(Shown {
        by,
        said,
        refused,
        superseded,
        profile,
        question,
        found,
        verified,
    })
}

impl Shown {
    /// What a person reads of it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for one in &self.said {
            lines.push(format!(
                "   {}, told to {}: “{}”",
                look::day(one.at),
                printable(&one.app),
                printable(&one.text)
            ));
            for (id, fact) in &one.facts {
                lines.push(format!(
                    "      {}  {}, {}: {}",
                    look::short(id),
                    about(fact),
                    categories(fact),
                    printable(&fact.text)
                ));
            }
            if one.facts.is_empty() {
                lines.push("      nothing was learnt".to_owned());
            }
        }
        if !self.refused.is_empty() {
            lines.push(format!(
                "   proposals that were not taken, and why: {}",
                self.refused.join(", ")
            ));
        }
        lines.push(match &self.superseded {
            Some(one) => format!(
                "   “{}” held from {} to {}: “{}” took its place",
                printable(&one.text),
                one.from.map_or("?".to_owned(), look::day),
                one.until.map_or("?".to_owned(), look::day),
                printable(&one.by_text)
            ),
            None => "   no fact took the place of another".to_owned(),
        });
        lines.push("\n   the profile, each line with who said it, when, and its fact:".to_owned());
        for (category, entry) in &self.profile {
            lines.push(format!(
                "      {:<13}  {}",
                category.as_str(),
                look::line(entry)
            ));
        }
        if self.profile.is_empty() {
            lines.push("      nothing is known".to_owned());
        }
        lines.extend(self.search_lines());
        if let Some((id, verdict)) = &self.verified {
            lines.push(format!(
                "\n   {} again, offline, from its words to its receipt:",
                look::short(id)
            ));
            lines.extend(
                verdict
                    .checks()
                    .iter()
                    .map(|check| format!("   {}", check_line(check))),
            );
        }
        lines
    }

    fn search_lines(&self) -> Vec<String> {
        let mut lines = vec![match &self.by {
            SearchedBy::Meaning(model) => format!(
                "\n   asked “{}”, searched by words and with the embedding model {model}:",
                self.question
            ),
            SearchedBy::Words(_) => {
                format!("\n   asked “{}”, searched by words alone:", self.question)
            }
        }];
        for hit in &self.found.hits {
            lines.push(format!(
                "      {}  {}: {}",
                kind(&hit.id),
                printable(&hit.speaker),
                printable(&hit.text)
            ));
        }
        if self.found.hits.is_empty() {
            lines.push("      nothing was found".to_owned());
        } else if self.found.abstention.advised {
            lines.push("      (these may not answer it)".to_owned());
        }
        if let SearchedBy::Words(because) = &self.by {
            lines.push(format!("   ({because})"));
        }
        lines
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let facts = self.said.iter().flat_map(|one| {
            one.facts.iter().map(move |(id, fact)| {
                serde_json::json!({
                    "id": id, "about": fact.subject, "categories": fact.categories, "text": fact.text,
                    "said": one.text, "said_at": one.at.to_string(), "app": one.app,
                })
            })
        });
        let found = self.found.hits.iter().map(|hit| {
            serde_json::json!({ "id": hit.id, "kind": kind(&hit.id), "speaker": hit.speaker, "text": hit.text })
        });
        let profile = self
            .profile
            .iter()
            .map(|(category, entry)| serde_json::json!({ "category": category, "entry": entry }));
        serde_json::json!({
            "said": self.said.iter().map(|one| &one.text).collect::<Vec<_>>(),
            "facts": facts.collect::<Vec<_>>(),
            "refused": self.refused,
            "superseded": self.superseded.as_ref().map(|one| serde_json::json!({
                "id": one.fact, "text": one.text, "by": one.by, "by_text": one.by_text,
                "from": one.from.map(|at| at.to_string()), "until": one.until.map(|at| at.to_string()),
            })),
            "profile": profile.collect::<Vec<_>>(),
            "embedding": match &self.by {
                SearchedBy::Meaning(model) => Some(model),
                SearchedBy::Words(_) => None,
            },
            "question": self.question,
            "found": found.collect::<Vec<_>>(),
            "verified": self.verified.as_ref().map(|(id, verdict)| serde_json::json!({
                "id": id, "verified": verdict.is_verified(), "checks": verdict.checks(),
            })),
        })
    }
}

fn about(fact: &Fact) -> String {
    match fact.subject.as_str() {
        "user" => "about me".to_owned(),
        other => format!("about {}", printable(other)),
    }
}

fn categories(fact: &Fact) -> String {
    let names: Vec<&str> = fact.categories.iter().map(|one| one.as_str()).collect();
    names.join(", ")
}

fn kind(id: &MemoryId) -> &'static str {
    match id {
        MemoryId::Episode(_) => "said",
        MemoryId::Fact(_) | MemoryId::Correction(_) => "fact",
    }
}

#[cfg(test)]
mod tests {
    use tally_memory::{Answer, Ask, Dialect, ModelError};

    use super::*;
    use crate::verbs::demo::vault;

    /// Proposes every line that it is shown, whole, or nothing.
    struct Proposes {
        lines: bool,
    }

    impl ChatModel for Proposes {
        fn name(&self) -> &str {
            "test"
        }

        fn dialect(&self) -> Dialect {
            Dialect::Nano
        }

        fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
            let lines = ask.messages.last().map_or("", |one| one.content.as_str());
            let facts: Vec<serde_json::Value> = lines
                .lines()
                .filter(|_| self.lines)
                .filter_map(|line| line.split_once(": "))
                .map(|(speaker, words)| {
                    serde_json::json!({
                        "basis": words, "category": "identity", "kind": "semantic", "subject": speaker,
                    })
                })
                .collect();
            Ok(Answer {
                text: serde_json::json!({ "facts": facts }).to_string(),
                model: "test".to_owned(),
                prompt_tokens: 0,
                output_tokens: 0,
                took_ms: 0,
                is_cut: false,
                receipt: None,
            })
        }
    }

    fn shown(chat: &dyn ChatModel) -> Shown {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let place = Place {
            folder: folder.path().join("vault"),
            local: folder.path().join("local"),
        };
        let vault = Arc::new(Mutex::new(vault::create(&place).expect("a vault is made")));
        let mut memory =
            Memory::open(vault, vaults::MEMORY, Options::default()).expect("it is there");
        let now = Moment::from_unix_ms(1_795_000_000_000).expect("in the calendar");
        let refused = tell(&mut memory, chat, now).expect("it is told");
        let by = SearchedBy::Words("for a test".to_owned());
        show(&memory, by, refused, None, now).expect("it is shown")
    }

    #[test]
    fn a_later_statement_takes_the_place_of_an_earlier_and_a_question_is_no_fact() {
        let shown = shown(&Proposes { lines: true });
        let superseded = shown.superseded.as_ref().expect("somebody moved");
        assert_eq!(
            (superseded.text.as_str(), superseded.by_text.as_str()),
            ("I live in Lyon", "I live in Porto now")
        );
        let profile: Vec<&str> = shown
            .profile
            .iter()
            .map(|(_, entry)| entry.text.as_str())
            .collect();
        assert!(profile.contains(&"I live in Porto now"), "{profile:?}");
        assert!(!profile.contains(&"I live in Lyon"), "{profile:?}");
        assert_eq!(shown.refused, ["question"]);
        let (proved, verdict) = shown.verified.as_ref().expect("there are facts");
        assert_eq!(*proved, superseded.by);
        assert!(
            !verdict.is_verified() && !verdict.has_failed(),
            "this model gives no receipts: {verdict}"
        );
        let lines = shown.lines().join("\n");
        assert!(lines.contains("(for a test)"), "{lines}");
        assert!(
            lines.contains("“I live in Lyon” held from 2024-11-18 to 2026-11-18"),
            "{lines}"
        );
    }

    #[test]
    fn a_model_that_finds_nothing_to_learn_ends_nothing() {
        let shown = shown(&Proposes { lines: false });
        assert!(shown.superseded.is_none() && shown.verified.is_none());
        assert!(shown.profile.is_empty());
        let lines = shown.lines().join("\n");
        assert_eq!(
            lines.matches("nothing was learnt").count(),
            SAID.len(),
            "{lines}"
        );
        // What was said is kept and found all the same.
        assert!(
            lines.contains("said  me: My sister Lena is allergic to peanuts."),
            "{lines}"
        );
    }
}
