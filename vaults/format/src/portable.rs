//! The portable file: a whole vault, or a part, in one file.
//!
//! ```text
//! TALLYVEX [8] ‖ version u16 = 1 ‖ sections ‖ end
//! section:  tag u8 ‖ length u64 ‖ bytes        tags ascending: 1 genesis (once, first), 2 slot, 3 keyring, 4 frame, 5 blob
//! end:      tag 255 ‖ length u64 = 32 ‖ BLAKE3 of all bytes before this section
//! ```
//!
//! Both sides work on a stream: the caller reads and writes, this module says what comes next. The end proves that the
//! file is complete, not that it is honest; what is inside is checked like everything else that comes from outside.
//! Nothing of a file may be taken before [`Reader::finish`].

use crate::{Genesis, Slot, limits};

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SectionKind {
    /// The genesis; once, and first.
    Genesis = 1,
    /// A slot.
    Slot = 2,
    /// A keyring.
    Keyring = 3,
    /// A frame.
    Frame = 4,
    /// A blob file.
    Blob = 5,
}

const TAG_END: u8 = 255;

impl SectionKind {
    const fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::Genesis,
            2 => Self::Slot,
            3 => Self::Keyring,
            4 => Self::Frame,
            5 => Self::Blob,
            _ => return None,
        })
    }

    /// Whether a section of this kind can have so many bytes.
    const fn holds(self, len: u64) -> bool {
        match self {
            Self::Genesis => len == Genesis::LEN as u64,
            Self::Slot => len == Slot::LEN as u64,
            Self::Keyring => len <= limits::KEYRING_LEN as u64,
            Self::Frame => len <= limits::FRAME_LEN as u64,
            Self::Blob => len <= limits::BLOB_FILE_LEN,
        }
    }
}

/// Bytes that a portable file begins with.
pub const HEADER: &[u8; 10] = b"TALLYVEX\x00\x01";
/// Bytes in front of the content of a section, and of the end.
pub const SECTION_HEADER_LEN: usize = 9;
/// Bytes of the end.
pub const END_LEN: usize = SECTION_HEADER_LEN + 32;

/// Why a portable file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortableError {
    /// The bytes end before the end section: the file is incomplete, and nothing of it is taken.
    #[error("portable file is incomplete: it ends before its end")]
    Incomplete,
    /// It does not begin with `TALLYVEX`.
    #[error("not a portable vault file")]
    Magic,
    /// A version that this reader does not know.
    #[error("portable file has format version {0}, this program reads 1")]
    Version(u16),
    /// A section that this reader does not know.
    #[error("section tag {0} is unknown")]
    UnknownTag(u8),
    /// Sections out of order, or the genesis missing, doubled or not first.
    #[error("section tag {0} is out of order")]
    Order(u8),
    /// A section with a length that its kind does not have.
    #[error("section tag {tag} with {found} bytes")]
    SectionLength {
        /// Its tag.
        tag: u8,
        /// Its length.
        found: u64,
    },
    /// The hash at the end is not that of the file.
    #[error("portable file was altered: its hash differs")]
    Hash,
    /// Bytes after the end.
    #[error("bytes after the end of the portable file")]
    Trailing,
}

/// Says what to write.
#[derive(Clone)]
pub struct Writer {
    hasher: blake3::Hasher,
    last: Option<SectionKind>,
    left: u64,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A new file, which begins with [`HEADER`].
    #[must_use]
    pub fn new() -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(HEADER);
        Self {
            hasher,
            last: None,
            left: 0,
        }
    }

    /// The bytes in front of a section of `len` bytes, which must be passed to [`content`](Self::content) next.
    ///
    /// # Errors
    /// [`PortableError::Order`] or [`PortableError::SectionLength`].
    ///
    /// # Panics
    /// If the section before is not complete.
    pub fn section(
        &mut self,
        kind: SectionKind,
        len: u64,
    ) -> Result<[u8; SECTION_HEADER_LEN], PortableError> {
        assert_eq!(self.left, 0, "the section before is complete");
        check_section(self.last, kind, len)?;
        let header = section_header(kind as u8, len);
        self.hasher.update(&header);
        self.last = Some(kind);
        self.left = len;
        Ok(header)
    }

    /// Takes note of the next bytes of the section's content, which are written as they are.
    ///
    /// # Panics
    /// If the section has fewer bytes left.
    pub fn content(&mut self, bytes: &[u8]) {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .expect("no more bytes than were announced");
        self.hasher.update(bytes);
    }

    /// The last bytes of the file.
    ///
    /// # Errors
    /// [`PortableError::Order`] without a genesis.
    ///
    /// # Panics
    /// If the section before is not complete.
    pub fn finish(self) -> Result<[u8; END_LEN], PortableError> {
        assert_eq!(self.left, 0, "the section before is complete");
        if self.last.is_none() {
            return Err(PortableError::Order(TAG_END));
        }
        let mut end = [0; END_LEN];
        end[..SECTION_HEADER_LEN].copy_from_slice(&section_header(TAG_END, 32));
        end[SECTION_HEADER_LEN..].copy_from_slice(self.hasher.finalize().as_bytes());
        Ok(end)
    }
}

fn section_header(tag: u8, len: u64) -> [u8; SECTION_HEADER_LEN] {
    let mut header = [0; SECTION_HEADER_LEN];
    header[0] = tag;
    header[1..].copy_from_slice(&len.to_be_bytes());
    header
}

