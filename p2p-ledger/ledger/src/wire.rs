//! Reading and writing the ledger's bytes: fixed-width big-endian integers, and lists with a counted length.
//!
//! Whatever is written has one spelling, and whatever is read is bounded before it is allocated. A reader that did not
//! use all of its bytes refuses them.

use tally_receipt::{Digest, InvalidKey, PublicKey, Signature, Timestamp};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They end too early.
    #[error("the bytes end in the middle of {part}")]
    Truncated {
        /// What was being read.
        part: &'static str,
    },
    /// They go on after the end.
    #[error("{count} bytes follow after the end")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A list or text is longer than it may be.
    #[error("{part} has a length of {found}, more than the {limit} allowed")]
    TooLong {
        /// What was being read.
        part: &'static str,
        /// The length that is written.
        found: usize,
        /// The largest one allowed.
        limit: usize,
    },
    /// A list that must have something in it has nothing.
    #[error("{part} is empty")]
    Empty {
        /// What was being read.
        part: &'static str,
    },
    /// A number that stands for something stands for nothing.
    #[error("{part} cannot be {found}")]
    Unknown {
        /// What was being read.
        part: &'static str,
        /// The number.
        found: u64,
    },
    /// A list is not in ascending order, or has something twice.
    #[error("{part} are not in ascending order, each once")]
    Order {
        /// What was being read.
        part: &'static str,
    },
    /// Not a public key.
    #[error("{part} is no key: {reason}")]
    Key {
        /// What was being read.
        part: &'static str,
        /// Why not.
        reason: InvalidKey,
    },
    /// A key that no signature can hold under, where one must.
    #[error("{part} is no point of the curve")]
    NoPoint {
        /// What was being read.
        part: &'static str,
    },
    /// Not the text that it should be.
    #[error("{part} has a character outside U+0020 to U+007E")]
    Text {
        /// What was being read.
        part: &'static str,
    },
    /// Something that a reader computes is not what is written.
    #[error("{part} is not what follows from the rest")]
    Mismatch {
        /// What was being read.
        part: &'static str,
    },
}

/// The first bytes of a proof file.
pub(crate) const PROOF_MAGIC: &[u8; 8] = b"TALLYPR1";

/// The first bytes of a file of evidence.
pub(crate) const EVIDENCE_MAGIC: &[u8; 8] = b"TALLYEV1";

/// Whether bytes begin as a format does, or did before a few of them were altered, and no other of ours does better: an
/// altered byte must be caught as tampering, and not be taken for another kind of file.
pub(crate) fn resembles(bytes: &[u8], magic: &[u8; 8]) -> bool {
    let same = |magic: &[u8; 8]| {
        bytes
            .iter()
            .zip(magic)
            .filter(|(one, other)| one == other)
            .count()
    };
    let found = same(magic);
    found > magic.len() / 2
        && [PROOF_MAGIC, EVIDENCE_MAGIC]
            .into_iter()
            .all(|other| same(other) <= found)
}

