//! Where a journal's bytes go.

use std::io;
use std::sync::Arc;

use crate::terms::SettledTerms;

/// Takes a journal's bytes in order.
///
/// The writer calls [`append`](Self::append) once for each whole frame (the header comes with the first), or puts the
/// frame into the sink's [`buffer`](Self::buffer), so a sink never has to know the format.
pub trait Sink {
    /// Takes the next bytes; they may stay in memory.
    ///
    /// # Errors
    /// Whatever the medium says. The journal takes no further entry after one.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Takes what a journal begins with: the header and the terms, which are the same for every run of a plan.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn open(&mut self, terms: &Arc<SettledTerms>) -> io::Result<()> {
        self.append(terms.opening())
    }

    /// Where everything taken since [`open`](Self::open) stands, of a sink that keeps it in memory: the writer then puts an entry
    /// there itself, whole, instead of having it copied by [`append`](Self::append). It touches nothing that was there before.
    fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        None
    }

    /// Hands everything taken so far to the operating system: it survives the end of this process.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn flush(&mut self) -> io::Result<()>;

    /// Makes everything taken so far durable: it survives the loss of power.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn sync(&mut self) -> io::Result<()>;
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn open(&mut self, terms: &Arc<SettledTerms>) -> io::Result<()> {
        (**self).open(terms)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).append(bytes)
    }

    fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        (**self).buffer()
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn open(&mut self, terms: &Arc<SettledTerms>) -> io::Result<()> {
        (**self).open(terms)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).append(bytes)
    }

    fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        (**self).buffer()
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }
}

/// Keeps the journal in memory, for runs that nobody asked a file of.
#[derive(Clone, Debug, Default)]
pub struct MemorySink(Vec<u8>);

impl MemorySink {
    /// An empty one.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty one that writes into `buffer`, whose content is discarded and whose capacity is kept.
    pub fn reusing(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self(buffer)
    }

    /// What was written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Sink for MemorySink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        Some(&mut self.0)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
