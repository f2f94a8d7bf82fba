//! What memory writes into a vault: one record type per kind, JSON with one spelling. `docs/memory.md` is the format.
//!
//! Fields stand in the order of the structs below, without white space, none left out; what has no value is `null`. But
//! [`Call::gates`], which came later, is left out where it has none. A reader refuses every other spelling, so a record's hash names
//! its meaning. Numbers are integers.
//!
//! Invariants:
//!
//! * An episode and a fact are never changed. What became of them is in other records, or follows from time.
//! * An id is the hash of the record's bytes ([`crate::EpisodeId`] and its like).
//! * Whatever a reader takes was within the limits of this file.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tally_vault::format::{MemberId, OpId, RunId};

use crate::ids::{CallId, EpisodeId, FactId, RemarkId, SpanHash};
use crate::moment::Moment;
use crate::secrets::Identifiers;

/// Most bytes of an episode's text. Longer turns come in parts.
pub const TEXT_MAX: usize = 16 << 10;
/// Most bytes of a name: a speaker, an app, a thread, a key, a subject.
pub const NAME_MAX: usize = 256;
/// Most bytes of a fact's text, and of a correction's.
pub const FACT_MAX: usize = 1 << 10;
/// Most entities, pieces of evidence or links of a fact.
pub const LIST_MAX: usize = 64;
/// Most bytes of a call's answer.
pub const ANSWER_MAX: usize = 1 << 20;
/// Most bytes of any record.
pub const RECORD_MAX: usize = 32 << 20;
/// The number of the gates that judged where a call's record names none.
const FIRST_GATES: u32 = 1;

/// Where a memory lies in the vault, and who put it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The operation that wrote it first.
    pub operation: OpId,
    /// The member of the vault who signed that.
    pub author: MemberId,
    /// The run that wrote it, if one did.
    pub run: Option<RunId>,
}

/// Whose words a turn holds, which decides what may be learnt from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The person whose memory this is.
    Owner,
    /// Another person.
    Person,
    /// A model.
    Assistant,
    /// The answer of a tool.
    Tool,
    /// A file, a page, a mail: anything that was read rather than said.
    Document,
}

impl Role {
    /// Its name in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Person => "person",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Document => "document",
        }
    }

    /// Whether facts are learnt from it: people say what is so about themselves; models, tools and documents do not.
    #[must_use]
    pub const fn is_person(self) -> bool {
        matches!(self, Self::Owner | Self::Person)
    }
}

/// `tally.episode/1`: a turn as it was said, or a part of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// The app it comes from.
    pub app: String,
    /// The conversation or document within the app; may be empty.
    pub thread: String,
    /// The app's own name for the turn, where it has one.
    pub key: Option<String>,
    /// Which of several turns of one conversation that are equal in everything else, from zero.
    pub repeat: u32,
    /// Which part of a long text, from zero.
    pub part: u32,
    /// Whose words they are.
    pub role: Role,
    /// What the speaker is called.
    pub speaker: String,
    /// When it was said, where that is known.
    pub at: Option<Moment>,
    /// The words.
    pub text: String,
}

/// What lasts, and what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Lasting.
    Semantic,
    /// Bound to a time.
    Episodic,
}

/// The ten categories of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Category {
    Identity,
    Career,
    Interests,
    Relationships,
    Health,
    Finance,
    Learning,
    Travel,
    Productivity,
    Private,
}

impl Category {
    /// All of them, in the order of the profile.
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::Career,
        Self::Interests,
        Self::Relationships,
        Self::Health,
        Self::Finance,
        Self::Learning,
        Self::Travel,
        Self::Productivity,
        Self::Private,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Career => "career",
            Self::Interests => "interests",
            Self::Relationships => "relationships",
            Self::Health => "health",
            Self::Finance => "finance",
            Self::Learning => "learning",
            Self::Travel => "travel",
            Self::Productivity => "productivity",
            Self::Private => "private",
        }
    }
}

impl std::str::FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(text: &str) -> Result<Self, UnknownCategory> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == text)
            .ok_or(UnknownCategory)
    }
}

