//! Passages, words and support: what the agent does to text without a model.

use std::collections::{BTreeMap, BTreeSet};

use tally_agent::Attachment;

/// Longer sentences are cut; a model that reads eight of these still has room to answer.
const MAX_PASSAGE_CHARACTERS: usize = 300;
/// A document is read this far.
const MAX_PASSAGES: usize = 5_000;
/// The contract takes 256 texts at once; the question is one of them.
const MAX_COMPARED: usize = 255;
/// No tokenizer makes more tokens than bytes, but for a few at each text's ends: of the manifest's 20,000 tokens most are left to answer,
/// and of a grant's 10,000 enough.
const MAX_COMPARED_BYTES: usize = 6_000;
/// Below this cosine a passage counts as not near. Chosen, not measured.
const NEAR: f32 = 0.3;
/// Words that say nothing about what a sentence is about.
const EMPTY: &str = " a an and are as at be by can do does did for from had has have he her his how i in is it its may me my \
    no not of on or our she so that the their them there they this to was we were what when where which who whom why will \
    with you your ";

/// Words that are numbers: a text that lacks one does not support it.
const NUMBERS: &str = " one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen \
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half ";

/// A sentence of a document and the line it begins on.
pub struct Passage {
    pub name: String,
    pub line: usize,
    pub text: String,
}

/// The sentences of a document. A blank line or a list item begins a new one; headings say nothing.
pub fn passages(document: &Attachment) -> Vec<Passage> {
    let (mut found, mut open) = (Vec::new(), (1, String::new()));
    let mut close = |open: &mut (usize, String)| {
        let text: String = open.1.trim().chars().take(MAX_PASSAGE_CHARACTERS).collect();
        if words(&text).next().is_some() && found.len() < MAX_PASSAGES {
            found.push(Passage {
                name: document.name.clone(),
                line: open.0,
                text,
            });
        }
        open.1.clear();
    };
    for (number, line) in (1..).zip(document.text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '-', '*', '|', '>']) {
            close(&mut open);
        }
        if line.starts_with('#') {
            continue;
        }
        for sentence in sentences(line.trim_start_matches(['-', '*', '>', ' '])) {
            if open.1.is_empty() {
                open.0 = number;
            }
            open.1 += &sentence;
            if ends_sentence(&sentence) {
                close(&mut open);
            } else {
                open.1.push(' ');
            }
        }
    }
    close(&mut open);
    found
}

/// Splits after `.`, `!` or `?` before a blank; a marker such as `[2]` stays with the sentence before it.
pub fn sentences(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match found.last_mut() {
            Some(last) if !ends_sentence(last) || word.starts_with('[') => {
                *last = format!("{last} {word}")
            }
            _ => found.push(word.to_owned()),
        }
    }
    found
}

fn ends_sentence(text: &str) -> bool {
    text.trim_end_matches(|c: char| c == ']' || c == '[' || c == ' ' || c.is_ascii_digit())
        .ends_with(['.', '!', '?'])
        && !text.ends_with(|c: char| c.is_ascii_digit())
}

/// A sentence without its `[n]` markers, and the markers' numbers.
pub fn split_markers(sentence: &str) -> (String, Vec<usize>) {
    let (mut said, mut numbers) = (String::new(), Vec::new());
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((inside, beyond)) = after.split_once(']') else {
            break;
        };
        let Ok(number) = inside.trim().parse() else {
            said += &rest[..before.len() + inside.len() + 2];
            rest = beyond;
            continue;
        };
        said += before.trim_end();
        numbers.push(number);
        rest = beyond;
    }
    said += rest;
    (said.trim().to_owned(), numbers)
}

/// How much a passage supports what is said: the share of its words that the passage has, 0 if it lacks a number.
pub fn support(said: &str, passage: &str) -> f32 {
    let has: BTreeSet<String> = words(passage).collect();
    let said: BTreeSet<String> = words(said).collect();
    let is_number = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit()) || NUMBERS.contains(&format!(" {word} "))
    };
    let lacks_number = said
        .iter()
        .any(|word| is_number(word) && !has.contains(word));
    if said.is_empty() || lacks_number {
        return 0.0;
    }
    said.intersection(&has).count() as f32 / said.len() as f32
}

/// How much each passage is about the question's words; rare words count more. Source: BM25, with k1 = 1.2, b = 0.75.
pub fn rank(question: &str, passages: &[Passage]) -> Vec<f32> {
    let split: Vec<Vec<String>> = passages.iter().map(|p| words(&p.text).collect()).collect();
    let mut holders: BTreeMap<&str, f32> = BTreeMap::new();
    for passage in &split {
        for word in passage.iter().collect::<BTreeSet<_>>() {
            *holders.entry(word).or_default() += 1.0;
        }
    }
    let count = split.len() as f32;
    let mean = split.iter().map(Vec::len).sum::<usize>() as f32 / count.max(1.0);
    // In the question's order: a sum of floats depends on it.
    let mut asked: Vec<String> = Vec::new();
    for word in words(question).filter(|word| !EMPTY.contains(&format!(" {word} "))) {
        if !asked.contains(&word) {
            asked.push(word);
        }
    }
    let score = |passage: &Vec<String>| {
        let length = 1.2 * (0.25 + 0.75 * passage.len() as f32 / mean);
        let one = |word: &String| {
            let times = passage.iter().filter(|other| *other == word).count() as f32;
            let holders = holders.get(word.as_str()).copied().unwrap_or(0.0);
            let rarity = (1.0 + (count - holders + 0.5) / (holders + 0.5)).ln();
            rarity * times * 2.2 / (times + length)
        };
        asked.iter().map(one).sum()
    };
    split.iter().map(score).collect()
}

