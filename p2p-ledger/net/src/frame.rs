//! Messages on a stream of bytes.
//!
//! ```text
//! length   u32, big endian   ≤ the limit of the stream
//! message  length bytes
//! ```

use bytes::Bytes;
use iroh::endpoint::{ReadExactError, RecvStream, SendStream, WriteError};

/// No stream carries a longer message, whatever its own limit.
pub const MAX_FRAME: usize = 16 * 1024 * 1024; // bytes

/// Why a message was not read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced more than the stream carries. It is at fault.
    #[error("a message of {found} bytes where at most {limit} are allowed")]
    TooLong {
        /// What it announced.
        found: u64,
        /// What is allowed.
        limit: usize,
    },
    /// The stream ended inside a message, or the connection was lost.
    #[error("the stream broke off: {0}")]
    Broken(#[from] ReadExactError),
}

/// Where a peer's bytes come from.
pub(crate) trait Source {
    /// Takes as many bytes as there is room for.
    fn fill(&mut self, room: &mut [u8]) -> impl Future<Output = Result<(), ReadExactError>> + Send;
}

impl Source for RecvStream {
    async fn fill(&mut self, room: &mut [u8]) -> Result<(), ReadExactError> {
        self.read_exact(room).await
    }
}

/// Reads the next message; none if the stream ended where a message would begin.
pub(crate) async fn read(
    stream: &mut impl Source,
    limit: usize,
) -> Result<Option<Bytes>, FrameError> {
    let mut length = [0; 4];
    match stream.fill(&mut length).await {
        Ok(()) => {}
        Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_be_bytes(length);
    let size = usize::try_from(length)
        .ok()
        .filter(|size| *size <= limit)
        .ok_or(FrameError::TooLong {
            found: length.into(),
            limit,
        })?;
    let mut message = vec![0; size];
    stream.fill(&mut message).await?;
    Ok(Some(message.into()))
}

/// What stands before a message.
///
/// # Panics
///
/// If the message is longer than [`MAX_FRAME`], which callers check.
pub(crate) fn head(message: &[u8]) -> [u8; 4] {
    assert!(message.len() <= MAX_FRAME, "callers bound their messages");
    u32::try_from(message.len())
        .expect("at most MAX_FRAME")
        .to_be_bytes()
}

/// Writes one message.
///
/// # Panics
///
/// If the message is longer than [`MAX_FRAME`], which callers check.
pub(crate) async fn write(stream: &mut SendStream, message: Bytes) -> Result<(), WriteError> {
    stream.write_all(&head(&message)).await?;
    stream.write_chunk(message).await
}
