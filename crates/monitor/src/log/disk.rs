//! The log's folder and files as the writer uses them; tests substitute some that fail, and some that others change.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

/// What the system says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Device and inode: the same file has the same, whatever its name.
    pub(super) identity: (u64, u64),
    /// Bytes.
    pub(super) length: u64,
    /// How many names it has; 0 once it was deleted.
    pub(super) names: u64,
    /// When its content changed last, in nanoseconds since 1970.
    pub(super) modified: i64,
    /// Neither a folder nor a device.
    pub(super) regular: bool,
}

impl From<Metadata> for Seen {
    fn from(meta: Metadata) -> Self {
        let modified = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Self { identity: (meta.dev(), meta.ino()), length: meta.len(), names: meta.nlink(), modified, regular: meta.is_file() }
    }
}

/// An open file. What is appended lands behind the last byte, wherever that is by then: a file that was cut meanwhile gets no hole.
pub(super) trait WritableFile: Send {
    fn append(&self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn cut(&self, length: u64) -> io::Result<()>;
    fn seen(&self) -> io::Result<Seen>;
    /// For reading and locking.
    fn file(&self) -> &File;
}

impl WritableFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut &*self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn seen(&self) -> io::Result<Seen> {
        self.metadata().map(Seen::from)
    }

    fn file(&self) -> &File {
        self
    }
}

/// The folder.
pub(super) trait LogFolder: Send {
    fn make(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file for reading and appending; makes it if it is missing.
    fn open(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WritableFile>>;
    /// What is under this name; None: nothing.
    fn seen(&self, path: &Path) -> io::Result<Option<Seen>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk.
pub(super) struct Disk;

impl LogFolder for Disk {
    fn make(&self, dir: &Path) -> io::Result<()> {
        if dir.exists() {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        // A power cut may otherwise take the new folder with all that is in it.
        File::open(dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
    }

    fn open(&self, path: &Path, mode: u32) -> io::Result<Box<dyn WritableFile>> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(mode).open(path)?;
        Ok(Box::new(file))
    }

    fn seen(&self, path: &Path) -> io::Result<Option<Seen>> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Some(meta.into())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// The name that an open file has now, for people; None if the system does not tell.
pub(super) fn name_now(file: &File) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}
