//! A part of a file of frames in memory, so that frames that lie side by side cost one read.

use std::io;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::fs::{Input, read_full};

/// How much of a file of frames is read at once.
const WINDOW_LEN: usize = 1 << 20;

/// A part of a file of frames in memory.
#[derive(Default)]
pub(super) struct Window {
    file: Option<(PathBuf, Box<dyn Input>)>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The bytes at a place of a file; none if the file is gone or shorter.
    pub(super) fn read(
        &mut self,
        environment: &Environment,
        path: &Path,
        offset: u64,
        len: usize,
    ) -> io::Result<Option<&[u8]>> {
        if self.file.as_ref().is_none_or(|(known, _)| known != path) {
            self.bytes.clear();
            self.file = match environment.fs.open(path) {
                Ok(input) => Some((path.to_owned(), input)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
        }
        let Some((_, input)) = &self.file else {
            return Ok(None);
        };
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + len as u64 > end {
            self.bytes.resize(len.max(WINDOW_LEN), 0);
            let filled = read_full(&**input, &mut self.bytes, offset)?;
            self.bytes.truncate(filled);
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).expect("inside the window");
        Ok(self.bytes.get(from..from + len))
    }
}
