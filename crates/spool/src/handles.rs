//! sled's handles. When the last one is dropped, sled syncs its file and panics if that fails, which is just what a failing disk does.
//!
//! So handles whose file cannot be synced are kept. Until they could be closed no other index of that spool is opened: there is one set of them at
//! most, however long the disk fails.

use std::{
    fs::File,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A database and its trees.
pub(crate) struct Handles {
    folder: PathBuf,
    pub(crate) db: sled::Db,
    pub(crate) messages: sled::Tree,
    pub(crate) states: sled::Tree,
    pub(crate) facts: sled::Tree,
}

/// Handles that could not be closed yet.
static UNCLOSED: Mutex<Vec<Handles>> = Mutex::new(Vec::new());

impl Handles {
    pub(crate) fn open(folder: &Path, cache: u64) -> sled::Result<Self> {
        close_others(folder)?;
        // With a failing disk sled panics here and there.
        let opened = catch_unwind(|| Self::open_sled(folder, cache));
        opened.unwrap_or_else(|_| Err(sled::Error::ReportableBug("sled panicked when it was opened".to_owned())))
    }

    fn open_sled(folder: &Path, cache: u64) -> sled::Result<Self> {
        // Without sled's own flusher thread, so that an idle spool does not wake up.
        let db = sled::Config::new().path(folder).cache_capacity(cache).flush_every_ms(None).open()?;
        let (messages, states, facts) = (db.open_tree("messages")?, db.open_tree("states")?, db.open_tree("facts")?);
        Ok(Self { folder: folder.to_owned(), db, messages, states, facts })
    }

    /// Drops them, or keeps them for [`close_others`].
    pub(crate) fn close(self) {
        if let Err((handles, error)) = self.try_close() {
            tracing::error!(%error, "the spool's index cannot be closed yet");
            UNCLOSED.lock().unwrap_or_else(PoisonError::into_inner).push(handles);
        }
    }

    fn try_close(self) -> Result<(), (Self, io::Error)> {
        match File::open(self.folder.join("db")).and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((self, error)),
            // Of a folder that was removed nothing has to reach the disk.
            _ => {}
        }
        if catch_unwind(AssertUnwindSafe(|| drop(self))).is_err() {
            tracing::error!("the spool's index was not closed in order; the next start rebuilds it from the log");
        }
        Ok(())
    }
}

/// Closes what is left of other indexes of the same spool, or says why that cannot be done.
fn close_others(folder: &Path) -> io::Result<()> {
    let mut unclosed = UNCLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut failed = Ok(());
    for handles in std::mem::take(&mut *unclosed) {
        if handles.folder.parent() != folder.parent() {
            unclosed.push(handles);
        } else if let Err((handles, error)) = handles.try_close() {
            unclosed.push(handles);
            failed = Err(error);
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn an_index_that_cannot_be_synced_is_closed_once_it_can_and_until_then_no_other_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("index"), dir.path().join("index.2"));
        let handles = Handles::open(&one, 1 << 20).unwrap();
        let (file, kept) = (one.join("db"), one.join("kept"));
        fs::rename(&file, &kept).unwrap();
        // A file that cannot be opened stands for one that cannot be synced.
        symlink(&file, &file).unwrap();
        handles.close();
        assert!(Handles::open(&two, 1 << 20).is_err());
        let elsewhere = tempfile::tempdir().unwrap();
        Handles::open(&elsewhere.path().join("index"), 1 << 20).unwrap().close();
        fs::rename(&kept, &file).unwrap();
        Handles::open(&two, 1 << 20).unwrap().close();
    }
}
