//! Reading a question: its words, whom and when it is about, and what kind of thing it asks for.

use unicode_segmentation::UnicodeSegmentation;

use super::Index;
use crate::lexical::Concept;
use crate::query::Query;
use crate::text::time::Span;
use crate::text::{self, Relation, Word};

/// What a word counts that means the same as one of the question's, or is an instance of it: half, since a speaker who meant
/// the question's word would often have said it.
const RELATED: f32 = 0.5;
/// Words of the longest phrase in the tables.
const LONGEST_PHRASE: usize = 3;
/// Of two people that a question names, the one after such a word is who it is about: "What did Ada tell Ben?"
const AUXILIARIES: &[&str] = &[
    "am", "is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "will", "would",
    "can", "could", "may", "might", "shall", "should", "must",
];
/// Words by which a question asks for something that has a name of its own.
const NAMED_THINGS: &[&str] = &[
    "name",
    "names",
    "named",
    "called",
    "titled",
    "title",
    "city",
    "cities",
    "town",
    "country",
    "countries",
    "state",
    "states",
    "place",
    "places",
];
/// The asker, in their own words.
const FIRST_PERSON: &[&str] = &["i", "me", "my", "mine", "myself"];

/// What a question asks for, beside its words.
pub(super) struct Question {
    pub(super) concepts: Vec<Concept>,
    /// Whom it is about, and how sure that is, 0 to 1.
    pub(super) about: Option<(u32, f32)>,
    /// Times that it names.
    pub(super) spans: Vec<Span>,
    pub(super) asks_when: bool,
    /// Names in it that are no speaker's, folded.
    pub(super) names: Vec<String>,
    pub(super) asks_for_a_name: bool,
}

pub(super) fn read(index: &Index, query: &Query) -> Question {
    let words = text::words(&query.text);
    let spans = text::time::spans(&words, query.now);
    let mut mentions: Vec<(usize, u32)> = Vec::new();
    // What is left to search for: neither a name of a speaker nor a date, which have arms of their own.
    let mut terms: Vec<Option<String>> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let named = index.named(&word.folded);
        if FIRST_PERSON.contains(&word.folded.as_str()) {
            let asker = query
                .asker
                .as_deref()
                .and_then(|asker| index.speakers.numbers.get(asker));
            mentions.extend(asker.map(|asker| (at, *asker)));
        }
        let plain = named.is_empty() && !spans.iter().any(|span| span.words.contains(&at));
        terms.push(plain.then(|| text::term(&word.folded)).flatten());
        mentions.extend(named.into_iter().map(|speaker| (at, speaker)));
    }
    let names = words
        .iter()
        .zip(&terms)
        .filter(|(word, term)| word.is_name && term.is_some())
        .map(|(word, _)| word.folded.clone())
        .collect();
    let first = words.first().map_or("", |word| word.folded.as_str());
    Question {
        concepts: concepts(&words, &terms),
        about: about(&words, &mentions),
        spans,
        names,
        asks_when: first == "when",
        asks_for_a_name: matches!(first, "who" | "where" | "which")
            || words
                .iter()
                .any(|word| NAMED_THINGS.contains(&word.folded.as_str())),
    }
}

/// The speaker whom a question is about: the only one it names, or of two the likelier subject, half as sure.
fn about(words: &[Word], mentions: &[(usize, u32)]) -> Option<(u32, f32)> {
    let mut named: Vec<u32> = mentions.iter().map(|(_, speaker)| *speaker).collect();
    named.sort_unstable();
    named.dedup();
    match named[..] {
        [speaker] => Some((speaker, 1.0)),
        [_, _] => {
            let subject = mentions.iter().find(|(at, _)| {
                at.checked_sub(1)
                    .is_some_and(|before| AUXILIARIES.contains(&words[before].folded.as_str()))
            });
            subject
                .or(mentions.first())
                .map(|(_, speaker)| (*speaker, 0.5))
        }
        _ => None,
    }
}

fn concepts(words: &[Word], terms: &[Option<String>]) -> Vec<Concept> {
    let mut concepts: Vec<Concept> = Vec::new();
    for term in terms.iter().flatten() {
        let asked = std::slice::from_ref(term);
        if !concepts.iter().any(|concept| concept.asked == asked) {
            concepts.push(Concept {
                asked: asked.to_vec(),
                own: 1.0,
                others: others(asked),
            });
        }
    }
    // Two words that others write as one: "ice cream".
    for (pair, terms) in words.windows(2).zip(terms.windows(2)) {
        if let ([one, two], [Some(_), Some(_)]) = (pair, terms) {
            let joined = text::stem(&format!("{}{}", one.folded, two.folded));
            concepts.push(Concept {
                asked: vec![joined],
                own: 1.0,
                others: Vec::new(),
            });
        }
    }
    // Phrases of the tables stand for something together, beside their words.
    let stems: Vec<String> = words.iter().map(|word| text::stem(&word.folded)).collect();
    for length in 2..=LONGEST_PHRASE {
        for (phrase, terms) in stems.windows(length).zip(terms.windows(length)) {
            let others = others(phrase);
            if !others.is_empty() && terms.iter().any(Option::is_some) {
                concepts.push(Concept {
                    asked: phrase.to_vec(),
                    own: 0.0,
                    others,
                });
            }
        }
    }
    concepts
}

fn others(phrase: &[String]) -> Vec<(Vec<String>, f32)> {
    text::related(phrase)
        .iter()
        .map(|(other, relation)| match relation {
            Relation::Same | Relation::Instance => (other.clone(), RELATED),
        })
        .collect()
}

/// The question without the names of an index's speakers.
pub(super) fn without_names(index: &Index, question: &str) -> String {
    let mut text = String::new();
    for piece in question.split_word_bounds() {
        let is_name = text::words(piece)
            .first()
            .is_some_and(|word| !index.named(&word.folded).is_empty());
        if !is_name {
            text.push_str(piece);
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
