//! A new index for one that failed, made from the log while the spool runs.
//!
//! sled keeps its first I/O error for as long as it is open, so an index that failed once is given up: the writer makes another one from the
//! log, as after a crash. Until then no new mail is taken. What is in memory and what the old index still gives can be read meanwhile;
//! messages can be read from the log in any case.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    StoreError,
    checkpoint::StopCheckpoint,
    index::{Index, to_io},
    index_dir,
    overlay::Overlay,
    rebuild,
    recovery::Recovered,
    segment::START,
    writer::Writer,
};

impl Writer {
    /// Replaces the index if it failed, or if it is in memory. If that does not succeed, tries again after a while.
    pub(crate) fn replace_index(&mut self) {
        let (began, has_failed) = ((self.clock)(), self.shared.index_has_failed());
        let is_due = has_failed || self.shared.index_is_in_memory();
        if !is_due || self.reindex_at.is_some_and(|at| began < at) {
            return;
        }
        let made =
            self.new_index().and_then(|(path, index)| self.reindex(began, &path, index).inspect_err(|_| drop(fs::remove_dir_all(&path))));
        self.reindex_failures = if made.is_ok() { 0 } else { self.reindex_failures.saturating_add(1) };
        self.reindex_at = made.err().map(|error| {
            tracing::debug!(%error, "the spool's index cannot be rebuilt yet");
            // Nobody waits for an index that is in memory meanwhile, but each try may read the whole log.
            let doublings = if has_failed { 0 } else { self.reindex_failures.min(DOUBLINGS_MAX) };
            (self.clock)() + RETRY * (1 << doublings)
        });
        self.publish();
    }

    /// A new index. It must be possible to write into it before anything else is done.
    fn new_index(&self) -> io::Result<(PathBuf, Index)> {
        let path = index_dir::next(&self.shared.dir)?;
        let opened = Index::open(&path, self.shared.limits().index_cache, self.shared.disk.clone()).map_err(to_io);
        let index = opened.and_then(|index| index.seal(0).map(|()| index)).inspect_err(|_| drop(fs::remove_dir_all(&path)))?;
        Ok((path, index))
    }

    fn reindex(&mut self, began: Instant, path: &Path, index: Index) -> io::Result<()> {
        // The rebuild reads whole segments: what is written so far has to be durable, and what was refused has to be cut off.
        if self.log.len() > START
            && let Err(error) = self.roll()
        {
            let said = io::Error::other(error.to_string());
            self.abandon(std::iter::empty(), StoreError::from_io(error));
            return Err(said);
        }
        if !self.log.mend() {
            return Err(io::Error::other("refused mail cannot be cut off yet"));
        }
        self.compaction = None;
        let dir = self.shared.dir.clone();
        let made = rebuild::rebuild(&dir, index, &*self.shared.disk, &|_, _| ()).map_err(io::Error::other);
        let Recovered { index, checkpoint, recovery } = made?;
        let StopCheckpoint { mut table, locations, .. } = checkpoint;
        table.set_len(self.log.active().id, self.log.len());
        self.table = table;
        self.left_behind.clear();
        self.look_for_sparse = true;
        let messages = locations.len();
        self.shared.use_index(index, |view| (view.locations, view.overlay, view.flushing) = (locations, Overlay::default(), None));
        recovery.damaged.iter().for_each(|seq| self.shared.note_damage(*seq));
        let pieces = recovery.quarantined.iter().filter(|piece| piece.message.is_none()).cloned();
        self.shared.status().quarantined.extend(pieces);
        let took = (self.clock)().saturating_duration_since(began);
        tracing::warn!(messages, damaged = recovery.quarantined.len(), ?took, "the spool's index was rebuilt from the log");
        // If it stays, the next start removes it.
        drop(index_dir::remove_others(&dir, Some(path)));
        Ok(())
    }
}

/// How soon a rebuild that failed is tried again. Tests do not wait for it.
const RETRY: std::time::Duration = std::time::Duration::from_millis(if cfg!(test) { 5 } else { 1000 });
/// An index that is in memory is tried again after twice the time, so many times: in the end about once in a minute.
const DOUBLINGS_MAX: u32 = 6;
