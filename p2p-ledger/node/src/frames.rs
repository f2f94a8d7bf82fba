//! Frames: how records stand in an append-only file.
//!
//! ```text
//! length   u32, big endian         bytes of the payload, 1 ≤ length ≤ MAX_PAYLOAD
//! check    8 bytes                 the first of BLAKE3(length || payload)
//! payload  length bytes
//! ```
//!
//! A crash leaves a frame that is not whole at the end, and nothing whole after it.

/// The longest payload.
pub(crate) const MAX_PAYLOAD: usize = 16 * 1024 * 1024; // bytes

/// What stands before a payload.
pub(crate) const HEAD: usize = 4 + CHECK; // bytes
const CHECK: usize = 8; // bytes

/// Appends a frame.
///
/// # Panics
///
/// If the payload is empty or longer than [`MAX_PAYLOAD`].
pub(crate) fn put(payload: &[u8], to: &mut Vec<u8>) {
    assert!((1..=MAX_PAYLOAD).contains(&payload.len()));
    let length = u32::try_from(payload.len())
        .expect("at most MAX_PAYLOAD")
        .to_be_bytes();
    to.extend(length);
    to.extend(check(length, payload));
    to.extend_from_slice(payload);
}

fn check(length: [u8; 4], payload: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    let hash = hasher.finalize();
    *hash.as_bytes().first_chunk().expect("32 bytes have 8")
}

/// How many bytes the frame at the start of `bytes` takes: as far as is known.
pub(crate) fn wanted(bytes: &[u8]) -> usize {
    match bytes.first_chunk() {
        None => HEAD,
        // A length out of bounds is no frame, and more bytes do not make it one.
        Some(length) => match u32::from_be_bytes(*length) as usize {
            length @ 1..=MAX_PAYLOAD => HEAD + length,
            _ => 0,
        },
    }
}

/// The payload of the frame at the start of `bytes`, if it is whole.
pub(crate) fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let length = *bytes.first_chunk()?;
    let payload = bytes.get(HEAD..wanted(bytes))?;
    (bytes[4..HEAD] == check(length, payload) && !payload.is_empty()).then_some(payload)
}
