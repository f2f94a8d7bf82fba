//! Questions that have one answer at a time: where somebody lives, where they work, what they are called.
//!
//! A fact that answers such a question takes the place of the one that answered it before, without any model having to say so
//! (`timeline.rs`). The rules read English. What they do not know has no slot, and both facts stand.

use std::sync::LazyLock;

use regex::Regex;

use crate::record::Slot;
use crate::speech;

/// A question that a text answers, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) slot: Slot,
    /// The text says that it is over.
    pub(crate) over: bool,
    /// The text says that this is not the answer; "I live in Ghent, not in Brussels" does not.
    pub(crate) denied: bool,
}

/// The question that a text answers.
pub(crate) fn find(text: &str) -> Option<Answer> {
    for (name, pattern) in RULES.iter() {
        let Some(found) = pattern.captures(text) else {
            continue;
        };
        let (Some(whole), Some(value)) = (found.get(0), found.name("value")) else {
            continue;
        };
        let value = value
            .as_str()
            .trim()
            .trim_end_matches(['.', ',', '!', ';', ':']);
        if value.is_empty() || value.len() > 80 {
            continue;
        }
        let name = match found.name("what") {
            Some(what) => format!("{name}-{}", what.as_str().to_lowercase().replace(' ', "-")),
            None => (*name).to_owned(),
        };
        // "I used to live", "I no longer work": the words before the rule's own.
        let before = text[..whole.start()].to_lowercase();
        let over = OVER.is_match(whole.as_str()) || before.ends_with("used to ");
        // "I didn't quit my job at Initech" neither ends the job nor denies it.
        if over && NOT_OVER.is_match(&text[..whole.end()]) {
            continue;
        }
        return Some(Answer {
            slot: Slot {
                name,
                value: value.to_owned(),
            },
            over,
            denied: speech::is_denied(whole.as_str(), text),
        });
    }
    None
}

/// By what answers are the same: letters and digits, without their case.
pub(crate) fn answer_key(value: &str) -> String {
    value
        .to_lowercase()
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty() && !matches!(*word, "the" | "a" | "an" | "city" | "of"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Ends a name of a place or a firm: what comes behind belongs to another clause.
const NAME: &str = r"(?P<value>(?:the\s+)?[\p{Lu}\p{N}][\p{L}\p{N}&'’.\-]*(?:\s+(?:(?:of|de|del|la|le|van|der|den|am|upon|and|&)\s+)?[\p{Lu}\p{N}][\p{L}\p{N}&'’.\-]*){0,4})";

static RULES: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    let rule = |pattern: &str| {
        Regex::new(&pattern.replace("NAME", NAME)).expect("the patterns of this file are tested")
    };
    vec![
        (
            "name",
            rule(r"(?i:\bmy name(?:['’]s| is)|\bcall me|\bi go by)\s+NAME"),
        ),
        (
            "lives-in",
            rule(
                r"\b(?i:(?:used to |no longer |don['’]t |doesn['’]t )?(?:live|lives|living|reside|resides|based)(?: anymore)? in|(?:moved|relocated|moving|have moved|has moved)(?: back| here)?(?: from [\p{L} ]{1,30}?)? to|my home is in|home is)\s+NAME",
            ),
        ),
        (
            "works-at",
            rule(
                r"\b(?i:(?:used to |no longer |don['’]t |doesn['’]t )?(?:work|works|working)(?: [\p{L} ]{1,40}?)? (?:at|for)|employed (?:at|by)|(?:started|joined|a job|new job|position)(?: working)? (?:at|with)|joined|(?:i |i['’]ve )?(?:quit|left)(?: my job)? (?:at )?)\s*NAME",
            ),
        ),
        (
            "job",
            rule(
                r"(?i)\b(?:(?:used to |no longer )?works? as|working as|my (?:job|profession|occupation) is)\s+(?:an?\s+)?(?P<value>[\p{L}\- ]{3,40}?)(?:\s+(?:in|at|for|with|and|since|but|on)\b|[.,;!]|$)",
            ),
        ),
        (
            "birthday",
            rule(
                r"(?i)\b(?:my birthday is(?: on)?|i was born (?:on|in))\s+(?:the\s+)?(?P<value>[\p{L}\p{N} ,./\-]{3,30})",
            ),
        ),
        (
            "age",
            rule(
                r"(?i)\b(?:i['’]?a?m|i am|turned)\s+(?P<value>[0-9]{1,3})(?:\s+years?\s+old)?(?:[.,;!]|$|\s+(?:now|today)\b)",
            ),
        ),
        (
            "phone",
            rule(
                r"(?i)\bmy (?:phone|mobile|cell)(?: number)? is\s+(?P<value>\+?[0-9][0-9 ()\-]{5,20}[0-9])",
            ),
        ),
        (
            "email",
            rule(r"(?i)\bmy e-?mail(?: address)? is\s+(?P<value>[^\s@]+@[^\s@]+\.[^\s@,;]+)"),
        ),
        (
            "status",
            rule(
                r"(?i)\b(?:i['’]m|i am|i got|we got)\s+(?:now\s+|newly\s+|happily\s+|recently\s+)?(?P<value>married|divorced|single|engaged|widowed)\b",
            ),
        ),
        (
            "favourite",
            rule(
                r"(?i)\bmy favou?rite (?P<what>[\p{L} ]{2,30}?) (?:is|are)(?: now)?\s+(?P<value>[\p{L}\p{N}'’\- ]{2,40})",
            ),
        ),
        (
            "my",
            rule(
                r"(?i)\bmy (?P<what>boss|manager|doctor|dentist|therapist|landlord|bank|car|phone model|laptop|timezone|time zone|native language|mother tongue|wife|husband|partner|girlfriend|boyfriend|fianc[ée]e?)(?:['’]s name)? (?:is|['’]s)(?: called| named)?\s+(?P<value>(?:an?\s+)?[\p{Lu}][\p{L}\p{N}'’\- +:/]{1,40})",
            ),
        ),
    ]
});

