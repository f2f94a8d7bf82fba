//! The person's long-term memory: what was said, what was learnt from it, and when it holds.
//!
//! ```
//! # fn run(input: tally_agent::Input) -> tally_agent::Result<()> {
//! use tally_agent::memory::{Voice, memory, question, turn};
//!
//! let memory = memory("memory");
//! memory.remember([
//!     turn(Voice::User, &input.text),
//!     turn(Voice::Assistant, "I will look for trains.").thread("trip to Ghent"),
//! ])?;
//! let found = memory.recall(question("Which seat?").hits(5))?;
//! if !found.abstain {
//!     let answer = tally_agent::chat(input.text).system(found.context).send()?;
//!     tally_agent::emit(&answer.text)?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A turn of [`Voice::User`] is the text of the run's input, whole: an agent quotes the person and does not speak for them. What it
//! says itself, or has read, is remembered as that, and never becomes a fact about the person.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bindings::agent::tally::agent::memory as wit;
use crate::error::Result;

pub use crate::bindings::agent::tally::agent::memory::{
    Cited, Forgotten, Hit, Layer, Part, Portrait, ProfileLine, Question, Recalled, Remembered,
    Source, State, Turn, Voice,
};

/// The memory in the namespace of that name. Nothing is asked of the host yet.
pub fn memory(namespace: impl Into<String>) -> Memory {
    Memory {
        namespace: namespace.into(),
    }
}

/// A memory of the person.
#[derive(Clone, Debug)]
pub struct Memory {
    namespace: String,
}

impl Memory {
    /// The namespace of the vault that it lies in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Takes in turns, durably. Those that are known already add nothing.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Error::Denied) without `append`, and for words of the user that are not the run's input;
    /// [`Invalid`](crate::Error::Invalid) for a turn that cannot be.
    pub fn remember(&self, turns: impl IntoIterator<Item = Turn>) -> Result<Remembered> {
        let turns: Vec<Turn> = turns.into_iter().collect();
        Ok(wit::remember(&self.namespace, &turns)?)
    }

    /// Answers a question: the best memories first, and all of them as a text for a model.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Error::Denied) without `read`. That nothing is known is no error.
    pub fn recall(&self, question: impl Into<Question>) -> Result<Recalled> {
        Ok(wit::recall(&self.namespace, &question.into())?)
    }

    /// Who the person is, by what they said.
    ///
    /// # Errors
    ///
    /// As [`Memory::recall`].
    pub fn profile(&self) -> Result<Portrait> {
        Ok(wit::profile(&self.namespace)?)
    }

    /// Puts the text of the run's input in the place of a fact, or nothing, which says that the fact is wrong. Gives the correction's id.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Error::Denied) without `curate`, and for another text.
    pub fn correct(&self, id: &str, text: &str, why: &str) -> Result<String> {
        Ok(wit::correct(&self.namespace, id, text, why)?)
    }

    /// Destroys memories and what is derived from them.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::Error::Denied) without `curate`.
    pub fn forget(&self, ids: &[String], reason: &str) -> Result<Forgotten> {
        Ok(wit::forget(&self.namespace, ids, reason)?)
    }
}

/// Something that was said, or read. The methods of [`Turn`] say more about it.
pub fn turn(voice: Voice, text: impl Into<String>) -> Turn {
    Turn {
        voice,
        speaker: None,
        at: None,
        thread: String::new(),
        key: None,
        text: text.into(),
    }
}

impl Turn {
    /// What the speaker is called.
    #[must_use]
    pub fn speaker(self, name: impl Into<String>) -> Self {
        Self {
            speaker: Some(name.into()),
            ..self
        }
    }

    /// When it was said, in RFC 3339.
    #[must_use]
    pub fn at(self, moment: impl Into<String>) -> Self {
        Self {
            at: Some(moment.into()),
            ..self
        }
    }

    /// The conversation or document it is of.
    #[must_use]
    pub fn thread(self, name: impl Into<String>) -> Self {
        Self {
            thread: name.into(),
            ..self
        }
    }