/// A word that is none of the ten categories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the categories are identity, career, interests, relationships, health, finance, learning, travel, productivity and private"
)]
pub struct UnknownCategory;

/// How something was said. Hypotheticals and questions are never stored as facts; the gates name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Modality {
    /// As a fact.
    Asserted,
    /// As something to come.
    Plan,
    /// As what would be if.
    Hypothetical,
    /// As what is not so.
    Negated,
    /// As what somebody wants to know.
    Question,
}

impl Modality {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asserted => "asserted",
            Self::Plan => "plan",
            Self::Hypothetical => "hypothetical",
            Self::Negated => "negated",
            Self::Question => "question",
        }
    }
}

/// How exactly a fact's beginning is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words are the documentation")]
pub enum Precision {
    Day,
    Week,
    Month,
    Year,
}

/// A question that has one answer at a time, and the answer: where somebody lives, and Ghent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    /// The question, such as `lives-in`.
    pub name: String,
    /// The answer, as it was said.
    pub value: String,
}

/// The words that a fact rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Where they were said.
    pub episode: EpisodeId,
    /// The first byte of the episode's text.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
    /// The hash of these bytes.
    pub words: SpanHash,
}

/// What a model, or a rule, said of two facts. Which of them holds when is decided by time, in `timeline.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// They say the same.
    Same,
    /// One brings the other up to date.
    Updates,
    /// Both cannot hold at once.
    Contradicts,
}

/// A label that ties a fact to one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The other fact.
    pub to: FactId,
    /// What they are to each other.
    pub label: Label,
}

/// `tally.fact/1`: something that was learnt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// What it says.
    pub text: String,
    /// Whom or what it is about: `user` for the owner, else a name.
    pub subject: String,
    /// Whether it lasts.
    pub kind: Kind,
    /// Ascending, at least one.
    pub categories: Vec<Category>,
    /// How it was said.
    pub modality: Modality,
    /// Names in it, ascending, each once.
    pub entities: Vec<String>,
    /// Who said it.
    pub said_by: String,
    /// Whether the owner said it, or another person.
    pub said_as: Role,
    /// When it was said.
    pub observed: Moment,
    /// From when on it holds, where it says so.
    pub from: Option<Moment>,
    /// How exactly that is known.
    pub precision: Option<Precision>,
    /// The first moment at which it does not hold any more, where it says so.
    pub until: Option<Moment>,
    /// The question with one answer at a time that it answers, if it does.
    pub slot: Option<Slot>,
    /// In thousandths: how far the gates and the model's answer let it be relied on.
    pub confidence: u16,
    /// At least one.
    pub evidence: Vec<Evidence>,
    /// Ascending.
    pub links: Vec<Link>,
    /// The call that brought it.
    pub call: CallId,
}

/// A part of an episode that a model was shown, as one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The episode.
    pub episode: EpisodeId,
    /// The first byte of its text.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// What a model was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Find facts in lines.
    Extract,
    /// Say what facts are to each other.
    Label,
    /// Put the facts of a bio into words. Who asked for the bio is given this record; no vault holds one.
    Phrase,
}

impl Purpose {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Extract => "extract",
            Self::Label => "label",
            Self::Phrase => "phrase",
        }
    }
}

/// `tally.call/1`: a call of a model, with what it cost and its receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// What for.
    pub purpose: Purpose,
    /// The name of the prompt's shape; it fixes every byte of the prompt but the lines.
    pub shape: String,
    /// The model's name.
    pub model: String,
    /// When.
    pub at: Moment,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Tokens that the model read.
    pub prompt_tokens: u32,
    /// Tokens that it wrote.
    pub output_tokens: u32,
    /// The lines it was shown. An episode that stands here was learnt from, whatever came of it.
    pub lines: Vec<Line>,
    /// Facts it was shown, by the numbers it saw: the first is 1.
    pub facts: Vec<FactId>,
    /// What it answered.
    pub answer: String,
    /// How many candidates each gate refused, by the gate's name.
    pub refused: BTreeMap<String, u32>,
    /// The envelope of the receipt, in base64; none where the model gives none.
    pub receipt: Option<String>,
    /// What opens the receipt's commitments, in base64.
    pub openings: Option<String>,
    /// The number of the gates that judged what was proposed ([`crate::GATES_NUMBER`]), if above the first; only of calls that were to
    /// find facts. A number that this program does not know yet is read like any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<u32>,
}

