//! Seed models: small, complete language models made from nothing but a number.
//!
//! [`chat_model`] is a llama-architecture model with a byte-level BPE tokenizer learned from [`corpus::TEXT`], a chat
//! template and a context of 2048 tokens; [`embedding_model`] is a BERT with a WordPiece vocabulary, and [`reranking_model`] one
//! with a head. Their weights are
//! random, so what they say means nothing; but file, header, tokenizer, template, engine and tokens are the real
//! ones, and tests of inference need no download.
//!
//! Invariants:
//! - The same seed gives the same bytes on every machine: no floating-point function that a platform may round its
//!   own way is used, and no map is iterated in an unspecified order.
//! - The files are GGUF version 3 and load in llama.cpp.
//!
//! Out of scope: models that are any good.

mod bert;
mod bpe;
pub mod corpus;
mod gguf;
mod llama;
mod random;

pub use bert::{embedding_model, reranking_model, reranking_model_with_template};
pub use gguf::{Array, Dtype, GgufWriter, Value};
pub use llama::{CHAT_TEMPLATE, ChatShape, chat_model, chat_model_of};
pub use random::Random;

/// The seed that tests and demonstrations use.
pub const SEED: u64 = 0x7a11;
