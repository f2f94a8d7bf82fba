//! A grammar in which a model can only quote: each fact of its answer stands, word for word, in a line that it was shown.
//!
//! The answer is the JSON that `extract.rs` reads. Its facts come in the order of the text and do not overlap. A quotation begins and ends with a
//! word, without what stops a sentence behind the last; its subject is the speaker of its line, a word of it, or two neighbours that are both capitalised.
//! So what the gate `not-said` would refuse is never written, and a small model finds more: it chooses where a fact begins and ends,
//! and spells nothing.
//!
//! The grammar is a function of the lines alone, to the byte: a receipt commits to it, and `verify.rs` makes it again. A text of n words has 3n rules.

use crate::record::Category;

/// What is left out behind the last word of a quotation.
const STOPS: &[char] = &['.', ',', ';', ':', '!', '?', '"', '\'', ')', ']', '}', '…'];

/// What each fact is labelled with, beside its kind and subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Labels {
    /// A category.
    OneCategory,
    /// One to three categories.
    Categories,
}

/// The grammar of answers about lines `SPEAKER: words`, as GBNF.
pub(crate) fn grammar(lines: &[String], labels: Labels) -> String {
    let categories: Vec<String> = Category::ALL
        .iter()
        .map(|category| literal(category.as_str()))
        .collect();
    let mut rules = vec![
        format!("category ::= {}", categories.join(" | ")),
        r#"kind ::= "semantic" | "episodic""#.to_owned(),
    ];
    let (before, named, behind) = match labels {
        Labels::OneCategory => (r#"","category":""#, "category", r#"","kind":""#),
        Labels::Categories => {
            rules.push(r#"another ::= "\",\"" category"#.to_owned());
            rules.push("categories ::= category ( another ( another )? )?".to_owned());
            (r#"","categories":[""#, "categories", r#""],"kind":""#)
        }
    };
    let count: usize = lines.iter().map(|line| words(said(line).1).len()).sum();
    let mut at = 0;
    for (number, line) in lines.iter().enumerate() {
        let (speaker, text) = said(line);
        let words = words(text);
        let subjects: Vec<String> = subjects(speaker, &words)
            .iter()
            .map(|subject| literal(&inside(subject)))
            .collect();
        rules.push(format!("subject{number} ::= {}", subjects.join(" | ")));
        rules.push(format!(
            "labels{number} ::= {} {named} {} kind {} subject{number} {}",
            literal(before),
            literal(behind),
            literal(r#"","subject":""#),
            literal(r#""}"#),
        ));
        for (place, (word, behind)) in words.iter().enumerate() {
            let next = at + 1;
            let longer = if place + 1 < words.len() {
                format!(" | {} word{next}", literal(&inside(behind)))
            } else {
                String::new()
            };
            let later = if next < count {
                format!(" | start{next}")
            } else {
                String::new()
            };
            rules.push(format!(
                "word{at} ::= {} ( labels{number} rest{next}{longer} )",
                literal(&inside(word))
            ));
            rules.push(format!("start{at} ::= word{at}{later}"));
            rules.push(format!(
                "rest{at} ::= {} | {} start{at}",
                literal("]}"),
                literal(r#",{"basis":""#)
            ));
            at = next;
        }
    }
    if count == 0 {
        return format!("root ::= {}", literal(r#"{"facts":[]}"#));
    }
    rules.push(format!("rest{count} ::= {}", literal("]}")));
    rules.push(format!(
        "root ::= {} ( {} | {} start0 )",
        literal(r#"{"facts":["#),
        literal("]}"),
        literal(r#"{"basis":""#),
    ));
    rules.join("\n")
}

/// Speaker and words of a line.
fn said(line: &str) -> (&str, &str) {
    line.split_once(": ").unwrap_or(("", line))
}

/// The words of a text, each without its stops, and what stands between it and the next.
fn words(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut left = text.trim_start();
    while !left.is_empty() {
        let end = left.find(char::is_whitespace).unwrap_or(left.len());
        let bare = match left[..end].trim_end_matches(STOPS) {
            "" => &left[..end],
            bare => bare,
        };
        let next = left[end..].trim_start();
        found.push((bare, &left[bare.len()..left.len() - next.len()]));
        left = next;
    }
    found
}

/// Whom a fact of a line may be about, in the order of the line.
fn subjects(speaker: &str, words: &[(&str, &str)]) -> Vec<String> {
    let bare: Vec<&str> = words
        .iter()
        .map(|(word, _)| {
            word.strip_suffix("'s")
                .or(word.strip_suffix("’s"))
                .unwrap_or(word)
        })
        .collect();
    let is_name = |word: &str| word.chars().next().is_some_and(char::is_uppercase);
    let pairs = bare
        .windows(2)
        .filter(|pair| pair.iter().all(|word| is_name(word)))
        .map(|pair| pair.join(" "));
    let mut subjects: Vec<String> = Vec::new();
    for subject in [speaker]
        .into_iter()
        .chain(bare.iter().copied())
        .map(str::to_owned)
        .chain(pairs)
    {
        if !subject.is_empty() && !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    if subjects.is_empty() {
        subjects.push("user".to_owned());
    }
    subjects
}

/// A text as it stands inside a JSON string (RFC 8259).
fn inside(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// A text as a literal of a grammar, whose escapes are among those of JSON.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_their_stops_and_keep_what_stands_between() {
        assert_eq!(
            words("  I live, \"there\". Yes …"),
            [
                ("I", " "),
                ("live", ", "),
                ("\"there", "\". "),
                ("Yes", " "),
                ("…", "")
            ]
        );
        assert_eq!(words(""), []);
    }

    #[test]
    fn subjects_are_the_speaker_a_word_or_two_names() {
        let found = subjects("user", &words("My friend Ada Lovelace's cat and Ben"));
        for subject in ["user", "Ada", "Lovelace", "Ada Lovelace", "Ben", "cat"] {
            assert!(
                found.iter().any(|one| one == subject),
                "{subject}: {found:?}"
            );
        }
        assert!(
            !found
                .iter()
                .any(|one| one == "cat and" || one == "friend Ada")
        );
    }

    #[test]
    fn the_grammar_of_one_word_is_this() {
        let text = grammar(&["user: Tea.".to_owned()], Labels::OneCategory);
        let rest: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rest,
            [
                r#"subject0 ::= "user" | "Tea""#,
                r#"labels0 ::= "\",\"category\":\"" category "\",\"kind\":\"" kind "\",\"subject\":\"" subject0 "\"}""#,
                r#"word0 ::= "Tea" ( labels0 rest1 )"#,
                "start0 ::= word0",
                r#"rest0 ::= "]}" | ",{\"basis\":\"" start0"#,
                r#"rest1 ::= "]}""#,
                r#"root ::= "{\"facts\":[" ( "]}" | "{\"basis\":\"" start0 )"#,
            ]
        );
        assert_eq!(
            grammar(&["user: ".to_owned()], Labels::OneCategory),
            r#"root ::= "{\"facts\":[]}""#
        );
    }

    #[test]
    fn one_to_three_categories_are_labelled_by_these_rules() {
        let text = grammar(&["user: Tea.".to_owned()], Labels::Categories);
        let rules: Vec<&str> = text.lines().skip(2).take(4).collect();
        assert_eq!(
            rules,
            [
                r#"another ::= "\",\"" category"#,
                "categories ::= category ( another ( another )? )?",
                r#"subject0 ::= "user" | "Tea""#,
                r#"labels0 ::= "\",\"categories\":[\"" categories "\"],\"kind\":\"" kind "\",\"subject\":\"" subject0 "\"}""#,
            ]
        );
    }

    #[test]
    fn what_has_a_meaning_in_json_or_in_the_grammar_is_escaped_for_both() {
        let text = grammar(&["user: a\"b c\\d".to_owned()], Labels::OneCategory);
        assert!(text.contains(r#"word0 ::= "a\\\"b""#), "{text}");
        assert!(text.contains(r#"word1 ::= "c\\\\d""#), "{text}");
    }
}
