//! What English itself knows: stop words, irregular forms, words that mean the same, and categories with instances.
//!
//! The tables are files beside this one, written from general knowledge. Lines that begin with `#` are comments.
//!
//! ```text
//! stop.txt        words, separated by white space
//! irregular.txt   base: form form …
//! synonyms.txt    word, word, …              any of them stands for any other
//! categories.txt  category, category: instance, instance, …
//! ```
//!
//! A phrase of several words is found when its words follow one another, and stands for all of them.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::stem;

/// A word that may stand where the question has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    /// Means the same.
    Same,
    /// Is an instance of what was asked for.
    Instance,
}

static STOP: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    lines(include_str!("../words/stop.txt"))
        .flat_map(str::split_whitespace)
        .collect()
});

static BASE_FORMS: LazyLock<HashMap<&'static str, &'static str>> = LazyLock::new(|| {
    lines(include_str!("../words/irregular.txt"))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(base, forms)| {
            forms
                .split_whitespace()
                .map(move |form| (form, base.trim()))
        })
        .collect()
});

type Phrase = Vec<String>;

static RELATED: LazyLock<HashMap<Phrase, Vec<(Phrase, Relation)>>> = LazyLock::new(|| {
    let mut related: HashMap<Phrase, Vec<(Phrase, Relation)>> = HashMap::new();
    let phrases = |list: &'static str| -> Vec<Phrase> {
        list.split(',')
            .map(phrase)
            .filter(|phrase| !phrase.is_empty())
            .collect()
    };
    for line in lines(include_str!("../words/synonyms.txt")) {
        let same = phrases(line);
        for one in &same {
            let others = related.entry(one.clone()).or_default();
            others.extend(
                same.iter()
                    .filter(|other| *other != one)
                    .map(|other| (other.clone(), Relation::Same)),
            );
        }
    }
    for line in lines(include_str!("../words/categories.txt")) {
        let Some((categories, instances)) = line.split_once(':') else {
            continue;
        };
        let instances = phrases(instances);
        for category in phrases(categories) {
            let found = related.entry(category.clone()).or_default();
            found.extend(
                instances
                    .iter()
                    .filter(|other| **other != category)
                    .map(|other| (other.clone(), Relation::Instance)),
            );
        }
    }
    for found in related.values_mut() {
        found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        found.dedup_by(|next, kept| next.0 == kept.0);
    }
    related
});

fn lines(table: &'static str) -> impl Iterator<Item = &'static str> {
    table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn phrase(text: &str) -> Phrase {
    super::words(text)
        .iter()
        .map(|word| stem(&word.folded))
        .collect()
}

pub(super) fn is_stop_word(folded: &str) -> bool {
    STOP.contains(folded)
}

pub(super) fn base_form(folded: &str) -> Option<&'static str> {
    BASE_FORMS.get(folded).copied()
}

/// What may stand for a phrase of stems, in a fixed order.
pub(crate) fn related(phrase: &[String]) -> &'static [(Phrase, Relation)] {
    RELATED.get(phrase).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands_for(asked: &str, other: &str) -> bool {
        related(&phrase(asked))
            .iter()
            .any(|(found, _)| *found == phrase(other))
    }

    #[test]
    fn words_that_mean_the_same_stand_for_one_another() {
        assert!(stands_for("children", "kids") && stands_for("kid", "child"));
        assert!(stands_for("lost job", "fired") || stands_for("fire", "lay off"));
    }

    #[test]
    fn an_instance_stands_for_its_category_and_not_the_reverse() {
        assert!(stands_for("martial arts", "judo") && stands_for("European countries", "Portugal"));
        assert!(!stands_for("judo", "martial arts"));
    }

    #[test]
    fn every_line_of_the_tables_is_read() {
        for line in lines(include_str!("../words/categories.txt")) {
            let (categories, instances) =
                line.split_once(':').expect("a category and its instances");
            assert!(
                !phrase(categories).is_empty() && instances.contains(','),
                "{line}"
            );
        }
        for line in lines(include_str!("../words/synonyms.txt")) {
            assert!(line.split(',').count() > 1, "{line}");
        }
        for line in lines(include_str!("../words/irregular.txt")) {
            assert!(
                line.split_once(':')
                    .is_some_and(|(_, forms)| !forms.trim().is_empty()),
                "{line}"
            );
        }
    }
}
