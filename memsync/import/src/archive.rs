//! Zip archives, opened without believing what they say of themselves.
//!
//! Only stored and deflated entries are read, none that is encrypted, none that shares bytes with another (a small
//! archive of overlapping entries unpacks to petabytes). Entries are counted before the directory is built, which costs
//! many times their length. An entry is unpacked into memory up to the limit of one entry and of all together, whatever
//! lengths it claims. Names are compared, never used as paths. An archive inside an archive is not opened.

use std::io::{Cursor, Read};
use std::ops::Range;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::{Format, ImportError, Limits};

pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";
/// What each entry of a directory begins with.
const ENTRY: &[u8] = b"PK\x01\x02";
/// What the end of a directory begins with that says in 64 bits how many entries there are, where it says how much of it
/// follows, where it says how many entries, and what stands behind it.
const LARGE_END: &[u8] = b"PK\x06\x06";
const LARGE_END_LENGTH: Range<usize> = 4..12;
const LARGE_END_COUNT: Range<usize> = 32..40;
const LOCATOR: &[u8] = b"PK\x06\x07";

pub(crate) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    format: Format,
    entry_len: usize,
    left: usize,
    unpacked_len: usize,
}

impl<'a> Archive<'a> {
    /// `format` is what errors say it was read as.
    pub(crate) fn open(
        bytes: &'a [u8],
        format: Format,
        limits: &Limits,
    ) -> Result<Self, ImportError> {
        if has_more_entries(bytes, limits.entries) {
            return Err(ImportError::TooLarge {
                what: "the number of files in the archive".into(),
                limit: limits.entries,
            });
        }
        let mut zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| ImportError::malformed(format, format!("zip: {error}")))?;
        match zip.has_overlapping_entries() {
            Ok(false) => {}
            Ok(true) => {
                return Err(ImportError::malformed(
                    format,
                    "zip: two of its files share the same bytes, as in a zip bomb",
                ));
            }
            Err(error) => return Err(ImportError::malformed(format, format!("zip: {error}"))),
        }
        Ok(Self {
            zip,
            format,
            entry_len: limits.entry_len,
            left: limits.unpacked_len,
            unpacked_len: limits.unpacked_len,
        })
    }

    /// Names of the files, in order; folders and names that are no text are left out.
    pub(crate) fn names(&self) -> Vec<String> {
        self.zip
            .file_names()
            .filter_map(Result::ok)
            .filter(|name| !name.ends_with('/'))
            .map(|name| name.into_owned())
            .collect()
    }

    /// The bytes of the file of that name.
    pub(crate) fn file(&mut self, name: &str) -> Result<Vec<u8>, ImportError> {
        let allowed = self.entry_len.min(self.left);
        // One byte more than allowed tells "exactly" from "more".
        let bytes = self.head(name, allowed as u64 + 1)?;
        if bytes.len() > allowed {
            return Err(if allowed == self.entry_len {
                ImportError::TooLarge {
                    what: "a file of the archive, unpacked,".into(),
                    limit: self.entry_len,
                }
            } else {
                ImportError::TooLarge {
                    what: "the archive, unpacked,".into(),
                    limit: self.unpacked_len,
                }
            });
        }
        self.left -= bytes.len();
        Ok(bytes)
    }

    /// What the file of that name begins with: so many bytes at most.
    pub(crate) fn head(&mut self, name: &str, most: u64) -> Result<Vec<u8>, ImportError> {
        let format = self.format;
        let malformed =
            |error: ZipError| ImportError::malformed(format, format!("zip, {name}: {error}"));
        let index = self
            .zip
            .index_for_name(name)
            .ok_or_else(|| ImportError::malformed(format, format!("zip: no {name} in it")))?;
        let file = self.zip.by_index(index).map_err(|error| match error {
            ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
                ImportError::Encrypted { format }
            }
            error => malformed(error),
        })?;
        let mut bytes = Vec::new();
        file.take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| malformed(ZipError::Io(error)))?;
        Ok(bytes)
    }
}

/// Whether bytes hold more entries of a directory than so many, or say so. What is opened cannot have more than this finds,
/// whichever of several ends of a directory is believed; a stored archive inside counts too.
fn has_more_entries(bytes: &[u8], most: usize) -> bool {
    let mut entries = 0;
    bytes
        .windows(ENTRY.len())
        .enumerate()
        .any(|(at, signature)| match signature {
            ENTRY => {
                entries += 1;
                entries > most
            }
            LARGE_END => says_in_64_bits(&bytes[at..]).is_some_and(|count| count > most as u64),
            _ => false,
        })
}

/// How many entries the end of a directory says that it has, if these bytes begin with one. Its four first bytes stand in what is
/// compressed, too, by chance; whoever opens an archive believes one only where its length leads to the locator behind it.
fn says_in_64_bits(bytes: &[u8]) -> Option<u64> {
    let field = |place: Range<usize>| {
        let bytes = bytes.get(place)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let behind = field(LARGE_END_LENGTH)?.checked_add(LARGE_END_LENGTH.end as u64)?;
    let behind = bytes.get(usize::try_from(behind).ok()?..)?;
    field(LARGE_END_COUNT).filter(|_| behind.starts_with(LOCATOR))
}

/// The last part of a name in an archive.
pub(crate) fn base(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}
