//! A file as the writer uses it.

use std::{fs::File, io, os::unix::fs::FileExt};

/// A file as the writer uses it; tests substitute one that fails.
pub(super) trait WritableFile: Send {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn cut(&self, length: u64) -> io::Result<()>;
}

impl WritableFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Wraps an opened file.
pub(super) type Wrap = Box<dyn Fn(File) -> Box<dyn WritableFile> + Send>;
