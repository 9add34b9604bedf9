//! Marks about the spool as a whole: empty files beside the log.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::disk::sync_dir;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    /// Records may be missing from the midst of the log. It is there from before the damage is voided until an orderly stop after somebody
    /// has made up for what may be missing. So neither a kill between the two nor a command that opens the spool and closes it again makes
    /// the damage forgotten.
    Holes,
    /// The spool was opened although its last stop was not orderly, and nobody has compared it with the delivery log since: accepted
    /// messages may be missing.
    Uncompared,
}

impl Mark {
    fn path(self, dir: &Path) -> PathBuf {
        dir.join(match self {
            Self::Holes => "holes",
            Self::Uncompared => "uncompared",
        })
    }

    /// Whether it is set. A file with content counts, too: what is compared once too often does no harm.
    pub(crate) fn is_set(self, dir: &Path) -> bool {
        let path = self.path(dir);
        let found = fs::symlink_metadata(&path);
        if found.as_ref().is_ok_and(|file| file.len() > 0) {
            tracing::warn!(
                "{} is an empty file where posthaste makes it; it counts, and all that it stands for is done once more",
                path.display()
            );
        }
        found.is_ok()
    }

    /// Sets the mark, durably.
    pub(crate) fn set(self, dir: &Path) -> io::Result<()> {
        if self.is_set(dir) {
            return Ok(());
        }
        fs::File::create(self.path(dir))?;
        sync_dir(dir)
    }

    pub(crate) fn remove(self, dir: &Path) -> io::Result<()> {
        match fs::remove_file(self.path(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync_dir(dir)),
        }
    }
}
