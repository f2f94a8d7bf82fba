//! Terms, encoded and hashed: what every run of one plan begins with, made once.
//!
//! The first entry names the hash of its terms as its predecessor, so the head of a journal covers them, and a writer
//! only copies bytes.

use std::ops::Deref;

use crate::encode;
use crate::entry::Terms;
use crate::format::{CHECK_LEN, HEADER, HEADER_LEN, LENGTH_LEN};
use crate::hash::{EntryHash, frame_hash};
use crate::limits::{MAX_FRAME_LEN, MAX_GRANT_LEN, MAX_LIST_LEN, MAX_SETTING_LEN};
use crate::writer::{WriteError, at_most, check_list, name};

/// [`Terms`] as they stand in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledTerms {
    terms: Terms,
    /// What a journal begins with: the header, and the frame of the terms.
    opening: Box<[u8]>,
    hash: EntryHash,
}

impl SettledTerms {
    /// Encodes and hashes.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] and [`WriteError::Unsorted`].
    pub fn new(terms: Terms) -> Result<Self, WriteError> {
        name("the world", &terms.world)?;
        name("the engine's name", &terms.engine.name)?;
        name("the engine's version", &terms.engine.version)?;
        at_most("the grant", terms.grant.len(), MAX_GRANT_LEN)?;
        check_list("the limits", &terms.limits)?;
        check_list("the settings", &terms.settings)?;
        check_list("the tools", &terms.tools)?;
        for (_, setting) in &terms.settings {
            at_most("a setting", setting.len(), MAX_SETTING_LEN)?;
        }
        at_most("the functions", terms.functions.len(), MAX_LIST_LEN)?;
        for function in &terms.functions {
            name("the functions", function)?;
        }
        if !terms.functions.is_sorted_by(|a, b| a < b) {
            return Err(WriteError::Unsorted {
                what: "the functions",
            });
        }
        let mut opening = HEADER.to_vec();
        opening.extend_from_slice(&[0; LENGTH_LEN]);
        encode::terms(&mut opening, &terms);
        let (_, payload) = opening.split_at(HEADER_LEN + LENGTH_LEN);
        // Megabytes of settings would be so long; all other parts are bounded to fit.
        at_most("the terms", payload.len(), MAX_FRAME_LEN)?;
        let len = u32::try_from(payload.len()).expect("a frame is bounded well below 4 GiB");
        let hash = frame_hash(payload);
        opening[HEADER_LEN..][..LENGTH_LEN].copy_from_slice(&len.to_le_bytes());
        opening.extend_from_slice(&hash.as_bytes()[..CHECK_LEN]);
        Ok(Self {
            terms,
            opening: opening.into(),
            hash,
        })
    }

    /// What was read, from a journal that begins with `opening`.
    pub(crate) fn read(terms: Terms, opening: &[u8], hash: EntryHash) -> Self {
        Self {
            terms,
            opening: opening.into(),
            hash,
        }
    }

    /// Hash of their frame, which the first entry names as its predecessor.
    pub const fn hash(&self) -> EntryHash {
        self.hash
    }

    /// What a journal under these terms begins with: its header, and the frame of the terms.
    pub fn opening(&self) -> &[u8] {
        &self.opening
    }
}

impl Deref for SettledTerms {
    type Target = Terms;

    fn deref(&self) -> &Terms {
        &self.terms
    }
}

impl Terms {
    /// The place of a function, by which entries name it.
    #[inline]
    pub(crate) fn function(&self, name: &str) -> Option<usize> {
        // Whoever writes many entries passes the names that it settled: then there is nothing to compare but addresses.
        self.functions
            .iter()
            .position(|function| std::ptr::eq(&**function, name))
            .or_else(|| {
                self.functions
                    .binary_search_by(|function| (**function).cmp(name))
                    .ok()
            })
    }
}