/// `tally.correction/1`: what the owner says in place of a fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// The fact.
    pub of: FactId,
    /// What is so; empty if the fact is simply wrong.
    pub text: String,
    /// When it was corrected.
    pub at: Moment,
    /// From when on that holds; none: since the fact's own beginning.
    pub from: Option<Moment>,
    /// Until when.
    pub until: Option<Moment>,
    /// Why, in the owner's words; may be empty.
    pub why: String,
}

/// `tally.confirmation/1`: the owner says that a fact is so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The fact.
    pub of: FactId,
    /// When it was confirmed.
    pub at: Moment,
}

/// `tally.policy/1`: what the owner wants kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What is done with personal identifiers.
    pub identifiers: Identifiers,
    /// From when on.
    pub at: Moment,
}

/// `tally.forgotten/1`: episodes that do not come back when their conversation is read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgotten {
    /// Ascending, each once.
    pub episodes: Vec<EpisodeId>,
    /// Hashes of facts' words ([`crate::SpanHash`]) that are not to be learnt again; ascending, each once.
    pub words: Vec<SpanHash>,
    /// When.
    pub at: Moment,
}

/// A record of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented where it is defined")]
pub enum Record {
    Episode(Episode),
    Fact(Fact),
    Call(Call),
    Correction(Correction),
    Confirmation(Confirmation),
    Forgotten(Forgotten),
    Policy(Policy),
}

/// Why bytes are no record of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// More bytes than any record has.
    #[error("it has {found} bytes, more than {RECORD_MAX}")]
    TooLong {
        /// How many there are.
        found: u64,
    },
    /// Not the JSON of its type.
    #[error("it is not of the form of its type: {0}")]
    Form(String),
    /// Another spelling than the one that counts.
    #[error("it is not spelt as records are")]
    Spelling,
    /// A value that its field does not hold.
    #[error("its field {0} holds what it cannot hold")]
    Field(&'static str),
}

impl Record {
    /// What memory's record types begin with.
    pub const PREFIX: &'static str = "tally.";
    const EPISODE: &'static str = "tally.episode/1";
    const FACT: &'static str = "tally.fact/1";
    const CALL: &'static str = "tally.call/1";
    const CORRECTION: &'static str = "tally.correction/1";
    const CONFIRMATION: &'static str = "tally.confirmation/1";
    const FORGOTTEN: &'static str = "tally.forgotten/1";
    const POLICY: &'static str = "tally.policy/1";

