//! The tokenizer against what the published one gives, and what it does not understand.

use super::*;

/// `vectors/wordpiece.json`, made with Hugging Face's `tokenizers` 0.23.3: which characters it drops, strips, splits at and sets
/// apart; and the ids of texts with a vocabulary of those pieces of all-MiniLM-L6-v2's that it makes of them.
#[derive(serde::Deserialize)]
struct Vectors {
    categories: Categories,
    tokens: Vec<String>,
    groups: Vec<Group>,
}

#[derive(serde::Deserialize)]
struct Categories {
    dropped: Set,
    marks: Set,
    punctuation: Set,
    apart: Set,
}

/// How many characters, and BLAKE3 of them in ascending order, each as u32 LE.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Set {
    count: usize,
    blake3: String,
}

impl Set {
    fn of(has: impl Fn(char) -> bool) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut count = 0;
        for c in ('\0'..=char::MAX).filter(|c| has(*c)) {
            hasher.update(&u32::from(c).to_le_bytes());
            count += 1;
        }
        Self {
            count,
            blake3: hasher.finalize().to_hex().to_string(),
        }
    }
}

#[derive(serde::Deserialize)]
struct Group {
    lowercase: bool,
    strip_accents: bool,
    texts: Vec<Text>,
}

#[derive(serde::Deserialize)]
struct Text {
    text: String,
    ids: Vec<TokenId>,
}

const UNCASED: Rules = Rules {
    lowercase: true,
    strip_accents: true,
};

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../vectors/wordpiece.json")).expect("they parse")
}

/// A tokenizer whose ids are the places of the tokens; the control tokens are those in brackets.
fn tokenizer(tokens: &[impl AsRef<str>], rules: Rules) -> Option<WordPiece> {
    let tokens = (0..).zip(tokens).map(|(id, text)| {
        let text = text.as_ref();
        (id, text, text.len() > 1 && text.starts_with('['))
    });
    WordPiece::new(tokens, rules)
}

#[test]
fn ids_are_those_of_the_published_tokenizer() {
    let vectors = vectors();
    for group in &vectors.groups {
        let rules = Rules {
            lowercase: group.lowercase,
            strip_accents: group.strip_accents,
        };
        let words = tokenizer(&vectors.tokens, rules).expect("a vocabulary");
        for Text { text, ids } in &group.texts {
            let ours = words.tokenize_whole(text, usize::MAX);
            assert_eq!(&ours, ids, "{text:?} with {rules:?}");
        }
    }
}

#[test]
fn characters_are_sorted_as_the_published_tokenizer_sorts_them() {
    let Categories {
        dropped,
        marks,
        punctuation,
        apart,
    } = vectors().categories;
    let set = |class| {
        let characters = Characters::of(class);
        Set::of(|c| characters.has(c))
    };
    assert_eq!(set(DROPPED), dropped);
    assert_eq!(set(MARKS), marks);
    let others = Characters::of(PUNCTUATION);
    assert_eq!(
        Set::of(|c| c.is_ascii_punctuation() || others.has(c)),
        punctuation
    );
    assert_eq!(Set::of(is_apart), apart);
}

#[test]
fn a_control_token_in_a_text_is_letters() {
    let tokens = [
        "[CLS]",
        "[SEP]",
        "[UNK]",
        "\u{2581}[",
        "\u{2581}]",
        "\u{2581}sep",
    ];
    let words = tokenizer(&tokens, UNCASED).expect("a vocabulary");
    assert_eq!(words.tokenize_whole("[SEP]", 9), [0, 3, 5, 4, 1]);
}

#[test]
fn reading_ends_soon_after_as_many_tokens_as_are_asked_for() {
    let tokens = ["[CLS]", "[SEP]", "[UNK]", "\u{2581}a"];
    let words = tokenizer(&tokens, UNCASED).expect("a vocabulary");
    assert_eq!(words.tokenize_whole("a a", 4), [0, 3, 3, 1]);
    let cut = words.tokenize_whole(&"a ".repeat(1000), 4);
    assert_eq!(cut, [0, 3, 3, 3, 3, 1]);
}

#[test]
fn a_vocabulary_without_its_marks_or_with_other_ones_is_not_understood() {
    let whole = ["[CLS]", "[SEP]", "[UNK]", "\u{2581}a", "b"];
    assert!(tokenizer(&whole, UNCASED).is_some());
    for missing in 0..3 {
        let mut tokens = whole;
        tokens[missing] = "[OTHER]";
        assert!(tokenizer(&tokens, UNCASED).is_none(), "{tokens:?}");
    }
    let published = ["[CLS]", "[SEP]", "[UNK]", "a", "##b"];
    assert!(tokenizer(&published, UNCASED).is_none());
}

#[test]
fn a_file_says_how_its_texts_are_normalised_or_is_not_understood() {
    let read = |keys: &[(&str, &str)]| {
        Rules::read(|name| {
            keys.iter()
                .find(|(key, _)| name.strip_prefix("tokenizer.ggml.") == Some(*key))
                .map(|(_, value)| (*value).to_owned())
        })
    };
    let bert = ("model", "bert");
    let rules = |lowercase, strip_accents| {
        Some(Rules {
            lowercase,
            strip_accents,
        })
    };
    let cased = ("normalizer.lowercase", "false");
    let stripped = ("normalizer.strip_accents", "true");
    assert_eq!(read(&[bert]), rules(true, true));
    assert_eq!(read(&[bert, ("pre", "default")]), rules(true, true));
    assert_eq!(read(&[bert, cased]), rules(false, false));
    assert_eq!(read(&[bert, cased, stripped]), rules(false, true));
    assert_eq!(
        read(&[bert, ("normalizer.strip_accents", "false")]),
        rules(true, false)
    );
    assert_eq!(read(&[]), None);
    assert_eq!(read(&[("model", "gpt2")]), None);
    assert_eq!(read(&[bert, ("pre", "another")]), None);
    assert_eq!(read(&[bert, ("normalizer.lowercase", "1")]), None);
}
