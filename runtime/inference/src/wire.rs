//! Frames between the service and a worker.
//!
//! ```text
//! length u32 LE (1 ..= MAX_FRAME_BYTES) || CBOR (RFC 8949) of one ToWorker or FromWorker, as serde encodes it
//! ```
//!
//! The transport is one end of a Unix socket pair that the worker inherits as its standard input. Both sides are built
//! from the same source and the first frame in each direction carries [`PROTOCOL`], so the encoding need not be
//! stable; it must be bounded, since a worker computes on hostile files and its frames are not trusted.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::event::FinishReason;
use crate::gguf::ModelKind;
use crate::request::{Lane, Message, ResponseFormat, Sampling, ToolCall, ToolChoice, ToolSpec};

/// Version of the frames.
pub(crate) const PROTOCOL: u32 = 2;
/// Longest frame. A request holds at most `MAX_REQUEST_BYTES` of text; 256 embeddings of 8192 numbers are 10 MiB, and the
/// worker takes no text whose token vectors are longer than [`MAX_TOKEN_VECTORS_BYTES`].
pub(crate) const MAX_FRAME_BYTES: usize = 16 << 20;
/// Most bytes of one text's token vectors.
pub(crate) const MAX_TOKEN_VECTORS_BYTES: usize = 15 << 20;

/// One generation or embedding, within one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct RequestId(pub(crate) u64);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    Load(Box<Load>),
    Chat(Box<Chat>),
    Embed {
        id: RequestId,
        texts: Vec<String>,
        /// Each text's vector is made of its tokens' vectors, which are sent too.
        with_tokens: bool,
    },
    /// How well each passage answers the question.
    Rank {
        id: RequestId,
        question: String,
        passages: Vec<String>,
    },
    Cancel {
        id: RequestId,
    },
}

/// The first frame.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) protocol: u32,
    /// The service's process, to notice that it died before the worker asked to die with it.
    pub(crate) parent_pid: u32,
    pub(crate) kind: ModelKind,
    pub(crate) chat_template: Option<String>,
    /// `tokenizer.ggml.model`.
    pub(crate) tokenizer: String,
    pub(crate) threads: u32,
    pub(crate) context_tokens: u32,
    pub(crate) slots: u32,
    pub(crate) gpu_layers: u32,
    pub(crate) queue: u32,
    pub(crate) memory_bytes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Chat {
    pub(crate) id: RequestId,
    /// Requests with the same number share one place in the queue's rotation.
    pub(crate) fairness: u64,
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<ToolSpec>,
    pub(crate) tool_choice: ToolChoice,
    pub(crate) response: ResponseFormat,
    pub(crate) sampling: Sampling,
    pub(crate) lane: Lane,
    pub(crate) template_time: Option<i64>,
    pub(crate) nonce: [u8; 32],
    pub(crate) weights: [u8; 32],
    pub(crate) node_key: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// The first frame, before anything is loaded.
    Hello {
        protocol: u32,
        missing_cpu_features: Vec<String>,
    },
    Loaded(Box<Loaded>),
    LoadFailed(LoadFault),
    /// The request was rendered and tokenized, and waits for its turn.
    Accepted {
        id: RequestId,
        prompt: Vec<u32>,
        grammar: Option<[u8; 32]>,
    },
    /// The request cannot be run, or broke off.
    Refused {
        id: RequestId,
        refusal: Refusal,
    },
    /// Too many wait already.
    Busy {
        id: RequestId,
        queued: u32,
    },
    /// What one step gave; any part may be empty.
    Output {
        id: RequestId,
        tokens: Vec<u32>,
        text: String,
        calls: Vec<ToolCall>,
    },
    Finished {
        id: RequestId,
        finish: FinishReason,
        cached_tokens: u32,
    },
    /// The vectors of one text's words, token by token, in binary32 LE; before the `Embedded` of their request.
    TokenVectors {
        id: RequestId,
        #[serde(with = "serde_bytes")]
        rows: Vec<u8>,
    },
    Embedded {
        id: RequestId,
        tokens: Vec<u32>,
        vectors: Vec<Vec<f32>>,
    },
    /// A number for each passage, larger for a better answer.
    Ranked {
        id: RequestId,
        tokens: Vec<u32>,
        scores: Vec<f32>,
    },
    /// A step was made that gave nobody a token.
    Step,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Tokens of one conversation.
    pub(crate) context_tokens: u32,
    pub(crate) vocabulary: u32,
    pub(crate) embedding_length: u32,
    /// `llama_version`.
    pub(crate) llama_version: String,
    pub(crate) ggml_commit: String,
    /// `llama_print_system_info`: what the library says it was built with.
    pub(crate) system_info: String,
    pub(crate) backend: String,
    pub(crate) prefill_tokens: u32,
    pub(crate) slots: u32,
    pub(crate) threads: u32,
    /// BLAKE3 over every token's bytes and attributes.
    pub(crate) tokenizer: [u8; 32],
    /// BLAKE3 of the template that is used.
    pub(crate) template: [u8; 32],
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum LoadFault {
    Protocol,
    Unloadable,
    OutOfMemory,
}

/// Why a frame could not be exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the other side closed the connection")]
    Closed,
    #[error("a frame of {0} bytes, more than {MAX_FRAME_BYTES}")]
    TooLong(usize),
    #[error("a frame that is not the protocol: {0}")]
    Malformed(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A message as a frame.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let mut frame = vec![0; 4];
    let mut serializer = minicbor_serde::Serializer::new(&mut frame);
    message
        .serialize(&mut serializer)
        .map_err(|error| WireError::Malformed(error.to_string()))?;
    let length = frame.len() - 4;
    if length > MAX_FRAME_BYTES {
        return Err(WireError::TooLong(length));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// The message in a frame's payload.
pub(crate) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, WireError> {
    minicbor_serde::from_slice(payload).map_err(|error| WireError::Malformed(error.to_string()))
}

/// The payload length that a frame's head announces.
pub(crate) fn payload_length(head: [u8; 4]) -> Result<usize, WireError> {
    let length = u32::from_le_bytes(head) as usize;
    if length == 0 || length > MAX_FRAME_BYTES {
        return Err(WireError::TooLong(length));
    }
    Ok(length)
}

/// Reads one frame; for the worker's side, which may block.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, WireError> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(WireError::Closed);
        }
        other => other?,
    }
    // Read through `take`, so that memory grows with what arrives and not with what is announced.
    let length = payload_length(head)?;
    let mut payload = Vec::new();
    from.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(WireError::Closed);
    }
    decode(&payload)
}

/// Writes one frame; for the worker's side, which may block.
pub(crate) fn write(to: &mut impl Write, message: &impl Serialize) -> Result<(), WireError> {
    Ok(to.write_all(&encode(message)?)?)
}