    /// The type under which the vault keeps it.
    #[must_use]
    pub const fn record_type(&self) -> &'static str {
        match self {
            Self::Episode(_) => Self::EPISODE,
            Self::Fact(_) => Self::FACT,
            Self::Call(_) => Self::CALL,
            Self::Correction(_) => Self::CORRECTION,
            Self::Confirmation(_) => Self::CONFIRMATION,
            Self::Forgotten(_) => Self::FORGOTTEN,
            Self::Policy(_) => Self::POLICY,
        }
    }

    /// Whether memory keeps records of this type.
    #[must_use]
    pub fn is_ours(record_type: &str) -> bool {
        [
            Self::EPISODE,
            Self::FACT,
            Self::CALL,
            Self::CORRECTION,
            Self::CONFIRMATION,
            Self::FORGOTTEN,
            Self::POLICY,
        ]
        .contains(&record_type)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Episode(one) => spell(one),
            Self::Fact(one) => spell(one),
            Self::Call(one) => spell(one),
            Self::Correction(one) => spell(one),
            Self::Confirmation(one) => spell(one),
            Self::Forgotten(one) => spell(one),
            Self::Policy(one) => spell(one),
        }
    }

    /// Reads a record of one of memory's types; none if the type is not memory's.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn decode(record_type: &str, content: &[u8]) -> Result<Option<Self>, RecordError> {
        let record = match record_type {
            Self::EPISODE => Self::Episode(read(content)?),
            Self::FACT => Self::Fact(read(content)?),
            Self::CALL => Self::Call(read(content)?),
            Self::CORRECTION => Self::Correction(read(content)?),
            Self::CONFIRMATION => Self::Confirmation(read(content)?),
            Self::FORGOTTEN => Self::Forgotten(read(content)?),
            Self::POLICY => Self::Policy(read(content)?),
            _ => return Ok(None),
        };
        record.check()?;
        Ok(Some(record))
    }

    /// Checks every rule that the types do not express.
    fn check(&self) -> Result<(), RecordError> {
        match self {
            Self::Episode(one) => one.check(),
            Self::Fact(one) => one.check(),
            Self::Call(one) => one.check(),
            Self::Correction(one) => {
                within("text", one.text.len(), FACT_MAX)?;
                within("why", one.why.len(), FACT_MAX)?;
                in_order(one.from, one.until)
            }
            Self::Confirmation(_) | Self::Policy(_) => Ok(()),
            Self::Forgotten(one) => {
                ascending("episodes", &one.episodes)?;
                ascending("words", &one.words)
            }
        }
    }
}

impl Episode {
    /// The name of this episode.
    #[must_use]
    pub fn id(&self) -> EpisodeId {
        EpisodeId::of(&spell(self))
    }

    /// The same words in the same place, whenever they were said. Forgetting an episode forgets these too, so that they do not come back
    /// from an app that does not say when.
    pub(crate) fn timeless(&self) -> Self {
        Self {
            repeat: 0,
            at: None,
            ..self.clone()
        }
    }

    pub(crate) fn check(&self) -> Result<(), RecordError> {
        name("app", &self.app)?;
        within("thread", self.thread.len(), NAME_MAX)?;
        within("key", self.key.as_ref().map_or(0, String::len), NAME_MAX)?;
        name("speaker", &self.speaker)?;
        within("text", self.text.len(), TEXT_MAX)?;
        if self.text.trim().is_empty() {
            return Err(RecordError::Field("text"));
        }
        Ok(())
    }
}

impl Fact {
    /// The name of this fact.
    #[must_use]
    pub fn id(&self) -> FactId {
        FactId::of(&spell(self))
    }

    /// The moment from which on it holds, as far as it says.
    #[must_use]
    pub fn begins(&self) -> Moment {
        self.from.unwrap_or(self.observed)
    }

    fn check(&self) -> Result<(), RecordError> {
        within("text", self.text.len(), FACT_MAX)?;
        if self.text.trim().is_empty() {
            return Err(RecordError::Field("text"));
        }
        name("subject", &self.subject)?;
        name("said_by", &self.said_by)?;
        if !self.said_as.is_person() {
            return Err(RecordError::Field("said_as"));
        }
        if self.categories.is_empty() {
            return Err(RecordError::Field("categories"));
        }
        ascending("categories", &self.categories)?;
        within("entities", self.entities.len(), LIST_MAX)?;
        ascending("entities", &self.entities)?;
        for entity in &self.entities {
            name("entities", entity)?;
        }
        if matches!(self.modality, Modality::Hypothetical | Modality::Question) {
            return Err(RecordError::Field("modality"));
        }
        if self.precision.is_some() && self.from.is_none() {
            return Err(RecordError::Field("precision"));
        }
        in_order(self.from, self.until)?;
        if let Some(slot) = &self.slot {
            name("slot", &slot.name)?;
            name("slot", &slot.value)?;
        }
        if self.confidence > 1_000 {
            return Err(RecordError::Field("confidence"));
        }
        if self.evidence.is_empty() {
            return Err(RecordError::Field("evidence"));
        }
        within("evidence", self.evidence.len(), LIST_MAX)?;
        if self.evidence.iter().any(|one| one.start >= one.end) {
            return Err(RecordError::Field("evidence"));
        }
        within("links", self.links.len(), LIST_MAX)?;
        ascending("links", &self.links)
    }
}

