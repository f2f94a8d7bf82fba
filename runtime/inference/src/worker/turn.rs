//! One generation: what was read, what was written, and what may still come.

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use crate::error::Refusal;
use crate::event::FinishReason;
use crate::request::{ClientNonce, ResponseFormat, ToolCall};
use crate::sampler::{self, Mask, NoToken, Position, PromptDigest, Rules, Seed, TokenId, Unmasked};
use crate::tools::{self, CallReader};
use crate::weights::WeightsDigest;
use crate::wire::{Chat, RequestId};
use crate::worker::prompt::Prompter;
use crate::worker::text::TextStream;
use crate::worker::vocabulary::{self, Vocabulary};

/// A generation from its first to its last token.
pub(crate) struct Turn {
    pub(crate) id: RequestId,
    pub(crate) fairness: u64,
    /// The prompt and then the output.
    tokens: Vec<TokenId>,
    prompt_length: usize,
    context_tokens: usize,
    /// Prompt tokens whose state was reused.
    pub(crate) cached: u32,
    seed: Seed,
    rules: Rules,
    max_tokens: usize,
    grammar: Option<Grammar>,
    text: TextStream,
    calls: Option<CallReader>,
}

/// What one more token gave.
#[derive(Debug)]
pub(crate) struct Advance {
    pub(crate) token: TokenId,
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) finish: Option<FinishReason>,
}

impl Turn {
    /// Renders, tokenizes and compiles all that the request needs.
    pub(crate) fn new(
        chat: &Chat,
        prompter: &Prompter,
        model: &LlamaModel,
        vocabulary: &Vocabulary,
        context_tokens: u32,
    ) -> Result<Self, Refusal> {
        let prompt = prompter.prompt(chat, model, vocabulary, context_tokens)?;
        let nonce = ClientNonce::from_bytes(chat.nonce);
        let weights = WeightsDigest::from_bytes(chat.weights);
        let seed = Seed::derive(&nonce, &PromptDigest::of(&prompt), &weights, &chat.node_key);
        let grammar = grammar_text(chat)?
            .map(|text| Grammar::new(model, vocabulary, text))
            .transpose()?;
        let calls = prompter
            .call_format(chat)
            .map(|format| CallReader::new(format, &chat.tools, *seed.as_bytes()));
        Ok(Self {
            id: chat.id,
            fairness: chat.fairness,
            prompt_length: prompt.len(),
            tokens: prompt,
            context_tokens: context_tokens as usize,
            cached: 0,
            seed,
            rules: Rules::from(&chat.sampling),
            max_tokens: chat.sampling.max_tokens as usize,
            grammar,
            text: TextStream::new(&chat.sampling.stop),
            calls,
        })
    }

    pub(crate) fn prompt(&self) -> &[TokenId] {
        &self.tokens[..self.prompt_length]
    }

    /// BLAKE3 of the grammar's text.
    pub(crate) fn grammar_digest(&self) -> Option<[u8; 32]> {
        self.grammar.as_ref().map(|grammar| grammar.digest)
    }

    /// Chooses the token that follows from the scores at the last one.
    pub(crate) fn advance(
        &mut self,
        logits: &[f32],
        vocabulary: &Vocabulary,
    ) -> Result<Advance, Refusal> {
        let written = self.tokens.len() - self.prompt_length;
        let position = Position {
            logits,
            before: &self.tokens,
            index: written as u64,
            seed: &self.seed,
            rules: &self.rules,
        };
        let chosen = match &mut self.grammar {
            None => sampler::choose(&position, &mut Unmasked),
            Some(grammar) => sampler::choose(
                &position,
                &mut Allowed {
                    grammar,
                    vocabulary,
                },
            ),
        };
        let token = chosen.map_err(|fault| match fault {
            NoToken::NoScores => Refusal::BrokenScores,
            NoToken::AllMasked => Refusal::GrammarDeadEnd,
        })?;
        if let Some(grammar) = &mut self.grammar {
            grammar
                .sampler
                .try_accept(vocabulary::llama(token))
                .map_err(|_| Refusal::GrammarDeadEnd)?;
        }
        self.tokens.push(token);

        let mut text = String::new();
        let finish = if vocabulary.ends_turn(token) {
            Some(FinishReason::Stop)
        } else if self
            .text
            .push(vocabulary.piece(token, written == 0), &mut text)
        {
            Some(FinishReason::StopString)
        } else if written + 1 >= self.max_tokens || self.tokens.len() >= self.context_tokens {
            Some(FinishReason::Length)
        } else {
            None
        };
        if finish.is_some() {
            self.text.flush(&mut text);
        }
        let (text, calls) = self.read_calls(text, finish.is_some());
        let called = self.calls.as_ref().is_some_and(|calls| calls.count() > 0);
        let finish = match finish {
            Some(FinishReason::Stop | FinishReason::StopString) if called => {
                Some(FinishReason::ToolCalls)
            }
            other => other,
        };
        Ok(Advance {
            token,
            text,
            calls,
            finish,
        })
    }

