//! Tiles: a log as files that never change, which any web server or blob store can serve.
//!
//! ```text
//! checkpoint                     what the log is now (checkpoint.rs)
//! tile/LEVEL/N                   a full tile: 256 hashes of 32 bytes
//! tile/LEVEL/N.p/WIDTH           a partial one, of WIDTH hashes, 1 to 255
//! tile/entries/N[.p/WIDTH]       the entries below a tile of level 0, each with its length, u16, before it
//! ```
//!
//! A hash in a tile of level 0 is a leaf; above, it is the root of a full tile below. N is written in groups of three
//! digits, all but the last with an `x` before them: 1234067 is `x001/x234/067`.
//!
//! [`Tiler`] makes the files while the log grows. [`TiledTree`] makes proofs from them. It does not trust who serves
//! them: a proof of false tiles does not verify.
//!
//! Source: c2sp.org/tlog-tiles. No deviations. Out of scope: pruning.

use crate::hash::{Hash, leaf_hash, node_hash};
use crate::proof::HashSource;
use crate::text;

/// Hashes in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Levels of a tree within one tile.
const TILE_HEIGHT: u32 = 8;

/// The highest level of tiles. A tree of 2^64 leaves has seven.
const MAX_LEVEL: u8 = 63;

/// Bytes of an entry.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Hashes.
    Tile {
        /// 0 for leaves.
        level: u8,
        /// From the left.
        index: u64,
        /// How many of its hashes, from 1 to [`TILE_WIDTH`].
        width: u16,
    },
    /// Entries.
    Entries {
        /// From the left.
        index: u64,
        /// How many entries, from 1 to [`TILE_WIDTH`].
        width: u16,
    },
}

impl Resource {
    /// Where it is, below the log's prefix.
    pub fn path(&self) -> String {
        match *self {
            Self::Tile {
                level,
                index,
                width,
            } => format!("tile/{level}/{}", place(index, width)),
            Self::Entries { index, width } => format!("tile/entries/{}", place(index, width)),
        }
    }

    /// What is at a path. None for a path that no resource has.
    pub fn at(path: &str) -> Option<Self> {
        let (kind, place) = path.strip_prefix("tile/")?.split_once('/')?;
        let (number, width) = match place.split_once(".p/") {
            None => (place, TILE_WIDTH),
            Some((number, width)) => {
                let width = text::number(width).filter(|width| (1..=255).contains(width))?;
                (number, u16::try_from(width).ok()?)
            }
        };
        let mut index = 0u64;
        let mut groups = number.split('/').peekable();
        while let Some(group) = groups.next() {
            let digits = match groups.peek() {
                Some(_) => group.strip_prefix('x')?,
                None => group,
            };
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let resource = match kind {
            "entries" => Self::Entries { index, width },
            level => Self::Tile {
                level: u8::try_from(text::number(level)?)
                    .ok()
                    .filter(|level| *level <= MAX_LEVEL)?,
                index,
                width,
            },
        };
        // Needless groups of zeros at the front are another spelling.
        (resource.path() == path).then_some(resource)
    }
}

fn place(index: u64, width: u16) -> String {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    let number = groups.join("/");
    match width {
        TILE_WIDTH => number,
        width => format!("{number}.p/{width}"),
    }
}

/// The tile of this level and index in a tree of `size` leaves: full, partial, or none.
fn tile_of(level: u8, index: u64, size: u64) -> Option<Resource> {
    let hashes = size
        .checked_shr(u32::from(level) * TILE_HEIGHT)
        .unwrap_or(0);
    let width = hashes.checked_sub(index.checked_mul(TILE_WIDTH.into())?)?;
    match width.min(TILE_WIDTH.into()) {
        0 => None,
        width => Some(Resource::Tile {
            level,
            index,
            width: u16::try_from(width).expect("a tile has at most 256 hashes"),
        }),
    }
}

/// A file, to be written once and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileFile {
    /// Which one.
    pub resource: Resource,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Makes the files of a log while it grows. It keeps what the partial ones of its size have: at most 255 hashes for each
/// level, and as many entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiler {
    size: u64,
    /// The hashes of the tile of each level that is not full.
    partial: Vec<Vec<Hash>>,
    entries: Vec<u8>,
}