impl Call {
    /// The name of this call.
    #[must_use]
    pub fn id(&self) -> CallId {
        CallId::of(&spell(self))
    }

    /// The number of the gates that judged what was proposed.
    #[must_use]
    pub fn judged_by(&self) -> u32 {
        self.gates.unwrap_or(FIRST_GATES)
    }

    fn check(&self) -> Result<(), RecordError> {
        name("shape", &self.shape)?;
        name("model", &self.model)?;
        within("lines", self.lines.len(), 4_096)?;
        if self.lines.iter().any(|line| line.start >= line.end) {
            return Err(RecordError::Field("lines"));
        }
        within("facts", self.facts.len(), 4_096)?;
        within("answer", self.answer.len(), ANSWER_MAX)?;
        within("refused", self.refused.len(), LIST_MAX)?;
        // The first gates are named by no number, so that they have one spelling.
        if self
            .gates
            .is_some_and(|gates| gates <= FIRST_GATES || self.purpose != Purpose::Extract)
        {
            return Err(RecordError::Field("gates"));
        }
        Ok(())
    }
}

impl Correction {
    /// The name of this correction.
    #[must_use]
    pub fn id(&self) -> RemarkId {
        RemarkId::of(&spell(self))
    }
}

impl Confirmation {
    /// The name of this confirmation.
    #[must_use]
    pub fn id(&self) -> RemarkId {
        RemarkId::of(&spell(self))
    }
}

fn spell<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings, integers and lists of them are JSON")
}

fn read<T: Serialize + DeserializeOwned>(content: &[u8]) -> Result<T, RecordError> {
    if content.len() > RECORD_MAX {
        return Err(RecordError::TooLong {
            found: content.len() as u64,
        });
    }
    let value: T =
        serde_json::from_slice(content).map_err(|error| RecordError::Form(error.to_string()))?;
    if spell(&value) != content {
        return Err(RecordError::Spelling);
    }
    Ok(value)
}

fn within(field: &'static str, found: usize, most: usize) -> Result<(), RecordError> {
    if found > most {
        Err(RecordError::Field(field))
    } else {
        Ok(())
    }
}

fn name(field: &'static str, text: &str) -> Result<(), RecordError> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(RecordError::Field(field));
    }
    within(field, text.len(), NAME_MAX)
}

fn ascending<T: Ord>(field: &'static str, list: &[T]) -> Result<(), RecordError> {
    if list.is_sorted_by(|a, b| a < b) {
        Ok(())
    } else {
        Err(RecordError::Field(field))
    }
}