    /// Ends the generation where it is: the text that was held back.
    pub(crate) fn cancel(&mut self) -> (String, Vec<ToolCall>) {
        let mut text = String::new();
        self.text.flush(&mut text);
        self.read_calls(text, true)
    }

    fn read_calls(&mut self, text: String, is_last: bool) -> (String, Vec<ToolCall>) {
        let Some(reader) = &mut self.calls else {
            return (text, Vec::new());
        };
        let mut read = reader.push(&text);
        if is_last {
            let last = reader.finish();
            read.text.push_str(&last.text);
            read.calls.extend(last.calls);
        }
        (read.text, read.calls)
    }
}

/// The grammar of a request, as GBNF.
fn grammar_text(chat: &Chat) -> Result<Option<String>, Refusal> {
    let convert =
        |schema: &str| llama_cpp_2::json_schema_to_grammar(schema).map_err(|_| Refusal::Schema);
    if let Some(schema) = tools::forced_schema(&chat.tools, &chat.tool_choice) {
        return convert(&schema.to_string()).map(Some);
    }
    match &chat.response {
        ResponseFormat::Text => Ok(None),
        ResponseFormat::JsonSchema(schema) => convert(schema).map(Some),
        ResponseFormat::Gbnf(text) => Ok(Some(text.clone())),
    }
}

struct Grammar {
    sampler: LlamaSampler,
    digest: [u8; 32],
}

impl Grammar {
    fn new(model: &LlamaModel, vocabulary: &Vocabulary, text: String) -> Result<Self, Refusal> {
        let digest = *blake3::hash(text.as_bytes()).as_bytes();
        let sampler = LlamaSampler::grammar(model, &text, "root").map_err(|_| Refusal::Grammar)?;
        let mut this = Self { sampler, digest };
        // A grammar without a single sentence would be found out only after the prompt was read.
        let everything: Vec<TokenId> = (0..vocabulary.len() as u32).collect();
        let mut allowed = Vec::new();
        Allowed {
            grammar: &mut this,
            vocabulary,
        }
        .allow(&everything, &mut allowed);
        if allowed.contains(&true) {
            Ok(this)
        } else {
            Err(Refusal::GrammarDeadEnd)
        }
    }
}

/// The tokens that a grammar allows: those it accepts, without control tokens, which would vanish from the text.
struct Allowed<'a> {
    grammar: &'a mut Grammar,
    vocabulary: &'a Vocabulary,
}

impl Mask for Allowed<'_> {
    fn allow(&mut self, tokens: &[TokenId], allowed: &mut Vec<bool>) {
        let data = tokens
            .iter()
            .map(|token| LlamaTokenData::new(vocabulary::llama(*token), 0.0, 0.0))
            .collect();
        let mut array = LlamaTokenDataArray::new(data, false);
        array.apply_sampler(&mut self.grammar.sampler);
        allowed.clear();
        allowed.extend(
            array
                .data
                .iter()
                .zip(tokens)
                .map(|(data, token)| data.logit() == 0.0 && !self.vocabulary.is_control(*token)),
        );
    }
}