    /// The agent's own name for it.
    #[must_use]
    pub fn key(self, name: impl Into<String>) -> Self {
        Self {
            key: Some(name.into()),
            ..self
        }
    }
}

/// A question about what holds now. The methods of [`Question`] narrow it.
pub fn question(text: impl Into<String>) -> Question {
    Question {
        text: text.into(),
        state: State::Current,
        hits: 0,
        tokens: 0,
        only: None,
        categories: Vec::new(),
        apps: Vec::new(),
        threads: Vec::new(),
        speakers: Vec::new(),
    }
}

impl Question {
    /// About what held at this moment (RFC 3339), as far as it had been said by then.
    #[must_use]
    pub fn as_of(self, moment: impl Into<String>) -> Self {
        Self {
            state: State::AsOf(moment.into()),
            ..self
        }
    }

    /// Also about what ended, and what was corrected.
    #[must_use]
    pub fn everything(self) -> Self {
        Self {
            state: State::Everything,
            ..self
        }
    }

    /// Most memories.
    #[must_use]
    pub fn hits(self, hits: u32) -> Self {
        Self { hits, ..self }
    }

    /// Most tokens of all of them together.
    #[must_use]
    pub fn tokens(self, tokens: u32) -> Self {
        Self { tokens, ..self }
    }

    /// Only what was said, or only what was learnt.
    #[must_use]
    pub fn only(self, layer: Layer) -> Self {
        Self {
            only: Some(layer),
            ..self
        }
    }

    /// Facts of one of these categories.
    #[must_use]
    pub fn categories(self, names: &[&str]) -> Self {
        Self {
            categories: owned(names),
            ..self
        }
    }

    /// Of one of these apps.
    #[must_use]
    pub fn apps(self, names: &[&str]) -> Self {
        Self {
            apps: owned(names),
            ..self
        }
    }

    /// Of one of these conversations.
    #[must_use]
    pub fn threads(self, names: &[&str]) -> Self {
        Self {
            threads: owned(names),
            ..self
        }
    }

    /// Said by, or about, one of these.
    #[must_use]
    pub fn speakers(self, names: &[&str]) -> Self {
        Self {
            speakers: owned(names),
            ..self
        }
    }
}

impl From<&str> for Question {
    fn from(text: &str) -> Self {
        question(text)
    }
}

impl From<String> for Question {
    fn from(text: String) -> Self {
        question(text)
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_asks_for_nothing_that_was_not_said() {
        let plain = Question::from("Which seat?");
        assert_eq!(plain, question("Which seat?".to_owned()));
        assert_eq!((plain.hits, plain.tokens, plain.only), (0, 0, None));
        let narrow = question("Which seat?")
            .as_of("2026-11-21")
            .hits(3)
            .tokens(500)
            .only(Layer::Fact)
            .categories(&["travel"])
            .apps(&["notes"])
            .threads(&["ghent"])
            .speakers(&["me"]);
        assert_eq!(narrow.state, State::AsOf("2026-11-21".to_owned()));
        assert_eq!((narrow.hits, narrow.tokens), (3, 500));
        assert_eq!(narrow.only, Some(Layer::Fact));
        assert_eq!(
            [
                narrow.categories,
                narrow.apps,
                narrow.threads,
                narrow.speakers
            ],
            ["travel", "notes", "ghent", "me"].map(|name| [name.to_owned()].to_vec())
        );
        assert_eq!(question("x").everything().state, State::Everything);
    }

    #[test]
    fn a_turn_says_who_spoke_when_and_where() {
        let said = turn(Voice::Person, "I row.")
            .speaker("Ben")
            .at("2026-05-04T10:00:00Z")
            .thread("sport")
            .key("17");
        assert_eq!(said.speaker.as_deref(), Some("Ben"));
        assert_eq!(said.at.as_deref(), Some("2026-05-04T10:00:00Z"));
        assert_eq!(
            (said.thread.as_str(), said.key.as_deref()),
            ("sport", Some("17"))
        );
    }
}
