//! The calls that fail on a full or failing disk, behind a trait so that tests can make them fail.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) trait Disk: Send + Sync {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn sync(&self, file: &File) -> io::Result<()>;
    fn truncate(&self, file: &File, len: u64) -> io::Result<()>;
    /// Asked before each call of the index, which does its own input and output; tests make it fail.
    fn index(&self) -> io::Result<()> {
        Ok(())
    }
    /// Free bytes of the file system for an unprivileged user.
    fn free(&self, dir: &Path) -> io::Result<u64>;
}

pub(crate) struct RealDisk;

/// Hears how long each fdatasync took, on the thread that waited for it: it must be quick.
pub type SyncTook = Arc<dyn Fn(Duration) + Send + Sync>;

/// The disk, with a watch on its syncs.
pub(crate) struct TimedDisk {
    pub(crate) clock: fn() -> Instant,
    pub(crate) took: SyncTook,
}

impl Disk for RealDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl Disk for TimedDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        RealDisk.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let began = (self.clock)();
        let synced = RealDisk.sync(file);
        (self.took)((self.clock)().saturating_duration_since(began));
        synced
    }

    fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        RealDisk.truncate(file, len)
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.free(dir)
    }
}

/// Creates a folder, if it does not exist, in one that does; durably, because a power cut may otherwise take the name of a new folder, and with
/// it all that is in it.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => sync_dir(dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes creations and removals in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
