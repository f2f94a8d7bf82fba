//! The embedding model, a two-layer BERT with a WordPiece vocabulary of characters and common words and mean pooling; and the
//! reranking model, the same with a head that makes one number of the first token's state.

use std::collections::BTreeMap;

use crate::corpus;
use crate::gguf::{Array, Dtype, GgufWriter, Value};
use crate::random::Random;

const WIDTH: usize = 64;
const HEADS: u32 = 4;
const INNER: usize = 128;
const LAYERS: usize = 2;
const CONTEXT: usize = 256;

/// The bytes of an embedding model.
#[must_use]
pub fn embedding_model(seed: u64) -> Vec<u8> {
    model(seed, None)
}

/// The bytes of a reranking model.
#[must_use]
pub fn reranking_model(seed: u64) -> Vec<u8> {
    model(seed, Some(Head::Plain))
}

/// The bytes of a reranking model that says to read its pairs through a template.
#[must_use]
pub fn reranking_model_with_template(seed: u64) -> Vec<u8> {
    model(seed, Some(Head::WithTemplate))
}

/// What a reranking model has beyond an embedding model.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Plain,
    WithTemplate,
}

fn model(seed: u64, head: Option<Head>) -> Vec<u8> {
    let ranks = head.is_some();
    let mut tokens: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .map(str::to_owned)
        .to_vec();
    let mut types = vec![3; tokens.len()];
    // llama.cpp marks the beginning of a word with U+2581 where WordPiece marks continuations with ##.
    let characters = (b'!'..=b'~')
        .filter(|byte| !byte.is_ascii_uppercase())
        .map(char::from);
    for c in characters {
        tokens.push(format!("\u{2581}{c}"));
        tokens.push(c.to_string());
    }
    let mut words: BTreeMap<String, usize> = BTreeMap::new();
    for word in corpus::TEXT
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| word.len() > 1)
    {
        *words.entry(word.to_ascii_lowercase()).or_default() += 1;
    }
    let mut words: Vec<_> = words.into_iter().collect();
    words.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    tokens.extend(
        words
            .into_iter()
            .take(400)
            .map(|(word, _)| format!("\u{2581}{word}")),
    );
    types.resize(tokens.len(), 1);
    let vocabulary = tokens.len();

    let mut file = GgufWriter::new();
    let text = |text: &str| Value::Text(text.to_owned());
    file.key("general.architecture", &text("bert"));
    file.key("general.type", &text("model"));
    let name = if ranks { "reranker" } else { "embedding" };
    file.key("general.name", &text(&format!("Tally seed {name}")));
    file.key("general.license", &text("apache-2.0"));
    file.key("general.file_type", &Value::U32(1));
    file.key("bert.block_count", &Value::U32(LAYERS as u32));
    file.key("bert.context_length", &Value::U32(CONTEXT as u32));
    file.key("bert.embedding_length", &Value::U32(WIDTH as u32));
    file.key("bert.feed_forward_length", &Value::U32(INNER as u32));
    file.key("bert.attention.head_count", &Value::U32(HEADS));
    file.key("bert.attention.layer_norm_epsilon", &Value::F32(1e-12));
    file.key("bert.attention.causal", &Value::Bool(false));
    let pooling = if ranks { 4 } else { 1 };
    file.key("bert.pooling_type", &Value::U32(pooling));
    if head == Some(Head::WithTemplate) {
        let template = text("{query} and {document}");
        file.key("tokenizer.chat_template.rerank", &template);
    }
    file.key("tokenizer.ggml.model", &text("bert"));
    file.key("tokenizer.ggml.tokens", &Value::Array(Array::Text(tokens)));
    file.key(
        "tokenizer.ggml.token_type",
        &Value::Array(Array::I32(types)),
    );
    file.key("tokenizer.ggml.token_type_count", &Value::U32(2));
    file.key("tokenizer.ggml.padding_token_id", &Value::U32(0));
    file.key("tokenizer.ggml.unknown_token_id", &Value::U32(1));
    file.key("tokenizer.ggml.cls_token_id", &Value::U32(2));
    file.key("tokenizer.ggml.bos_token_id", &Value::U32(2));
    file.key("tokenizer.ggml.eos_token_id", &Value::U32(3));
    file.key("tokenizer.ggml.seperator_token_id", &Value::U32(3));
    file.key("tokenizer.ggml.mask_token_id", &Value::U32(4));

    let mut random = Random::new(seed ^ 0xe3b0);
    let mut noise = |count: usize, scale: f32| -> Vec<f32> {
        (0..count).map(|_| random.normal() * scale).collect()
    };
    let by_width = 1.0 / (WIDTH as f32).sqrt();
    let by_inner = 1.0 / (INNER as f32).sqrt();
    let matrix =
        |file: &mut GgufWriter, name: &str, rows: usize, columns: usize, weights: &[f32]| {
            file.tensor(name, &[columns, rows], Dtype::F16, weights);
        };
    let norm = |file: &mut GgufWriter, name: &str| {
        file.tensor(
            &format!("{name}.weight"),
            &[WIDTH],
            Dtype::F32,
            &[1.0; WIDTH],
        );
        file.tensor(&format!("{name}.bias"), &[WIDTH], Dtype::F32, &[0.0; WIDTH]);
    };
    matrix(
        &mut file,
        "token_embd.weight",
        vocabulary,
        WIDTH,
        &noise(vocabulary * WIDTH, 1.0),
    );
    file.tensor(
        "position_embd.weight",
        &[WIDTH, CONTEXT],
        Dtype::F32,
        &noise(CONTEXT * WIDTH, 0.1),
    );
    file.tensor(
        "token_types.weight",
        &[WIDTH, 2],
        Dtype::F32,
        &noise(2 * WIDTH, 0.1),
    );
    norm(&mut file, "token_embd_norm");
    for layer in 0..LAYERS {
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            matrix(
                &mut file,
                &format!("blk.{layer}.{part}.weight"),
                WIDTH,
                WIDTH,
                &noise(WIDTH * WIDTH, by_width),
            );
            file.tensor(
                &format!("blk.{layer}.{part}.bias"),
                &[WIDTH],
                Dtype::F32,
                &noise(WIDTH, 0.02),
            );
        }
        norm(&mut file, &format!("blk.{layer}.attn_output_norm"));
        matrix(
            &mut file,
            &format!("blk.{layer}.ffn_up.weight"),
            INNER,
            WIDTH,
            &noise(INNER * WIDTH, by_width),
        );
        file.tensor(
            &format!("blk.{layer}.ffn_up.bias"),
            &[INNER],
            Dtype::F32,
            &noise(INNER, 0.02),
        );
        matrix(
            &mut file,
            &format!("blk.{layer}.ffn_down.weight"),
            WIDTH,
            INNER,
            &noise(INNER * WIDTH, by_inner),
        );
        file.tensor(
            &format!("blk.{layer}.ffn_down.bias"),
            &[WIDTH],
            Dtype::F32,
            &noise(WIDTH, 0.02),
        );
        norm(&mut file, &format!("blk.{layer}.layer_output_norm"));
    }
    if ranks {
        let weights = noise(WIDTH * WIDTH, by_width);
        file.tensor("cls.weight", &[WIDTH, WIDTH], Dtype::F32, &weights);
        file.tensor("cls.bias", &[WIDTH], Dtype::F32, &noise(WIDTH, 0.02));
        let weights = noise(WIDTH, by_width);
        file.tensor("cls.output.weight", &[WIDTH, 1], Dtype::F32, &weights);
        file.tensor("cls.output.bias", &[1], Dtype::F32, &noise(1, 0.02));
    }
    file.finish()
}
