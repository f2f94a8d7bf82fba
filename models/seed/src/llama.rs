//! The chat model: llama architecture, grouped-query attention, byte-level BPE, ChatML with Hermes tool calls.

use crate::bpe;
use crate::corpus;
use crate::gguf::{Array, Dtype, GgufWriter, Value};
use crate::random::Random;

/// The template in the file: ChatML, with tools announced and called as Hermes and Qwen models do.
pub const CHAT_TEMPLATE: &str = r#"{%- if tools %}
{{- '<|im_start|>system\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
{{- '# Tools\n\nYou may call one or more functions. Their signatures are within <tools></tools>:\n<tools>' }}
{%- for tool in tools %}{{- '\n' + (tool | tojson) }}{%- endfor %}
{{- '\n</tools>\n\nFor each call return a JSON object within <tool_call></tool_call>:\n<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call><|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'system' and not loop.first %}
{{- raise_exception('a system message must come first') }}
{%- elif message.role == 'user' %}
{{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"#;

/// The dimensions of a chat model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatShape {
    /// Width of a state: `heads` times `head_width`.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Width inside the feed-forward part.
    pub inner: usize,
    /// Number of layers.
    pub layers: usize,
    /// Tokens of context.
    pub context: u32,
    /// How matrices are stored.
    pub dtype: Dtype,
}

impl Default for ChatShape {
    /// About a million weights.
    fn default() -> Self {
        Self {
            width: 128,
            heads: 4,
            kv_heads: 2,
            inner: 384,
            layers: 4,
            context: 2048,
            dtype: Dtype::F16,
        }
    }
}

/// The bytes of a chat model with the default shape.
#[must_use]
pub fn chat_model(seed: u64) -> Vec<u8> {
    chat_model_of(seed, ChatShape::default())
}

/// The bytes of a chat model with another shape.
///
/// # Panics
/// When the shape's numbers do not divide each other.
#[must_use]
pub fn chat_model_of(seed: u64, shape: ChatShape) -> Vec<u8> {
    assert!(
        shape.width.is_multiple_of(shape.heads) && shape.heads.is_multiple_of(shape.kv_heads),
        "heads divide the width"
    );
    let bpe = bpe::learn(corpus::TEXT, 512);
    let mut tokens = bpe.tokens;
    // Token types: 1 normal, 3 control, 4 user-defined.
    let mut types = vec![1; tokens.len()];
    let mut special = |text: &str, kind: i32| {
        tokens.push(text.to_owned());
        types.push(kind);
        (tokens.len() - 1) as u32
    };
    let end_of_text = special("<|endoftext|>", 3);
    special("<|im_start|>", 3);
    let end_of_turn = special("<|im_end|>", 3);
    special("<tool_call>", 4);
    special("</tool_call>", 4);
    while !tokens.len().is_multiple_of(32) {
        let text = format!("<|unused{}|>", tokens.len());
        tokens.push(text);
        types.push(5);
    }
    let vocabulary = tokens.len();

    let mut file = GgufWriter::new();
    let text = |text: &str| Value::Text(text.to_owned());
    file.key("general.architecture", &text("llama"));
    file.key("general.type", &text("model"));
    file.key("general.name", &text("Tally seed chat"));
    file.key("general.license", &text("apache-2.0"));
    file.key(
        "general.file_type",
        &Value::U32(match shape.dtype {
            Dtype::F32 => 0,
            Dtype::F16 => 1,
            Dtype::Q8_0 => 7,
        }),
    );
    file.key("llama.block_count", &Value::U32(shape.layers as u32));
    file.key("llama.context_length", &Value::U32(shape.context));
    file.key("llama.embedding_length", &Value::U32(shape.width as u32));
    file.key("llama.feed_forward_length", &Value::U32(shape.inner as u32));
    file.key(
        "llama.attention.head_count",
        &Value::U32(shape.heads as u32),
    );
    file.key(
        "llama.attention.head_count_kv",
        &Value::U32(shape.kv_heads as u32),
    );
    file.key("llama.attention.layer_norm_rms_epsilon", &Value::F32(1e-5));
    file.key(
        "llama.rope.dimension_count",
        &Value::U32((shape.width / shape.heads) as u32),
    );
    file.key("llama.rope.freq_base", &Value::F32(10000.0));
    file.key("llama.vocab_size", &Value::U32(vocabulary as u32));
    file.key("tokenizer.ggml.model", &text("gpt2"));
    file.key("tokenizer.ggml.pre", &text("gpt-2"));
    file.key("tokenizer.ggml.tokens", &Value::Array(Array::Text(tokens)));
    file.key(
        "tokenizer.ggml.token_type",
        &Value::Array(Array::I32(types)),
    );
    file.key(
        "tokenizer.ggml.merges",
        &Value::Array(Array::Text(bpe.merges)),
    );
    file.key("tokenizer.ggml.bos_token_id", &Value::U32(end_of_text));
    file.key("tokenizer.ggml.eos_token_id", &Value::U32(end_of_turn));
    file.key("tokenizer.ggml.padding_token_id", &Value::U32(end_of_text));
    file.key("tokenizer.ggml.add_bos_token", &Value::Bool(false));
    file.key("tokenizer.chat_template", &text(CHAT_TEMPLATE));

    let mut random = Random::new(seed);
    let mut matrix =
        |file: &mut GgufWriter, name: &str, rows: usize, columns: usize, scale: f32| {
            let weights: Vec<f32> = (0..rows * columns)
                .map(|_| random.normal() * scale)
                .collect();
            file.tensor(name, &[columns, rows], shape.dtype, &weights);
        };
    let ones = vec![1.0; shape.width];
    let kv_width = shape.width / shape.heads * shape.kv_heads;
    let by_width = scale(shape.width);
    matrix(&mut file, "token_embd.weight", vocabulary, shape.width, 1.0);
    for layer in 0..shape.layers {
        let name = |part: &str| format!("blk.{layer}.{part}.weight");
        file.tensor(&name("attn_norm"), &[shape.width], Dtype::F32, &ones);
        // Queries and keys are larger than usual, so that attention looks at some tokens more than at others.
        matrix(
            &mut file,
            &name("attn_q"),
            shape.width,
            shape.width,
            2.0 * by_width,
        );
        matrix(
            &mut file,
            &name("attn_k"),
            kv_width,
            shape.width,
            2.0 * by_width,
        );
        matrix(&mut file, &name("attn_v"), kv_width, shape.width, by_width);
        matrix(
            &mut file,
            &name("attn_output"),
            shape.width,
            shape.width,
            by_width,
        );
        file.tensor(&name("ffn_norm"), &[shape.width], Dtype::F32, &ones);
        matrix(
            &mut file,
            &name("ffn_gate"),
            shape.inner,
            shape.width,
            by_width,
        );
        matrix(
            &mut file,
            &name("ffn_up"),
            shape.inner,
            shape.width,
            by_width,
        );
        matrix(
            &mut file,
            &name("ffn_down"),
            shape.width,
            shape.inner,
            scale(shape.inner),
        );
    }
    file.tensor("output_norm.weight", &[shape.width], Dtype::F32, &ones);
    // A normalised state times these rows gives scores of deviation 2: some tokens are likely, many are possible.
    matrix(
        &mut file,
        "output.weight",
        vocabulary,
        shape.width,
        2.0 * by_width,
    );
    file.finish()
}

/// One over the square root, which IEEE 754 rounds correctly and hence equally everywhere.
fn scale(width: usize) -> f32 {
    1.0 / (width as f32).sqrt()
}
