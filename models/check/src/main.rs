//! `tally-model-check MODEL`: what llama.cpp makes of a GGUF, for the recipes and evaluations beside this crate. Texts for BERT and
//! its family are tokenised as the runtime does it.
//!
//! One JSON request per line on standard input, one JSON answer per line on standard output, in order:
//!
//! | request | answer |
//! |---|---|
//! | `{"op":"tokens","text":T,"add":bool,"special":bool}` | `[id, …]` |
//! | `{"op":"logits","tokens":[id, …]}` | the logits after the last token |
//! | `{"op":"embed","text":T}` | the pooled vector, as the model gives it |
//! | `{"op":"rank","tokens":[id, …]}` | the number that a reranking model gives these |
//! | `{"op":"generate","prompt":T,"max":N,"schema":S?,"grammar":G?}` | `{"text":…,"tokens":n,"stopped":bool}`, greedy |
//!
//! With `special`, the texts of control tokens are those tokens, by llama.cpp's tokenizer; an embedding is without.
//!
//! Invariants: every request starts from an empty context and one thread computes it, so answers do not depend on what
//! was asked before.
//!
//! Out of scope: untrusted models and speed. This is a tool for whoever builds the models; the runtime loads weights in
//! a supervised worker instead.

use std::io::{BufRead, Write};
use std::num::NonZeroU32;

use anyhow::{Context as _, Result, bail};
use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use serde::Deserialize;
use tally_inference::wordpiece::WordPiece;

/// The context of every request, in tokens.
const CONTEXT: u32 = 2048;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Request {
    Tokens {
        text: String,
        add: bool,
        special: bool,
    },
    Logits {
        tokens: Vec<i32>,
    },
    Embed {
        text: String,
    },
    Rank {
        tokens: Vec<i32>,
    },
    Generate {
        prompt: String,
        max: usize,
        schema: Option<String>,
        grammar: Option<String>,
    },
}

fn main() -> Result<()> {
    let path = std::env::args_os()
        .nth(1)
        .context("usage: tally-model-check MODEL.gguf < requests")?;
    let mut backend = LlamaBackend::init()?;
    backend.void_logs();
    let model = LlamaModel::load_from_file(&backend, &path, &LlamaModelParams::default())?;
    let words = WordPiece::of(&model);
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request =
            serde_json::from_str(&line?).context("a request is one JSON object on one line")?;
        writeln!(
            out,
            "{}",
            answer(&backend, &model, words.as_ref(), request)?
        )?;
        out.flush()?;
    }
    Ok(())
}

fn answer(
    backend: &LlamaBackend,
    model: &LlamaModel,
    words: Option<&WordPiece>,
    request: Request,
) -> Result<serde_json::Value> {
    Ok(match request {
        Request::Tokens { text, add, special } => {
            let tokens = tokenized(model, words, &text, add, special);
            let ids: Vec<i32> = tokens.iter().map(|token| token.0).collect();
            ids.into()
        }
        Request::Logits { tokens } => {
            let tokens: Vec<LlamaToken> = tokens.into_iter().map(LlamaToken).collect();
            let mut context = context(backend, model, false)?;
            feed(&mut context, &tokens, 0)?;
            context
                .get_logits_ith(tokens.len() as i32 - 1)
                .to_vec()
                .into()
        }
        Request::Embed { text } => {
            let tokens = tokenized(model, words, &text, true, false);
            pooled(backend, model, &tokens)?.into()
        }
        Request::Rank { tokens } => {
            let tokens: Vec<LlamaToken> = tokens.into_iter().map(LlamaToken).collect();
            let numbers = pooled(backend, model, &tokens)?;
            numbers.first().copied().context("no number")?.into()
        }
        Request::Generate {
            prompt,
            max,
            schema,
            grammar,
        } => {
            let grammar = match (schema, grammar) {
                (Some(schema), None) => Some(llama_cpp_2::json_schema_to_grammar(&schema)?),
                (None, grammar) => grammar,
                (Some(_), Some(_)) => bail!("give a schema or a grammar, not both"),
            };
            generate(backend, model, &prompt, max, grammar.as_deref())?
        }
    })
}

/// A text's tokens, with the marks of beginning and end if they are to be added.
fn tokenized(
    model: &LlamaModel,
    words: Option<&WordPiece>,
    text: &str,
    add: bool,
    special: bool,
) -> Vec<LlamaToken> {
    let Some(words) = words.filter(|_| !special) else {
        return model.vocab().tokenize(text.as_bytes(), add, special);
    };
    let whole = words.tokenize_whole(text, usize::MAX);
    let kept = if add {
        0..whole.len()
    } else {
        1..whole.len() - 1
    };
    whole[kept]
        .iter()
        .map(|id| LlamaToken(id.cast_signed()))
        .collect()
}

/// What the model makes of all tokens together.
fn pooled(backend: &LlamaBackend, model: &LlamaModel, tokens: &[LlamaToken]) -> Result<Vec<f32>> {
    let mut context = context(backend, model, true)?;
    let mut batch = LlamaBatch::new(tokens.len(), 1);
    batch.add_sequence(tokens, 0, true)?;
    context.encode(&mut batch)?;
    Ok(context.embeddings_seq_ith(0)?.to_vec())
}

fn context<'a>(
    backend: &LlamaBackend,
    model: &'a LlamaModel,
    embeddings: bool,
) -> Result<LlamaContext<'a>> {
    let size = NonZeroU32::new(CONTEXT.min(model.n_ctx_train()))
        .context("the model says its context is empty")?;
    let params = LlamaContextParams::default()
        .with_n_ctx(Some(size))
        .with_n_batch(size.get())
        .with_n_ubatch(size.get())
        .with_n_threads(1)
        .with_n_threads_batch(1)
        .with_embeddings(embeddings);
    Ok(model.new_context(backend, params)?)
}

/// Decodes `tokens` at positions from `from` on, asking for the logits of the last.
fn feed(context: &mut LlamaContext<'_>, tokens: &[LlamaToken], from: usize) -> Result<()> {
    let mut batch = LlamaBatch::new(tokens.len(), 1);
    for (index, &token) in tokens.iter().enumerate() {
        batch.add(
            token,
            i32::try_from(from + index)?,
            &[0],
            index + 1 == tokens.len(),
        )?;
    }
    Ok(context.decode(&mut batch)?)
}

fn generate(
    backend: &LlamaBackend,
    model: &LlamaModel,
    prompt: &str,
    max: usize,
    grammar: Option<&str>,
) -> Result<serde_json::Value> {
    let vocab = model.vocab();
    let prompt = vocab.tokenize(prompt.as_bytes(), true, true);
    let mut context = context(backend, model, false)?;
    feed(&mut context, &prompt, 0)?;
    let mut samplers = Vec::new();
    if let Some(grammar) = grammar {
        samplers.push(LlamaSampler::grammar(model, grammar, "root")?);
    }
    samplers.push(LlamaSampler::greedy());
    let mut sampler = LlamaSampler::chain_simple(samplers);
    let (mut text, mut count, mut stopped) = (Vec::new(), 0, false);
    while count < max {
        let token = sampler.sample(&context, -1);
        if vocab.is_eog(token) {
            stopped = true;
            break;
        }
        text.extend(vocab.token_to_piece(token, false, None));
        feed(&mut context, &[token], prompt.len() + count)?;
        count += 1;
    }
    Ok(
        serde_json::json!({"text": String::from_utf8_lossy(&text), "tokens": count, "stopped": stopped}),
    )
}