fn in_order(from: Option<Moment>, until: Option<Moment>) -> Result<(), RecordError> {
    match (from, until) {
        (Some(from), Some(until)) if until < from => Err(RecordError::Field("until")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode() -> Episode {
        Episode {
            app: "tally".into(),
            thread: "t".into(),
            key: None,
            repeat: 0,
            part: 0,
            role: Role::Owner,
            speaker: "Anna".into(),
            at: Some(Moment::from_unix_ms(1_795_000_000_000).expect("in the calendar")),
            text: "I'm allergic to peanuts.\n\"Really.\"".into(),
        }
    }

    #[test]
    fn an_episode_has_one_spelling_and_its_hash_is_fixed() {
        let bytes = Record::Episode(episode()).encode();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            r#"{"app":"tally","thread":"t","key":null,"repeat":0,"part":0,"role":"owner","speaker":"Anna","at":1795000000000,"text":"I'm allergic to peanuts.\n\"Really.\""}"#
        );
        assert_eq!(
            Record::decode("tally.episode/1", &bytes),
            Ok(Some(Record::Episode(episode())))
        );
        let spaced = String::from_utf8_lossy(&bytes).replace(r#""part":0"#, r#""part": 0"#);
        assert_eq!(
            Record::decode("tally.episode/1", spaced.as_bytes()),
            Err(RecordError::Spelling)
        );
        assert_eq!(Record::decode("text/plain", &bytes), Ok(None));
    }

    #[test]
    fn what_a_field_cannot_hold_is_refused_by_its_name() {
        let refused = |change: fn(&mut Episode)| {
            let mut one = episode();
            change(&mut one);
            Record::decode("tally.episode/1", &Record::Episode(one).encode())
        };
        assert_eq!(
            refused(|one| one.app.clear()),
            Err(RecordError::Field("app"))
        );
        assert_eq!(
            refused(|one| one.speaker = "a\nb".into()),
            Err(RecordError::Field("speaker"))
        );
        assert_eq!(
            refused(|one| one.text = " \n".into()),
            Err(RecordError::Field("text"))
        );
        assert_eq!(
            refused(|one| one.text = "x".repeat(TEXT_MAX + 1)),
            Err(RecordError::Field("text"))
        );
        assert!(matches!(
            Record::decode("tally.episode/1", br#"{"app":"tally","more":1}"#),
            Err(RecordError::Form(_))
        ));
    }

    #[test]
    fn a_question_is_no_fact_even_when_somebody_writes_it_as_one() {
        let mut fact = crate::testing::fact("I live in Ghent", 0);
        assert!(Record::decode("tally.fact/1", &Record::Fact(fact.clone()).encode()).is_ok());
        fact.modality = Modality::Question;
        assert_eq!(
            Record::decode("tally.fact/1", &Record::Fact(fact.clone()).encode()),
            Err(RecordError::Field("modality"))
        );
        fact.modality = Modality::Asserted;
        fact.said_as = Role::Document;
        assert_eq!(
            Record::decode("tally.fact/1", &Record::Fact(fact).encode()),
            Err(RecordError::Field("said_as"))
        );
    }

    #[test]
    fn a_policy_has_one_spelling() {
        let bytes = r#"{"identifiers":"by-kind","at":1795000000000}"#;
        let policy = Record::Policy(Policy {
            identifiers: Identifiers::ByKind,
            at: Moment::from_unix_ms(1_795_000_000_000).expect("in the calendar"),
        });
        assert_eq!(policy.encode(), bytes.as_bytes());
        let read = |text: &str| Record::decode("tally.policy/1", text.as_bytes());
        assert_eq!(read(bytes), Ok(Some(policy)));
        let other = bytes.replace("by-kind", "sell");
        assert!(matches!(read(&other), Err(RecordError::Form(_))));
    }

    #[test]
    fn a_call_names_its_gates_unless_they_were_the_first() {
        let old = r#"{"purpose":"extract","shape":"tally-nano/1","model":"nano","at":1795000000000,"took_ms":1,"prompt_tokens":2,"output_tokens":3,"lines":[],"facts":[],"answer":"","refused":{},"receipt":null,"openings":null}"#;
        let read = |text: &str| -> Result<Call, RecordError> {
            match Record::decode("tally.call/1", text.as_bytes())? {
                Some(Record::Call(call)) => Ok(call),
                other => panic!("no record of a call: {other:?}"),
            }
        };
        let with = |gates: &str| old.replace("null}", &format!(r#"null,"gates":{gates}}}"#));
        let numbered = [2, 3, u32::MAX].map(|number| (with(&number.to_string()), number));
        for (text, number) in std::iter::once((old.to_owned(), 1)).chain(numbered) {
            let call = read(&text).expect("a record of a call");
            assert_eq!(call.judged_by(), number);
            assert_eq!(Record::Call(call).encode(), text.as_bytes());
        }
        for number in ["0", "1"] {
            assert_eq!(read(&with(number)), Err(RecordError::Field("gates")));
        }
        assert_eq!(read(&with("null")), Err(RecordError::Spelling));
        let label = with("2").replace("extract", "label");
        assert_eq!(read(&label), Err(RecordError::Field("gates")));
    }
}