/// The passages whose vectors are asked for: those that the words rank highest first, and of equals the earlier, as far as the contract
/// and the run's tokens go. None if the question alone is beyond that.
pub fn to_compare(question: &str, passages: &[Passage], scores: &[f32]) -> Option<Vec<usize>> {
    let mut bytes = MAX_COMPARED_BYTES.checked_sub(question.len())?;
    let mut order: Vec<usize> = (0..passages.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let fits = |&at: &usize| match bytes.checked_sub(passages[at].text.len()) {
        Some(left) => {
            bytes = left;
            true
        }
        None => false,
    };
    Some(
        order
            .into_iter()
            .take(MAX_COMPARED)
            .take_while(fits)
            .collect(),
    )
}

/// What two unit vectors add to a score: twice their cosine where they are near, and nothing where they are not, so that a question
/// that nothing resembles is not answered from what is least far.
pub fn nearness(asked: &[f32], passage: &[f32]) -> f32 {
    let cosine: f32 = asked.iter().zip(passage).map(|(a, b)| a * b).sum();
    if cosine < NEAR { 0.0 } else { 2.0 * cosine }
}

/// Words in small letters, without their commonest endings, so that "opens" meets "open".
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && c != ':')
        .map(|word| word.trim_matches(':').to_lowercase())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let stem = ["ing", "ed", "es", "s"]
                .iter()
                .find_map(|ending| word.strip_suffix(ending));
            stem.filter(|stem| stem.chars().count() >= 3)
                .unwrap_or(&word)
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Vec<(usize, String)> {
        let document = Attachment {
            name: "d.md".into(),
            media_type: "text/markdown".into(),
            text: text.into(),
        };
        passages(&document)
            .into_iter()
            .map(|p| (p.line, p.text))
            .collect()
    }

    #[test]
    fn a_document_becomes_sentences_with_the_line_they_begin_on() {
        let found = document(
            "# The museum\n\nIt opens at 9:30. It closes\nat 6 pm.\n- one item\n- another\n\n...\n",
        );
        let expected = [
            (3, "It opens at 9:30."),
            (3, "It closes at 6 pm."),
            (5, "one item"),
            (6, "another"),
        ];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn markers_stay_with_their_sentence_and_come_off_it() {
        let parts: Vec<_> = sentences("It opens at ten. [2] It is [not] closed [1][3]. Yes!")
            .iter()
            .map(|s| split_markers(s))
            .collect();
        assert_eq!(parts[0], ("It opens at ten.".to_owned(), vec![2]));
        assert_eq!(parts[1], ("It is [not] closed.".to_owned(), vec![1, 3]));
        assert_eq!(parts[2], ("Yes!".to_owned(), vec![]));
        assert_eq!(split_markers("9:30 [2]"), ("9:30".to_owned(), vec![2]));
        assert_eq!(split_markers("a [ b"), ("a [ b".to_owned(), vec![]));
    }

    #[test]
    fn support_needs_the_words_and_every_number() {
        let passage = "The museum in Ghent opens at 9:30 on 4 days.";
        assert!(support("9:30", passage) >= 1.0);
        assert!(support("The museum opens at 9:30.", passage) >= 1.0);
        assert_eq!(support("The museum opens at 9:45.", passage), 0.0);
        assert_eq!(support("It opens at nine on 4 days.", passage), 0.0);
        assert_eq!(support("", passage), 0.0);
        assert!(support("Bananas grow in warm countries", passage) < 0.5);
    }

    fn make(text: &str) -> Passage {
        Passage {
            name: "d".into(),
            line: 1,
            text: text.into(),
        }
    }

    #[test]
    fn what_is_compared_fits_the_contract_and_the_tokens_and_begins_with_the_best() {
        let passages: Vec<Passage> = (0..300).map(|_| make("word")).collect();
        let mut scores = vec![0.0; 300];
        scores[299] = 1.0;
        let compared = to_compare("Which?", &passages, &scores).unwrap();
        assert_eq!(compared.len(), MAX_COMPARED);
        assert_eq!(compared[..3], [299, 0, 1]);

        let long: Vec<Passage> = (0..60).map(|_| make(&"x".repeat(300))).collect();
        let compared = to_compare("Which?", &long, &[0.0; 60]).unwrap();
        assert_eq!(compared.len(), (MAX_COMPARED_BYTES - 6) / 300);
        assert_eq!(
            to_compare(&"x".repeat(MAX_COMPARED_BYTES + 1), &long, &[0.0; 60]),
            None
        );
    }

    #[test]
    fn only_what_is_near_counts() {
        assert_eq!(nearness(&[1.0, 0.0], &[0.2, 0.9]), 0.0);
        assert_eq!(nearness(&[1.0, 0.0], &[-1.0, 0.0]), 0.0);
        assert_eq!(nearness(&[1.0, 0.0], &[0.5, 0.8]), 1.0);
    }

    #[test]
    fn the_passage_with_the_rare_words_ranks_first() {
        let passages = [
            "The library opens at nine.",
            "On Saturday the library opens at ten.",
            "Cards cost five euros.",
        ]
        .map(make);
        let scores = rank("When does the library open on Saturday?", &passages);
        assert!(scores[1] > scores[0] && scores[0] > 0.0);
        assert_eq!(scores[2], 0.0);
        assert_eq!(rank("", &passages), [0.0, 0.0, 0.0]);
        assert!(rank("x", &[]).is_empty());
    }
}
