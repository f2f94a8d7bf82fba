//! SHA-256, which hubs publish, and BLAKE3, which names weights here: computed side by side.

use sha2::Digest as _;

/// What the caller knows about the file before it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// Its BLAKE3.
    pub blake3: Option<[u8; 32]>,
}

/// The hashes of a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// SHA-256 (FIPS 180-4).
    pub sha256: [u8; 32],
    /// BLAKE3, 32 bytes.
    pub blake3: [u8; 32],
}

impl Checksums {
    /// Of a file that is here.
    ///
    /// # Errors
    /// What the file system says.
    pub fn of_file(path: &std::path::Path, watch: &mut dyn FnMut(u64)) -> std::io::Result<Self> {
        use std::io::Read as _;
        let mut file = std::fs::File::open(path)?;
        let mut hashing = Hashing::default();
        let mut buffer = vec![0; 256 << 10];
        let mut done = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(hashing.finish());
            }
            hashing.feed(&buffer[..read]);
            done += read as u64;
            watch(done);
        }
    }
}

/// A hash that was mistyped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} characters, of which {digits} are hex digits; it has 64 hex digits")]
pub struct ParseHashError {
    /// How many characters were given.
    pub found: usize,
    /// How many of them are hex digits.
    pub digits: usize,
}

impl Expected {
    /// 64 hex digits, in either case.
    ///
    /// # Errors
    /// [`ParseHashError`]
    pub fn parse_hash(text: &str) -> Result<[u8; 32], ParseHashError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHashError {
            found: text.chars().count(),
            digits: text.chars().filter(char::is_ascii_hexdigit).count(),
        })?;
        Ok(bytes)
    }

    /// Whether it says anything.
    pub(crate) fn is_some(&self) -> bool {
        self.sha256.is_some() || self.blake3.is_some()
    }
}

/// Both hashes of what has been fed so far.
#[derive(Clone, Default)]
pub(crate) struct Hashing {
    sha256: sha2::Sha256,
    blake3: blake3::Hasher,
}

impl Hashing {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
    }

    pub(crate) fn finish(self) -> Checksums {
        Checksums {
            sha256: self.sha256.finalize().into(),
            blake3: *self.blake3.finalize().as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Expected, Hashing};

    #[test]
    fn both_hashes_are_the_published_ones_of_abc() {
        let mut hashing = Hashing::default();
        hashing.feed(b"a");
        hashing.feed(b"bc");
        let sums = hashing.finish();
        assert_eq!(
            hex::encode(sums.sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex::encode(sums.blake3),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
    }

    #[test]
    fn a_hash_has_64_digits() {
        assert!(Expected::parse_hash(&"Ab".repeat(32)).is_ok());
        let error = Expected::parse_hash("sha256:12").expect_err("it is no hash");
        // "a", "2", "5", "6", "1", "2"
        assert_eq!((error.found, error.digits), (9, 6));
        assert!(Expected::parse_hash(&"ab".repeat(31)).is_err());
    }
}