/// Bytes that are being read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Reads all of `bytes` as one thing.
    pub(crate) fn whole<T>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut reader = Self(bytes);
        let value = read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    pub(crate) const fn end(&self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(
        &mut self,
        count: usize,
        part: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .0
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated { part })?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        part: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self
            .0
            .split_first_chunk()
            .ok_or(DecodeError::Truncated { part })?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, part: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array(part)?))
    }

    pub(crate) fn u16(&mut self, part: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(part)?))
    }

    pub(crate) fn u32(&mut self, part: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(part)?))
    }

    pub(crate) fn u64(&mut self, part: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(part)?))
    }

    /// A number of up to ten bytes of seven bits each, lowest first, in its shortest form: as commonware writes them.
    pub(crate) fn varint(&mut self, part: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for place in 0..10u32 {
            let byte = self.u8(part)?;
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 || place > 0 && byte == 0 {
                return Err(DecodeError::Unknown {
                    part,
                    found: u64::from(byte),
                });
            }
            value |= bits << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::TooLong {
            part,
            found: 11,
            limit: 10,
        })
    }

    pub(crate) fn flag(&mut self, part: &'static str) -> Result<bool, DecodeError> {
        match self.u8(part)? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(DecodeError::Unknown {
                part,
                found: found.into(),
            }),
        }
    }

    pub(crate) fn key(&mut self, part: &'static str) -> Result<PublicKey, DecodeError> {
        PublicKey::from_bytes(self.array(part)?).map_err(|reason| DecodeError::Key { part, reason })
    }

    pub(crate) fn digest(&mut self, part: &'static str) -> Result<Digest, DecodeError> {
        Ok(Digest::from_bytes(self.array(part)?))
    }

    pub(crate) fn signature(&mut self, part: &'static str) -> Result<Signature, DecodeError> {
        Ok(Signature::from_bytes(self.array(part)?))
    }

    pub(crate) fn time(&mut self, part: &'static str) -> Result<Timestamp, DecodeError> {
        let found = self.u64(part)?;
        Timestamp::from_unix_ms(found).map_err(|_| DecodeError::Unknown { part, found })
    }

    /// Bytes with their length before them.
    pub(crate) fn counted(
        &mut self,
        limit: usize,
        part: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let found = self.u32(part)? as usize;
        if found > limit {
            return Err(DecodeError::TooLong { part, found, limit });
        }
        self.bytes(found, part)
    }

    /// A text of printable ASCII with its length, one byte, before it.
    pub(crate) fn text(&mut self, part: &'static str) -> Result<&'a str, DecodeError> {
        let length = self.u8(part)?.into();
        let bytes = self.bytes(length, part)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) => Ok(text),
            _ => Err(DecodeError::Text { part }),
        }
    }

    /// A list with its length, two bytes, before it. Each item takes at least `item_bytes`.
    pub(crate) fn list<T>(
        &mut self,
        limit: usize,
        item_bytes: usize,
        part: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let found = self.u16(part)?.into();
        if found > limit {
            return Err(DecodeError::TooLong { part, found, limit });
        }
        if found > self.remaining() / item_bytes {
            return Err(DecodeError::Truncated { part });
        }
        (0..found).map(|_| read(self)).collect()
    }
}

/// Appends things to bytes.
pub(crate) trait Write {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, number: u8) {
        self.put(&[number]);
    }

    fn put_u16(&mut self, number: u16) {
        self.put(&number.to_be_bytes());
    }

    fn put_u32(&mut self, number: u32) {
        self.put(&number.to_be_bytes());
    }

    fn put_u64(&mut self, number: u64) {
        self.put(&number.to_be_bytes());
    }

    fn put_varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.put(&[number.to_le_bytes()[0] | 0x80]);
            number >>= 7;
        }
        self.put(&[number.to_le_bytes()[0]]);
    }

    /// # Panics
    /// When there are more than 65,535. Every list's own limit is below.
    fn put_count(&mut self, count: usize) {
        self.put_u16(u16::try_from(count).expect("every list's limit is below 65,536"));
    }

    /// # Panics
    /// When there are 4 GiB or more. Every limit on bytes is far below.
    fn put_counted(&mut self, bytes: &[u8]) {
        self.put_u32(u32::try_from(bytes.len()).expect("every limit on bytes is below 4 GiB"));
        self.put(bytes);
    }

    /// # Panics
    /// When the text has more than 255 bytes. `Text` has the limit in its constructor.
    fn put_text(&mut self, text: &str) {
        self.put_u8(u8::try_from(text.len()).expect("a text has at most 255 bytes"));
        self.put(text.as_bytes());
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Write for blake3::Hasher {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_for_what_it_is_though_a_byte_was_altered() {
        for (magic, other) in [(PROOF_MAGIC, EVIDENCE_MAGIC), (EVIDENCE_MAGIC, PROOF_MAGIC)] {
            assert!(resembles(magic, magic) && !resembles(magic, other));
            for place in 0..magic.len() {
                let mut altered = *magic;
                altered[place] ^= 1;
                assert!(resembles(&altered, magic));
            }
        }
        assert!(!resembles(b"{\"payload", PROOF_MAGIC) && !resembles(b"TALL", PROOF_MAGIC));
    }

    #[test]
    fn a_varint_has_one_spelling() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            bytes.put_varint(number);
            assert_eq!(
                Reader::whole(&bytes, |reader| reader.varint("n")),
                Ok(number)
            );
        }
        assert!(Reader::new(&[0x80, 0]).varint("n").is_err());
        assert!(Reader::new(&[0xff; 10]).varint("n").is_err());
        assert!(Reader::new(&[0xff; 4]).varint("n").is_err());
    }
}