static OVER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)\b(?:used to|quit|left)\b").expect("the pattern is tested"));

static NOT_OVER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:\b(?:not|never)|n['’]t)\s+(?:(?:yet|really|actually)\s+)?(?:use|used|quit|left|leave)\b")
        .expect("the pattern is tested")
});

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Option<(String, String, bool)> {
        find(text).map(|found| (found.slot.name, found.slot.value, found.over))
    }

    #[test]
    fn a_denial_reaches_what_goes_on_without_a_new_subject() {
        for (text, denied) in [
            ("I don't study or work at Google.", true),
            ("I do not, in fact, work at Google.", true),
            ("I never visited or moved to Berlin.", true),
            ("I live in Ghent, not in Brussels.", false),
            ("I'm not a morning person and I live in Ghent.", false),
        ] {
            let answer = find(text).expect("an answer");
            assert_eq!(answer.denied, denied, "{text}");
        }
    }

    #[test]
    fn questions_with_one_answer_are_known() {
        for (text, name, value, over) in [
            ("I live in Ghent", "lives-in", "Ghent", false),
            (
                "I moved to New York last year",
                "lives-in",
                "New York",
                false,
            ),
            ("I used to live in Paris", "lives-in", "Paris", true),
            (
                "I work at Acme Robotics since May",
                "works-at",
                "Acme Robotics",
                false,
            ),
            ("I work as a nurse in Ghent", "job", "nurse", false),
            ("I quit my job at Initech", "works-at", "Initech", true),
            ("my name is Anna", "name", "Anna", false),
            (
                "my favourite colour is green",
                "favourite-colour",
                "green",
                false,
            ),
            ("my wife is Lena", "my-wife", "Lena", false),
            ("I'm married", "status", "married", false),
            ("I'm 34 years old", "age", "34", false),
        ] {
            assert_eq!(
                answer(text),
                Some((name.to_owned(), value.to_owned(), over)),
                "{text}"
            );
        }
        for text in [
            "I'm allergic to peanuts",
            "I like living in the moment",
            "I work out at night",
            "my sister is Lena",
            "I didn't quit my job at Initech",
            "I never left Initech",
        ] {
            assert_eq!(answer(text), None, "{text}");
        }
        for (text, denied) in [
            ("I don't live in Ghent", true),
            ("I live in Ghent no more", true),
            ("I live in Ghent, not in Brussels", false),
            ("I don't eat meat and I live in Ghent", false),
        ] {
            assert_eq!(find(text).map(|found| found.denied), Some(denied), "{text}");
        }
        assert_eq!(answer_key("The City of Ghent"), answer_key("ghent"));
    }
}
