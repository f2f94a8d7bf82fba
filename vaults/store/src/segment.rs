//! Frames gathered into closed files: what comes from other copies, and what was boxed anew.

use std::io;
use std::path::PathBuf;

use tally_vault_format::SEGMENT_HEADER;

use crate::durable;
use crate::environment::Environment;
use crate::layout::{self, Layout, SEGMENT_LEN, SEGMENTS, TEMPORARY};

/// Gathers frames and writes a segment whenever there are enough of them.
pub(crate) struct SegmentWriter<'e> {
    environment: &'e Environment,
    layout: &'e Layout,
    bytes: Vec<u8>,
    written: Vec<PathBuf>,
}

impl<'e> SegmentWriter<'e> {
    pub(crate) fn new(environment: &'e Environment, layout: &'e Layout) -> Self {
        Self {
            environment,
            layout,
            bytes: Vec::new(),
            written: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(SEGMENT_HEADER);
        }
        self.bytes.extend_from_slice(frame);
        if self.bytes.len() as u64 >= SEGMENT_LEN {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let name = layout::segment_name(&blake3::hash(&self.bytes));
        let folder = self.layout.folder(SEGMENTS);
        durable::write_unsynced(
            self.environment,
            &self.layout.folder(TEMPORARY),
            &folder,
            &name,
            &self.bytes,
        )?;
        self.bytes.clear();
        self.written.push(folder.join(name));
        Ok(())
    }

    /// Returns when every frame is on the disk, names included: the segments' paths.
    pub(crate) fn finish(mut self) -> io::Result<Vec<PathBuf>> {
        if !self.bytes.is_empty() {
            self.flush()?;
        }
        if !self.written.is_empty() {
            self.environment
                .fs
                .sync_dir(&self.layout.folder(SEGMENTS))?;
        }
        Ok(self.written)
    }
}
