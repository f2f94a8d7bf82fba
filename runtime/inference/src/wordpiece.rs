//! WordPiece: the token ids of a text for BERT and its family, as their published tokenizers give them.
//!
//! ```text
//!  text ─► dropped: controls ─► apart: ideographs ─► NFD, dropped: accents ─► lower case ─► words, punctuation ─► pieces
//! ```
//!
//! llama.cpp has a tokenizer for these models too, which differs: of what a character decomposes into it keeps the first code
//! point, which loses the rest of a Hangul syllable; it drops every mark (M), where accents are marks without a width (Mn), which
//! loses the vowels of Devanagari and other scripts; and it splits a word of any length.
//!
//! The reference is Hugging Face's `tokenizers`: `BertNormalizer`, `BertPreTokenizer` and `WordPiece` with its 100 characters a
//! word. `vectors/wordpiece.json` is what it gives. Its tables are of Unicode 8 with five characters' categories as they were
//! then, so these are too, whatever the version of the tables they are taken from: a character that came later belongs to its
//! word. Decompositions that came later are made here and not there; no vocabulary can tell, unless it knows the parts.
//!
//! Out of scope: control tokens. Where the text of one stands in a text, it is punctuation and letters.

use std::collections::HashMap;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use regex_syntax::hir::{Class, Hir, HirKind};
use unicode_normalization::UnicodeNormalization as _;

use crate::sampler::TokenId;

/// Characters of the longest word that is looked up; a longer one is unknown.
const MAX_WORD: usize = 100;

/// What begins a token that begins a word, in a GGUF file. A vocabulary as it was published marks the others instead, with `##`.
const WORD_START: char = '\u{2581}';

/// Values of `tokenizer.ggml.pre` in files of this family. llama.cpp does not read them: they name the model whose tokenizer it
/// is, and of these it is known to be this one.
const PRE_TOKENIZERS: [&str; 4] = ["default", "bert-bge", "bert-bge-large", "jina-v2-en"];

/// Left out of every text.
const DROPPED: &str = r"[\p{Cc}\p{Cf}\p{Co}\x{FFFD}&&\p{Age:8.0}--[\t\n\r]]";
/// Accents.
const MARKS: &str = r"[\p{Mn}\x{1734}\x{1171E}&&\p{Age:8.0}--[\x{1885}\x{1886}\x{A9BD}\x{111C9}]]";
/// Each a word of its own, besides ASCII's symbols.
const PUNCTUATION: &str = r"[\p{P}\x{166D}\x{111C9}&&\p{Age:8.0}]";

/// The tokenizer of one model.
#[derive(Debug)]
pub struct WordPiece {
    /// Tokens that begin a word, and those that continue one.
    starts: HashMap<Box<str>, TokenId>,
    continuations: HashMap<Box<str>, TokenId>,
    /// Bytes of the longest of them.
    longest: usize,
    /// `[CLS]`, `[SEP]` and `[UNK]`.
    begin: TokenId,
    end: TokenId,
    unknown: TokenId,
    rules: Rules,
    dropped: Characters,
    marks: Characters,
    punctuation: Characters,
}

/// What a file says about the way its texts are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rules {
    lowercase: bool,
    strip_accents: bool,
}

impl Rules {
    /// From a file's keys; nothing when they are not of this tokenizer, or say something else than yes or no.
    fn read(key: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let is_known = |pre: String| PRE_TOKENIZERS.contains(&pre.as_str());
        if key("tokenizer.ggml.model")? != "bert" || !key("tokenizer.ggml.pre").is_none_or(is_known)
        {
            return None;
        }
        let flag = |name: &str, otherwise: bool| match key(name).as_deref() {
            None => Some(otherwise),
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => None,
        };
        let lowercase = flag("tokenizer.ggml.normalizer.lowercase", true)?;
        let strip_accents = flag("tokenizer.ggml.normalizer.strip_accents", lowercase)?;
        Some(Self {
            lowercase,
            strip_accents,
        })
    }
}

/// A word being read.
#[derive(Default)]
struct Word {
    /// Its first characters, up to [`MAX_WORD`].
    text: String,
    characters: usize,
}

impl Word {
    fn push(&mut self, c: char) {
        self.characters += 1;
        if self.characters <= MAX_WORD {
            self.text.push(c);
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.characters = 0;
    }
}

impl WordPiece {
    /// The tokenizer of a model whose file is of this family and has what it needs: `[CLS]`, `[SEP]` and `[UNK]`, which are
    /// those that llama.cpp would set, and words marked by their beginnings. Of other files llama.cpp's has to be used.
    #[must_use]
    pub fn of(model: &LlamaModel) -> Option<Self> {
        let key = |name: &str| model.meta_val_str(name).ok();
        let rules = Rules::read(key)?;
        let vocab = model.vocab();
        let tokens = vocab.tokens().filter_map(|token| {
            let id = TokenId::try_from(token.0).ok()?;
            let text = vocab.text(token)?.to_str().ok()?;
            Some((id, text, vocab.is_control(token)))
        });
        let this = Self::new(tokens, rules)?;
        let is = |token: LlamaToken, id| TokenId::try_from(token.0) == Ok(id);
        let unknown = key("tokenizer.ggml.unknown_token_id");
        (is(vocab.bos(), this.begin)
            && is(vocab.sep(), this.end)
            && unknown.is_none_or(|id| id == this.unknown.to_string()))
        .then_some(this)
    }

