//! What the worker knows of a model's tokens: their bytes, which end a turn, which are never typed by a user.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use crate::sampler::TokenId;
use crate::tools;

/// The tokens of a loaded model.
pub(crate) struct Vocabulary {
    /// Bytes of each token as output; nothing for control tokens, except the marks of tool calls.
    pieces: Vec<Vec<u8>>,
    /// Tokens that end the model's turn.
    ends: Vec<bool>,
    /// Control tokens that do not end a turn and mark no tool call: a constrained answer never holds one.
    control: Vec<bool>,
    /// The texts of all control tokens.
    control_texts: Vec<String>,
    bos: Option<TokenId>,
    pub(crate) bos_text: String,
    pub(crate) eos_text: String,
    adds_bos: bool,
    /// SentencePiece vocabularies begin a text with a space that was not asked for.
    leading_space: bool,
    longest_piece: usize,
    digest: [u8; 32],
}

impl Vocabulary {
    pub(crate) fn of(model: &LlamaModel, tokenizer: &str) -> Self {
        let vocab = model.vocab();
        let count = u32::try_from(vocab.n_tokens()).unwrap_or(0);
        let mut hasher = blake3::Hasher::new();
        let mut this = Self {
            pieces: Vec::with_capacity(count as usize),
            ends: Vec::with_capacity(count as usize),
            control: Vec::with_capacity(count as usize),
            control_texts: Vec::new(),
            bos: known(vocab.bos(), count),
            bos_text: String::new(),
            eos_text: String::new(),
            adds_bos: vocab.should_add_bos(),
            // Not asked of the wrapper: it panics on kinds of vocabulary that it does not know.
            leading_space: tokenizer == "llama",
            longest_piece: 1,
            digest: [0; 32],
        };
        for id in 0..count {
            let token = llama(id);
            let whole = vocab.token_to_piece(token, true, None);
            let is_control = vocab.is_control(token);
            let ends = vocab.is_eog(token);
            let text = std::str::from_utf8(&whole).unwrap_or_default();
            let marks_call = tools::MARKERS.contains(&text);
            hasher.update(&(whole.len() as u32).to_le_bytes());
            hasher.update(&whole);
            hasher.update(&[u8::from(is_control), u8::from(ends)]);
            if is_control && !text.is_empty() {
                this.control_texts.push(text.to_owned());
            }
            this.longest_piece = this.longest_piece.max(whole.len());
            this.control.push(is_control && !ends && !marks_call);
            this.ends.push(ends);
            this.pieces.push(if is_control && !marks_call {
                Vec::new()
            } else {
                whole
            });
        }
        // Longer texts first, so that one which contains another is found whole.
        this.control_texts
            .sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        this.control_texts.dedup();
        let text_of = |token: LlamaToken| {
            known(token, count)
                .map(|_| {
                    String::from_utf8_lossy(&vocab.token_to_piece(token, true, None)).into_owned()
                })
                .unwrap_or_default()
        };
        this.bos_text = text_of(vocab.bos());
        this.eos_text = text_of(vocab.eos());
        this.digest = *hasher.finalize().as_bytes();
        this
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The bytes of a token; `first` when it is the first of an answer.
    pub(crate) fn piece(&self, token: TokenId, first: bool) -> &[u8] {
        let piece = self
            .pieces
            .get(token as usize)
            .map_or(&[][..], Vec::as_slice);
        if first && self.leading_space {
            piece.strip_prefix(b" ").unwrap_or(piece)
        } else {
            piece
        }
    }

    pub(crate) fn ends_turn(&self, token: TokenId) -> bool {
        self.ends.get(token as usize).copied().unwrap_or(false)
    }

    pub(crate) fn is_control(&self, token: TokenId) -> bool {
        self.control.get(token as usize).copied().unwrap_or(false)
    }

    pub(crate) fn control_texts(&self) -> &[String] {
        &self.control_texts
    }

    /// The fewest tokens that can spell this many bytes.
    pub(crate) fn fewest_tokens(&self, bytes: usize) -> usize {
        bytes / self.longest_piece
    }

    /// The token that a prompt begins with, when the model wants one.
    pub(crate) fn required_bos(&self) -> Option<TokenId> {
        self.bos.filter(|_| self.adds_bos)
    }

    /// BLAKE3 over each token's length, bytes and attributes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// A token for llama.cpp, which counts in signed numbers.
pub(crate) fn llama(token: TokenId) -> LlamaToken {
    LlamaToken::new(token.cast_signed())
}

fn known(token: LlamaToken, count: u32) -> Option<TokenId> {
    u32::try_from(token.0).ok().filter(|id| *id < count)
}
