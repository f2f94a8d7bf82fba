//! Taking turns at writing: a vault that stays open for reading, and takes the lock only while it writes.
//!
//! For programs that live long beside others, such as two agents of one person. What others wrote meanwhile is read when
//! the turn begins.

use crate::error::OpenError;
use crate::vault::{Vault, take_lock};

impl Vault {
    /// Takes the vault's lock, and reads what others wrote. Nothing happens if it is held already.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process has it; else why the folder cannot be read. Without a lock then.
    pub fn begin_writing(&mut self) -> Result<(), OpenError> {
        if self.lock.is_some() {
            return Ok(());
        }
        self.lock = Some(take_lock(&self.environment, &self.layout)?);
        // Where this process left its files may not be their end any more.
        self.authors.clear();
        let ready = self.prepare_to_write().and_then(|()| self.refresh());
        if ready.is_err() {
            self.lock = None;
        }
        ready
    }

    /// Gives the lock back. What was acknowledged is on the disk already.
    pub fn end_writing(&mut self) {
        self.authors.clear();
        self.lock = None;
    }
}