fn check_section(
    last: Option<SectionKind>,
    kind: SectionKind,
    len: u64,
) -> Result<(), PortableError> {
    let in_order = match last {
        None => kind == SectionKind::Genesis,
        Some(last) => kind >= last && kind != SectionKind::Genesis,
    };
    if !in_order {
        return Err(PortableError::Order(kind as u8));
    }
    if !kind.holds(len) {
        return Err(PortableError::SectionLength {
            tag: kind as u8,
            found: len,
        });
    }
    Ok(())
}

/// What a [`Reader`] finds behind a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A section with so many bytes of content, which must be passed to [`Reader::content`] next.
    Section {
        /// What it holds.
        kind: SectionKind,
        /// How many bytes.
        len: u64,
    },
    /// The end: 32 bytes follow, for [`Reader::finish`].
    End,
}

/// Says what was read.
#[derive(Clone)]
pub struct Reader {
    hasher: blake3::Hasher,
    last: Option<SectionKind>,
    left: u64,
    ended: bool,
}

impl Reader {
    /// For a file that begins with these bytes.
    ///
    /// # Errors
    /// [`PortableError::Magic`] or [`PortableError::Version`].
    pub fn new(header: &[u8; HEADER.len()]) -> Result<Self, PortableError> {
        if header[..8] != HEADER[..8] {
            return Err(PortableError::Magic);
        }
        let version = u16::from_be_bytes([header[8], header[9]]);
        if version != 1 {
            return Err(PortableError::Version(version));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(header);
        Ok(Self {
            hasher,
            last: None,
            left: 0,
            ended: false,
        })
    }

    /// Reads the bytes in front of a section or of the end.
    ///
    /// # Errors
    /// What is wrong with them.
    ///
    /// # Panics
    /// If the section before is not complete.
    pub fn section(&mut self, header: &[u8; SECTION_HEADER_LEN]) -> Result<Next, PortableError> {
        assert!(
            self.left == 0 && !self.ended,
            "the section before is complete"
        );
        let tag = header[0];
        let len = u64::from_be_bytes(*header.last_chunk().expect("9 bytes"));
        if tag == TAG_END {
            if self.last.is_none() {
                return Err(PortableError::Order(tag));
            }
            if len != 32 {
                return Err(PortableError::SectionLength { tag, found: len });
            }
            self.ended = true;
            return Ok(Next::End);
        }
        let kind = SectionKind::from_tag(tag).ok_or(PortableError::UnknownTag(tag))?;
        check_section(self.last, kind, len)?;
        self.hasher.update(header);
        self.last = Some(kind);
        self.left = len;
        Ok(Next::Section { kind, len })
    }

    /// Takes note of the next bytes of the section's content.
    ///
    /// # Panics
    /// If the section has fewer bytes left.
    pub fn content(&mut self, bytes: &[u8]) {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .expect("no more bytes than were announced");
        self.hasher.update(bytes);
    }

    /// Checks the last 32 bytes. The caller makes sure that none follow ([`PortableError::Trailing`]).
    ///
    /// # Errors
    /// [`PortableError::Hash`].
    ///
    /// # Panics
    /// Before [`Next::End`].
    pub fn finish(self, hash: &[u8; 32]) -> Result<(), PortableError> {
        assert!(self.ended, "the end was read");
        if self.hasher.finalize() == *hash {
            Ok(())
        } else {
            Err(PortableError::Hash)
        }
    }
}

/// The sections of a file that is in memory as a whole, checked to the end before the first is given out.
///
/// # Errors
/// What is wrong with the file.
pub fn parse(file: &[u8]) -> Result<Vec<(SectionKind, &[u8])>, PortableError> {
    let (header, mut rest) = file
        .split_first_chunk::<{ HEADER.len() }>()
        .ok_or(PortableError::Incomplete)?;
    let mut reader = Reader::new(header)?;
    let mut sections = Vec::new();
    loop {
        let (header, after) = rest
            .split_first_chunk::<SECTION_HEADER_LEN>()
            .ok_or(PortableError::Incomplete)?;
        match reader.section(header)? {
            Next::Section { kind, len } => {
                let len = usize::try_from(len).map_err(|_| PortableError::Incomplete)?;
                let (content, after) = after
                    .split_at_checked(len)
                    .ok_or(PortableError::Incomplete)?;
                reader.content(content);
                sections.push((kind, content));
                rest = after;
            }
            Next::End => {
                let (hash, after) = after
                    .split_first_chunk::<32>()
                    .ok_or(PortableError::Incomplete)?;
                reader.finish(hash)?;
                return if after.is_empty() {
                    Ok(sections)
                } else {
                    Err(PortableError::Trailing)
                };
            }
        }
    }
}

/// A file with these sections, in memory as a whole.
///
/// # Errors
/// [`PortableError::Order`] or [`PortableError::SectionLength`].
pub fn encode<'a>(
    sections: impl IntoIterator<Item = (SectionKind, &'a [u8])>,
) -> Result<Vec<u8>, PortableError> {
    let mut out = HEADER.to_vec();
    let mut writer = Writer::new();
    for (kind, content) in sections {
        out.extend_from_slice(&writer.section(kind, content.len() as u64)?);
        writer.content(content);
        out.extend_from_slice(content);
    }
    out.extend_from_slice(&writer.finish()?);
    Ok(out)
}
