//! Conversations in the shape of LoCoMo.
//!
//! ```text
//! [ { "sample_id": name,
//!     "conversation": { "session_1": [ { "speaker", "dia_id": "D1:1", "text", "blip_caption"? } … ],
//!                       "session_1_date_time": "1:56 pm on 8 May, 2023", … },
//!     "qa": [ { "question", "evidence": ["D1:3" …], "category": 1 … 5 } … ],
//!     "observation"?: { "session_1_observation": { SPEAKER: [ [ statement, "D1:3" or ["D1:3" …] ] … ] … } … } } … ]
//! ```
//!
//! Observations are statements about a speaker which a chat model drew from turns when the dataset was made.
//!
//! Other members are ignored. Evidence is read by its pattern, since some strings hold several ids, ids with leading zeros
//! or none; an id that names no turn is left out, and so is a question whose evidence is empty afterwards.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use time::{Date, Month};

use crate::document::{Document, DocumentId, Kind, Moment};

/// Most bytes of a dataset.
const MAX_BYTES: usize = 256 << 20;

/// What a question needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// 1: several turns.
    MultiHop,
    /// 2: when something was.
    Temporal,
    /// 3: what the world knows, beside what was said.
    OpenDomain,
    /// 4: one turn.
    SingleHop,
    /// 5: what was never said. Its evidence is what it was distorted from.
    Adversarial,
}

impl Category {
    /// All, in the dataset's order.
    pub const ALL: [Self; 5] = [
        Self::MultiHop,
        Self::Temporal,
        Self::OpenDomain,
        Self::SingleHop,
        Self::Adversarial,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MultiHop => "multi-hop",
            Self::Temporal => "temporal",
            Self::OpenDomain => "open-domain",
            Self::SingleHop => "single-hop",
            Self::Adversarial => "adversarial",
        }
    }
}

/// One question with its evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// As asked.
    pub text: String,
    /// What it needs.
    pub category: Category,
    /// The turns that hold the answer; never empty.
    pub evidence: Vec<DocumentId>,
}

/// One conversation with its questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// `sample_id`.
    pub name: String,
    /// Its turns in order.
    pub turns: Vec<Document>,
    /// Its observations as facts, whose evidence is the turns they were drawn from; those that name no turn are left out.
    pub observations: Vec<Document>,
    /// Its questions in order.
    pub questions: Vec<Question>,
    /// Questions without evidence, which are not among `questions`.
    pub left_out: usize,
}

impl Conversation {
    /// A day after the last turn: when the questions are asked.
    #[must_use]
    pub fn asked_at(&self) -> Moment {
        let last = self
            .turns
            .iter()
            .map(|turn| turn.observed_at.0)
            .max()
            .unwrap_or(0);
        Moment(last.saturating_add(86_400))
    }

    /// All of them as one memory, as of somebody who was told all of it: what a search must tell apart once it is large.
    #[must_use]
    pub fn together(all: Vec<Self>) -> Self {
        let mut one = Self {
            name: "together".to_owned(),
            turns: Vec::new(),
            observations: Vec::new(),
            questions: Vec::new(),
            left_out: 0,
        };
        for conversation in all {
            one.turns.extend(conversation.turns);
            one.observations.extend(conversation.observations);
            one.questions.extend(conversation.questions);
            one.left_out += conversation.left_out;
        }
        one
    }
}

