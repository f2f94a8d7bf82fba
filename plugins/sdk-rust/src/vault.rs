//! The records of the person's encrypted vault, as far as they were shared with this agent.
//!
//! ```
//! # fn run() -> tally_agent::Result<()> {
//! use tally_agent::vault;
//!
//! let trips = vault::namespace("trips");
//! let seat = trips.add("text/plain", "Prefers the window seat.")?;
//! for item in trips.items("text/") {
//!     let item = item?;
//!     tally_agent::emit(&item.text()?)?;
//! }
//! trips.retract(&[seat], "asked to forget it")?;
//! # Ok(())
//! # }
//! ```
//!
//! Records are never changed: [`Namespace::supersede`] writes a version in place of others, [`Namespace::retract`] hides
//! one, and the history stays. Every operation is signed by the agent's own key and names this run.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::bindings::agent::tally::agent::vault as wit;
use crate::error::{Error, Result};

pub use crate::bindings::agent::tally::agent::vault::{
    Access, Draft, Item, Namespace as Shared, Page,
};

/// The namespaces that may be used, and how far.
///
/// # Errors
///
/// [`Unavailable`](Error::Unavailable) when the vault cannot be read.
pub fn namespaces() -> Result<Vec<Shared>> {
    Ok(wit::namespaces()?)
}

/// The namespace of that name. Nothing is asked of the host yet.
pub fn namespace(name: impl Into<String>) -> Namespace {
    Namespace { name: name.into() }
}

/// A part of the vault.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds one record and gives its id. It is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`Denied`](Error::Denied) without `append`; [`Invalid`](Error::Invalid) for a type or a length that cannot be.
    pub fn add(&self, type_: &str, content: impl Into<Vec<u8>>) -> Result<String> {
        let ids = self.append(vec![draft(type_, content)])?;
        ids.into_iter()
            .next()
            .ok_or_else(|| Error::failed("the vault gave no id for the record"))
    }

    /// Adds records, all or none.
    ///
    /// # Errors
    ///
    /// As [`Namespace::add`].
    pub fn append(&self, drafts: Vec<Draft>) -> Result<Vec<String>> {
        Ok(wit::append(&self.name, &drafts)?)
    }

    /// Writes a version in place of others. Those of other authors need `curate`.
    ///
    /// # Errors
    ///
    /// As [`Namespace::add`].
    pub fn supersede(&self, targets: &[String], draft: &Draft) -> Result<String> {
        Ok(wit::supersede(&self.name, targets, draft)?)
    }

    /// Hides versions.
    ///
    /// # Errors
    ///
    /// As [`Namespace::add`].
    pub fn retract(&self, targets: &[String], reason: &str) -> Result<String> {
        Ok(wit::retract(&self.name, targets, reason)?)
    }

    /// One current version, by its own id or its lineage.
    ///
    /// # Errors
    ///
    /// [`Denied`](Error::Denied) without `read`.
    pub fn get(&self, id: &str) -> Result<Option<Item>> {
        Ok(wit::get(&self.name, id)?)
    }

    /// Current records whose type begins so, the oldest first, page by page.
    pub fn items(&self, type_prefix: &str) -> Items<'_> {
        Items {
            namespace: self,
            type_prefix: type_prefix.into(),
            page: Vec::new().into_iter(),
            after: None,
            ended: false,
        }
    }
}

/// What is to be written, without a receipt.
pub fn draft(type_: &str, content: impl Into<Vec<u8>>) -> Draft {
    Draft {
        type_: type_.into(),
        content: content.into(),
        receipt: None,
    }
}

impl Item {
    /// Its content as text.
    ///
    /// # Errors
    ///
    /// [`Failed`](Error::Failed) when it is not UTF-8.
    pub fn text(&self) -> Result<String> {
        String::from_utf8(self.content.clone())
            .map_err(|_| Error::failed("the record's content is not text"))
    }
}

/// Records, page by page. After an error it ends.
#[derive(Debug)]
pub struct Items<'a> {
    namespace: &'a Namespace,
    type_prefix: String,
    page: vec::IntoIter<Item>,
    after: Option<String>,
    ended: bool,
}

impl Iterator for Items<'_> {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.page.next() {
                return Some(Ok(item));
            }
            if self.ended {
                return None;
            }
            let page = wit::list(
                &self.namespace.name,
                &self.type_prefix,
                self.after.as_deref(),
                256,
            );
            match page {
                Ok(page) => {
                    self.ended = page.next.is_none();
                    self.after = page.next;
                    self.page = page.items.into_iter();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error.into()));
                }
            }
        }
    }
}