    /// From each token's id, its text as a GGUF file has it, and whether it is a control token.
    fn new<'t>(
        tokens: impl IntoIterator<Item = (TokenId, &'t str, bool)>,
        rules: Rules,
    ) -> Option<Self> {
        let mut starts: HashMap<Box<str>, TokenId> = HashMap::new();
        let mut continuations: HashMap<Box<str>, TokenId> = HashMap::new();
        let mut longest = 0_usize;
        let (mut begin, mut end, mut unknown) = (None, None, None);
        for (id, text, is_control) in tokens {
            match text {
                "[CLS]" => begin = Some(id),
                "[SEP]" => end = Some(id),
                "[UNK]" => unknown = Some(id),
                _ if is_control => {}
                _ => {
                    longest = longest.max(text.len());
                    match text.strip_prefix(WORD_START) {
                        Some(start) if !start.is_empty() => {
                            starts.entry(start.into()).or_insert(id);
                        }
                        _ => {
                            continuations.entry(text.into()).or_insert(id);
                        }
                    }
                }
            }
        }
        let (begin, end, unknown) = (begin?, end?, unknown?);
        (!starts.is_empty()).then(|| Self {
            starts,
            continuations,
            longest,
            begin,
            end,
            unknown,
            rules,
            dropped: Characters::of(DROPPED),
            marks: Characters::of(MARKS),
            punctuation: Characters::of(PUNCTUATION),
        })
    }

    /// The ids of a text between `[CLS]` and `[SEP]`. Of a text with more than `most` it gives more than `most`, not all.
    #[must_use]
    pub fn tokenize_whole(&self, text: &str, most: usize) -> Vec<TokenId> {
        let mut tokens = vec![self.begin];
        let clean = text
            .chars()
            .filter(|c| !self.dropped.has(*c))
            .flat_map(|c| {
                let space = is_apart(c).then_some(' ');
                space.into_iter().chain([c]).chain(space)
            });
        if self.rules.strip_accents {
            let bare = clean.nfd().filter(|c| !self.marks.has(*c));
            self.read(bare, &mut tokens, most);
        } else {
            self.read(clean, &mut tokens, most);
        }
        tokens.push(self.end);
        tokens
    }

    fn read(&self, characters: impl Iterator<Item = char>, tokens: &mut Vec<TokenId>, most: usize) {
        let mut word = Word::default();
        for c in characters {
            if tokens.len() > most {
                return;
            }
            if self.rules.lowercase {
                for c in c.to_lowercase() {
                    self.take(c, &mut word, tokens);
                }
            } else {
                self.take(c, &mut word, tokens);
            }
        }
        self.finish(&mut word, tokens);
    }

    fn take(&self, c: char, word: &mut Word, tokens: &mut Vec<TokenId>) {
        if c.is_whitespace() {
            self.finish(word, tokens);
        } else if c.is_ascii_punctuation() || self.punctuation.has(c) {
            self.finish(word, tokens);
            word.push(c);
            self.finish(word, tokens);
        } else {
            word.push(c);
        }
    }

    fn finish(&self, word: &mut Word, tokens: &mut Vec<TokenId>) {
        match word.characters {
            0 => {}
            1..=MAX_WORD => self.look_up(&word.text, tokens),
            _ => tokens.push(self.unknown),
        }
        word.clear();
    }

    /// The longest token that the word begins with, then the longest that goes on from there; a word that has no end this way
    /// is unknown as a whole.
    fn look_up(&self, word: &str, tokens: &mut Vec<TokenId>) {
        let before = tokens.len();
        let mut known = &self.starts;
        let mut rest = word;
        while !rest.is_empty() {
            let found = rest
                .char_indices()
                .map(|(at, c)| at + c.len_utf8())
                .take_while(|end| *end <= self.longest)
                .filter_map(|end| known.get(&rest[..end]).map(|id| (*id, end)))
                .last();
            let Some((id, end)) = found else {
                tokens.truncate(before);
                tokens.push(self.unknown);
                return;
            };
            tokens.push(id);
            rest = &rest[end..];
            known = &self.continuations;
        }
    }
}

/// Ideographs, each a word of its own. The gap from U+2B820 to U+2B91F is a slip of the reference, and models were trained with it.
fn is_apart(c: char) -> bool {
    matches!(
        c,
        '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{2A6DF}'
            | '\u{2A700}'..='\u{2B81F}'
            | '\u{2B920}'..='\u{2CEAF}'
            | '\u{2F800}'..='\u{2FA1F}'
    )
}

/// A set of characters: ranges with both ends, ascending and apart.
#[derive(Debug)]
struct Characters(Vec<(char, char)>);

impl Characters {
    /// From a class in the notation of regular expressions.
    fn of(class: &str) -> Self {
        match regex_syntax::parse(class).map(Hir::into_kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => Self(
                class
                    .ranges()
                    .iter()
                    .map(|range| (range.start(), range.end()))
                    .collect(),
            ),
            other => unreachable!("the three constants above are classes, and not {other:?}"),
        }
    }

    fn has(&self, c: char) -> bool {
        let before = self.0.partition_point(|(_, end)| *end < c);
        self.0.get(before).is_some_and(|(start, _)| *start <= c)
    }
}

#[cfg(test)]
mod tests;