/// Why a file is no dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// Longer than any.
    #[error("read the dataset: {0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
    /// Not of the shape.
    #[error("read the dataset: {0}")]
    Json(#[from] serde_json::Error),
    /// A member that does not mean anything.
    #[error("read the dataset: {conversation}: {reason}")]
    Conversation {
        /// `sample_id`.
        conversation: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Sample {
    sample_id: String,
    conversation: BTreeMap<String, Value>,
    qa: Vec<Asked>,
    #[serde(default)]
    observation: Value,
}

/// A statement, and the turns it was drawn from.
#[derive(Deserialize)]
struct Observed(String, Evidence);

#[derive(Deserialize)]
#[serde(untagged)]
enum Evidence {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Asked {
    question: String,
    #[serde(default)]
    evidence: Vec<String>,
    category: u8,
}

#[derive(Deserialize)]
struct Said {
    speaker: String,
    dia_id: String,
    text: String,
    #[serde(default)]
    blip_caption: Option<String>,
}

/// Reads a dataset.
///
/// # Errors
///
/// [`DatasetError`] names the conversation, where the fault is inside one.
pub fn parse(bytes: &[u8]) -> Result<Vec<Conversation>, DatasetError> {
    if bytes.len() > MAX_BYTES {
        return Err(DatasetError::TooLong(bytes.len()));
    }
    let samples: Vec<Sample> = serde_json::from_slice(bytes)?;
    (0u32..)
        .zip(samples)
        .map(|(number, sample)| conversation(number, sample))
        .collect()
}

fn conversation(number: u32, sample: Sample) -> Result<Conversation, DatasetError> {
    let fault = |reason: String| DatasetError::Conversation {
        conversation: sample.sample_id.clone(),
        reason,
    };
    let mut sessions: Vec<(u32, Vec<Said>)> = Vec::new();
    for (key, value) in &sample.conversation {
        let Some(session) = key
            .strip_prefix("session_")
            .and_then(|rest| rest.parse().ok())
        else {
            continue;
        };
        let said =
            Vec::<Said>::deserialize(value).map_err(|error| fault(format!("{key}: {error}")))?;
        sessions.push((session, said));
    }
    sessions.sort_by_key(|(session, _)| *session);
    let mut turns = Vec::new();
    let mut names: BTreeMap<(u32, u32), DocumentId> = BTreeMap::new();
    for (session, said) in sessions {
        let key = format!("session_{session}_date_time");
        let observed_at = sample
            .conversation
            .get(&key)
            .and_then(Value::as_str)
            .and_then(moment)
            .ok_or_else(|| {
                fault(format!(
                    "{key} is missing or not like \"1:56 pm on 8 May, 2023\""
                ))
            })?;
        for (position, said) in (0u32..).zip(said) {
            let id = id(number, turns.len());
            if let Some(name) = turn_ids(&said.dia_id).next() {
                names.insert(name, id);
            }
            turns.push(Document {
                context: said.blip_caption.unwrap_or_default(),
                speaker: Some(said.speaker),
                session: Some(format!("{}/{session}", sample.sample_id)),
                position,
                observed_at,
                ..Document::new(id, Kind::Episode, said.text)
            });
        }
    }
    // A help for one measurement: what is of another shape is as if there were none.
    let observed = BTreeMap::deserialize(sample.observation).unwrap_or_default();
    let observations = observations(number, &turns, &names, observed);
    let mut questions = Vec::new();
    let asked = sample.qa.len();
    for Asked {
        question,
        evidence,
        category,
    } in sample.qa
    {
        let category = usize::from(category)
            .checked_sub(1)
            .and_then(|at| Category::ALL.get(at))
            .ok_or_else(|| DatasetError::Conversation {
                conversation: sample.sample_id.clone(),
                reason: format!("category {category} is none of 1 to 5"),
            })?;
        let mut ids: Vec<DocumentId> = Vec::new();
        for id in evidence
            .iter()
            .flat_map(|text| turn_ids(text))
            .filter_map(|name| names.get(&name))
        {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        if !ids.is_empty() {
            questions.push(Question {
                text: question,
                category: *category,
                evidence: ids,
            });
        }
    }
    Ok(Conversation {
        name: sample.sample_id,
        turns,
        observations,
        left_out: asked - questions.len(),
        questions,
    })
}

fn observations(
    number: u32,
    turns: &[Document],
    names: &BTreeMap<(u32, u32), DocumentId>,
    observed: BTreeMap<String, BTreeMap<String, Vec<Observed>>>,
) -> Vec<Document> {
    let mut facts: Vec<Document> = Vec::new();
    let said = observed.into_values().flatten();
    for (speaker, Observed(statement, from)) in
        said.flat_map(|(speaker, all)| all.into_iter().map(move |one| (speaker.clone(), one)))
    {
        let from = match from {
            Evidence::One(one) => vec![one],
            Evidence::Several(several) => several,
        };
        let mut evidence: Vec<DocumentId> = from
            .iter()
            .flat_map(|text| turn_ids(text))
            .filter_map(|name| names.get(&name).copied())
            .collect();
        evidence.sort_unstable();
        evidence.dedup();
        let observed_at = turns
            .iter()
            .filter(|turn| evidence.contains(&turn.id))
            .map(|turn| turn.observed_at)
            .max();
        if let Some(observed_at) = observed_at {
            // Behind the turns.
            let id = id(number, turns.len() + facts.len());
            facts.push(Document {
                speaker: Some(speaker),
                observed_at,
                evidence,
                ..Document::new(id, Kind::Fact, statement)
            });
        }
    }
    facts
}

/// Unique among the turns and observations of a dataset.
fn id(conversation: u32, turn: usize) -> DocumentId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&conversation.to_be_bytes());
    id[4..12].copy_from_slice(&(turn as u64).to_be_bytes());
    DocumentId(id)
}

/// The turns that a text names, each as session and turn: `D8:6; D9:17` names two.
fn turn_ids(text: &str) -> impl Iterator<Item = (u32, u32)> {
    text.split('D').skip(1).filter_map(|rest| {
        let (session, rest) = rest.trim_start_matches(':').split_once(':')?;
        let turn: &str = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
        Some((session.parse().ok()?, turn.parse().ok()?))
    })
}

/// `1:56 pm on 8 May, 2023`.
fn moment(text: &str) -> Option<Moment> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [clock, half, "on", day, month, year] = words[..] else {
        return None;
    };
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
    let noon = match half.to_lowercase().as_str() {
        "am" => 0,
        "pm" => 12,
        _ => return None,
    };
    if !(1..=12).contains(&hour) || !(0..60).contains(&minute) {
        return None;
    }
    let month: Month = month.trim_end_matches(',').parse().ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    let days = date.to_julian_day() - crate::text::time::EPOCH;
    Some(Moment(
        i64::from(days) * 86_400 + (hour % 12 + noon) * 3600 + minute * 60,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_evidence_is_read_by_its_pattern() {
        let ids = |text: &str| turn_ids(text).collect::<Vec<_>>();
        assert_eq!(ids("D8:6; D9:17"), [(8, 6), (9, 17)]);
        assert_eq!(ids("D:11:26"), [(11, 26)]);
        assert_eq!(ids("D30:05"), [(30, 5)]);
        assert_eq!(ids("D"), []);
        assert_eq!(ids("D1:2 D3"), [(1, 2)]);
    }

    #[test]
    fn dates_are_read_as_the_dataset_writes_them() {
        assert_eq!(
            moment("1:56 pm on 8 May, 2023"),
            Some(Moment(1_683_554_160))
        );
        assert_eq!(moment("12:05 am on 1 January, 1970"), Some(Moment(300)));
        assert_eq!(moment("13:05 am on 1 January, 1970"), None);
        assert_eq!(moment("yesterday"), None);
    }

    #[test]
    fn a_dataset_is_turns_in_order_and_questions_with_evidence() {
        let text = r#"[{"sample_id":"c","conversation":{
            "session_2":[{"speaker":"B","dia_id":"D2:1","text":"two"}], "session_2_date_time":"1:00 am on 2 May, 2023",
            "session_1":[{"speaker":"A","dia_id":"D1:1","text":"one","blip_caption":"a photo"}],
            "session_1_date_time":"1:00 am on 1 May, 2023"},
            "qa":[{"question":"Which?","evidence":["D2:1","D9:9"],"category":4},
                  {"question":"None?","evidence":["D"],"category":3,"answer":7}]}]"#;
        let read = parse(text.as_bytes()).expect("well formed");
        let conversation = &read[0];
        assert_eq!(
            conversation
                .turns
                .iter()
                .map(|t| t.text.as_str())
                .collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert_eq!(conversation.turns[0].context, "a photo");
        assert_eq!(conversation.questions.len(), 1);
        assert_eq!(
            conversation.questions[0].evidence,
            [conversation.turns[1].id]
        );
        assert_eq!(conversation.left_out, 1);
    }

    #[test]
    fn conversations_together_keep_their_turns_apart() {
        let one = |name: &str| {
            format!(
                r#"{{"sample_id":"{name}","conversation":{{
                "session_1":[{{"speaker":"A","dia_id":"D1:1","text":"{name}"}}],"session_1_date_time":"1:00 am on 1 May, 2023"}},
                "qa":[{{"question":"Which?","evidence":["D1:1"],"category":4}}]}}"#
            )
        };
        let text = format!("[{},{}]", one("c"), one("d"));
        let one = Conversation::together(parse(text.as_bytes()).expect("well formed"));
        let answers: Vec<&str> = one
            .questions
            .iter()
            .flat_map(|question| &question.evidence)
            .flat_map(|id| one.turns.iter().filter(move |turn| turn.id == *id))
            .map(|turn| turn.text.as_str())
            .collect();
        assert_eq!(answers, ["c", "d"]);
        assert_ne!(one.turns[0].session, one.turns[1].session);
    }

    #[test]
    fn observations_are_facts_with_the_turns_they_name() {
        let text = r#"[{"sample_id":"c","conversation":{
            "session_1":[{"speaker":"A","dia_id":"D1:1","text":"one"},{"speaker":"A","dia_id":"D1:2","text":"two"}],
            "session_1_date_time":"1:00 am on 1 May, 2023"}, "qa":[],
            "observation":{"session_1_observation":{"A":[["A says one.","D1:1"],["A counts.",["D1:1","D1:2"]],["?","D9:1"]]}}}]"#;
        let read = parse(text.as_bytes()).expect("well formed");
        let (turns, facts) = (&read[0].turns, &read[0].observations);
        assert_eq!(facts.len(), 2);
        assert_eq!(facts[0].evidence, [turns[0].id]);
        assert_eq!(facts[1].evidence, [turns[0].id, turns[1].id]);
        assert_eq!(facts[1].speaker.as_deref(), Some("A"));
        let mut ids: Vec<_> = turns.iter().chain(facts).map(|one| one.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 4);
    }

    #[test]
    fn a_category_that_does_not_exist_is_named() {
        let text = r#"[{"sample_id":"c","conversation":{},"qa":[{"question":"?","evidence":[],"category":6}]}]"#;
        let error = parse(text.as_bytes())
            .expect_err("no such category")
            .to_string();
        assert!(error.contains('6') && error.contains("c:"), "{error}");
    }
}