/// An entry is longer than can be written. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry has at most {MAX_ENTRY_BYTES} bytes; this has {found}")]
pub struct EntryTooLong {
    /// How many.
    pub found: usize,
}

/// Why files are not those of a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError<E> {
    /// One cannot be read: the operator must act.
    #[error("{0}")]
    Read(E),
    /// One has another length than it must: it was damaged, or somebody gives out others.
    #[error("{} has {found} bytes, not {expected}", resource.path())]
    Length {
        /// Which one.
        resource: Resource,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// The entries are not as many as they must be.
    #[error("{} is not a sequence of that many entries", resource.path())]
    Entries {
        /// Which one.
        resource: Resource,
    },
    /// There is no such tile in a tree of this size: the caller asked about a larger one.
    #[error("a tree of {size} leaves has no hash {index} at level {level}")]
    NotInTree {
        /// Leaves of the tree.
        size: u64,
        /// Levels above the leaves.
        level: u32,
        /// From the left.
        index: u64,
    },
}

impl Tiler {
    /// Of an empty log.
    pub const fn new() -> Self {
        Self {
            size: 0,
            partial: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Of a log of `size` entries, whose partial files are read.
    ///
    /// # Errors
    /// [`TileError`].
    pub fn resume<E>(
        size: u64,
        mut read: impl FnMut(Resource) -> Result<Vec<u8>, E>,
    ) -> Result<Self, TileError<E>> {
        let mut tiler = Self {
            size,
            ..Self::new()
        };
        for level in 0..=MAX_LEVEL {
            let hashes = size
                .checked_shr(u32::from(level) * TILE_HEIGHT)
                .unwrap_or(0);
            if hashes == 0 {
                break;
            }
            let index = hashes / u64::from(TILE_WIDTH);
            let hashes = match tile_of(level, index, size) {
                None => Vec::new(),
                Some(tile) => {
                    let bytes = read(tile).map_err(TileError::Read)?;
                    hashes_of(tile, &bytes)?
                }
            };
            tiler.partial.push(hashes);
        }
        let (index, width) = (size / u64::from(TILE_WIDTH), size % u64::from(TILE_WIDTH));
        if width > 0 {
            let width = u16::try_from(width).expect("less than a tile's width");
            let bundle = Resource::Entries { index, width };
            let bytes = read(bundle).map_err(TileError::Read)?;
            if entries_of(&bytes).map(|entries| entries.len()) != Some(width.into()) {
                return Err(TileError::Entries { resource: bundle });
            }
            tiler.entries = bytes;
        }
        Ok(tiler)
    }

    /// How many entries the log has.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends entries. What comes back is to be written before a checkpoint of the new size is.
    ///
    /// # Errors
    /// [`EntryTooLong`]. Nothing is appended then.
    pub fn append<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Vec<TileFile>, EntryTooLong> {
        if let Some(entry) = entries
            .clone()
            .into_iter()
            .find(|entry| entry.len() > MAX_ENTRY_BYTES)
        {
            return Err(EntryTooLong { found: entry.len() });
        }
        let before = self.size;
        let mut files = Vec::new();
        for entry in entries {
            let length = u16::try_from(entry.len()).expect("its length was just looked at");
            self.entries.extend_from_slice(&length.to_be_bytes());
            self.entries.extend_from_slice(entry);
            self.push(0, leaf_hash(entry), &mut files);
            self.size += 1;
            if self.size.is_multiple_of(TILE_WIDTH.into()) {
                files.push(TileFile {
                    resource: Resource::Entries {
                        index: self.size / u64::from(TILE_WIDTH) - 1,
                        width: TILE_WIDTH,
                    },
                    bytes: std::mem::take(&mut self.entries),
                });
            }
        }
        for (level, hashes) in (0u8..).zip(&self.partial) {
            let shift = u32::from(level) * TILE_HEIGHT;
            let unchanged = before >> shift == self.size >> shift;
            if unchanged || hashes.is_empty() {
                continue;
            }
            files.push(TileFile {
                resource: Resource::Tile {
                    level,
                    index: self.size >> (shift + TILE_HEIGHT),
                    width: u16::try_from(hashes.len()).expect("less than a tile's width"),
                },
                bytes: bytes_of(hashes),
            });
        }
        let width = self.size % u64::from(TILE_WIDTH);
        if width > 0 && before != self.size {
            files.push(TileFile {
                resource: Resource::Entries {
                    index: self.size / u64::from(TILE_WIDTH),
                    width: u16::try_from(width).expect("less than a tile's width"),
                },
                bytes: self.entries.clone(),
            });
        }
        Ok(files)
    }

    /// Puts a hash into the tile of a level that is not full. `self.size` is still without the entry.
    fn push(&mut self, level: u8, hash: Hash, files: &mut Vec<TileFile>) {
        if self.partial.len() == usize::from(level) {
            self.partial.push(Vec::new());
        }
        let hashes = &mut self.partial[usize::from(level)];
        hashes.push(hash);
        if hashes.len() < usize::from(TILE_WIDTH) {
            return;
        }
        let full = std::mem::take(hashes);
        files.push(TileFile {
            resource: Resource::Tile {
                level,
                index: self.size >> ((u32::from(level) + 1) * TILE_HEIGHT),
                width: TILE_WIDTH,
            },
            bytes: bytes_of(&full),
        });
        self.push(level + 1, root_of_full(full), files);
    }
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn hashes_of<E>(tile: Resource, bytes: &[u8]) -> Result<Vec<Hash>, TileError<E>> {
    let (Resource::Tile { width, .. } | Resource::Entries { width, .. }) = tile;
    let expected = usize::from(width) * Hash::LENGTH;
    if bytes.len() != expected {
        return Err(TileError::Length {
            resource: tile,
            expected,
            found: bytes.len(),
        });
    }
    let (hashes, _) = bytes.as_chunks();
    Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
}

/// The root of a power of two of hashes, at least one.
fn root_of_full(mut hashes: Vec<Hash>) -> Hash {
    while hashes.len() > 1 {
        hashes = hashes
            .chunks_exact(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    hashes[0]
}

/// The entries of a bundle. None when the bytes are not a sequence of entries.
pub fn entries_of(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if entries.len() == usize::from(TILE_WIDTH) {
            return None;
        }
        let (length, tail) = rest.split_first_chunk()?;
        let (entry, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        rest = tail;
    }
    Some(entries)
}

/// A tree of some size, whose tiles are read when a proof needs them.
pub struct TiledTree<R> {
    size: u64,
    read: R,
}

impl<R> TiledTree<R> {
    /// A tree of `size` leaves. `read` gives the bytes of a tile.
    pub const fn new(size: u64, read: R) -> Self {
        Self { size, read }
    }
}

impl<E, R: Fn(Resource) -> Result<Vec<u8>, E>> HashSource for TiledTree<R> {
    type Error = TileError<E>;

    fn full(&self, level: u32, index: u64) -> Result<Hash, TileError<E>> {
        let absent = TileError::NotInTree {
            size: self.size,
            level,
            index,
        };
        // The subtree's root is made of 2^above hashes of one tile.
        let (tile_level, above) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let Some(first) = index.checked_mul(1 << above) else {
            return Err(absent);
        };
        let (tile, offset) = (
            first / u64::from(TILE_WIDTH),
            usize::try_from(first % u64::from(TILE_WIDTH)).expect("less than a tile's width"),
        );
        let Some(tile) = u8::try_from(tile_level)
            .ok()
            .and_then(|tile_level| tile_of(tile_level, tile, self.size))
        else {
            return Err(absent);
        };
        let hashes = hashes_of(tile, &(self.read)(tile).map_err(TileError::Read)?)?;
        match hashes.get(offset..offset + (1 << above)) {
            Some(hashes) => Ok(root_of_full(hashes.to_vec())),
            None => Err(absent),
        }
    }
}
