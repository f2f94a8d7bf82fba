//! What must hold of any bytes that a peer sends. The fuzz targets (`fuzz/`) and the tests below run the same functions.
//!
//! There is no greeting of ours to read: TLS says who a peer is, and QUIC, TLS and their own parsers are iroh's. Ours are
//! the keys, the first byte of a mesh's stream, the frames, and the packets of the local network.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519::PublicKey;
use iroh::endpoint::ReadExactError;

use crate::endpoint::LAN;
use crate::frame::{Source, head, read};
use crate::mesh::Opened;
use crate::{EndpointId, FrameError};

/// The longest message of the stream that is read here. A length can say far more.
const LIMIT: usize = 4096; // bytes

impl Source for &[u8] {
    async fn fill(&mut self, room: &mut [u8]) -> Result<(), ReadExactError> {
        match self.split_at_checked(room.len()) {
            Some((taken, left)) => {
                room.copy_from_slice(taken);
                *self = left;
                Ok(())
            }
            None => Err(ReadExactError::FinishedEarly(std::mem::take(self).len())),
        }
    }
}

/// What comes of a future that has nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("a slice has all of its bytes at once"),
    }
}

/// The frames that are read are the bytes that are written for them, and the first that cannot be ends the stream.
pub fn frames(bytes: &[u8]) {
    let mut left = bytes;
    let mut written = Vec::new();
    loop {
        match now(read(&mut left, LIMIT)) {
            Ok(Some(message)) => {
                assert!(message.len() <= LIMIT);
                written.extend(head(&message));
                written.extend_from_slice(&message);
                assert_eq!(written.len() + left.len(), bytes.len());
            }
            Ok(None) => {
                assert_eq!(written, bytes);
                return;
            }
            Err(FrameError::TooLong { found, limit }) => {
                assert!(limit == LIMIT && found > LIMIT as u64);
                break;
            }
            Err(FrameError::Broken(error)) => {
                assert!(matches!(error, ReadExactError::FinishedEarly(_)));
                assert!(left.is_empty());
                break;
            }
        }
    }
    assert!(bytes.len() > written.len() && bytes.starts_with(&written));
}

/// Of the first bytes of a connection's streams, each is taken once and only if there is such a channel. The first byte here
/// says how many there are.
pub fn channels(bytes: &[u8]) {
    let Some((count, numbers)) = bytes.split_first() else {
        return;
    };
    let mut opened = Opened::new((*count).into());
    let mut before = BTreeSet::new();
    for number in numbers {
        let is_good = number < count && before.insert(number);
        let channel = is_good.then_some(usize::from(*number));
        assert_eq!(opened.open(*number).ok(), channel);
    }
}

/// A key that is taken is kept as it is and can be dialled; the keys of validators are such keys, whoever reads them.
pub fn keys(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk() else {
        return;
    };
    let id = EndpointId::from_bytes(*bytes);
    if let Some(id) = id {
        assert_eq!(id.as_bytes(), bytes);
        assert_eq!(EndpointId::from_iroh(id.to_iroh()), id);
    }
    let validator = PublicKey::decode(Copying(&bytes[..])).ok();
    assert_eq!(validator.as_ref().map(EndpointId::of_validator), id);
}

/// A packet of the local network is ignored, or it is the one that is written for what was read of it.
pub fn lan(bytes: &[u8]) {
    tally_lan::fuzzing::read_back(&LAN, bytes);
}

/// Good bytes for each target, by its name: where a fuzzer begins.
#[must_use]
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let framed = |messages: &[&[u8]]| -> Vec<u8> {
        let one = |message: &&[u8]| [&head(message)[..], *message].concat();
        messages.iter().flat_map(one).collect()
    };
    let id = crate::Secret::derive(&[1; 32]).id();
    let [question, announcement] = tally_lan::fuzzing::samples(&LAN);
    vec![
        ("frames", framed(&[])),
        ("frames", framed(&[b""])),
        ("frames", framed(&[b"one"])),
        ("frames", framed(&[b"one", b"", b"three", &[3; 700]])),
        ("frames", framed(&[&[4; LIMIT]])),
        ("channels", vec![6, 0, 1, 2, 3, 4, 5]),
        ("channels", vec![3, 2, 0, 1]),
        ("keys", id.as_bytes().to_vec()),
        ("lan", question),
        ("lan", announcement),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::altered::holds;

    fn samples_of(target: &str) -> Vec<Vec<u8>> {
        let samples = samples().into_iter();
        let of_target = samples.filter(|(of, _)| *of == target);
        of_target.map(|(_, bytes)| bytes).collect()
    }

    #[test]
    fn any_frames_are_refused_or_written_back_and_take_no_more_than_the_limit() {
        let samples = samples_of("frames");
        holds("frames", frames, &samples, 5000, (LIMIT, 4));
    }

    #[test]
    fn any_first_bytes_of_streams_open_each_channel_once() {
        let samples = samples_of("channels");
        holds("channels", channels, &samples, 3000, (LIMIT, 4));
    }

    #[test]
    fn any_key_is_refused_or_can_be_dialled() {
        let samples = samples_of("keys");
        holds("keys", keys, &samples, 3000, (64 * 1024, 4));
    }

    #[test]
    fn any_packet_of_the_local_network_is_ignored_or_written_back() {
        let samples = samples_of("lan");
        holds("lan", lan, &samples, 3000, (64 * 1024, 4));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_memory_is_taken() {
        let mut announced: &[u8] = &u32::MAX.to_be_bytes();
        let largest = u64::from(u32::MAX);
        assert!(matches!(
            now(read(&mut announced, LIMIT)),
            Err(FrameError::TooLong { found, limit: LIMIT }) if found == largest
        ));
    }
}
