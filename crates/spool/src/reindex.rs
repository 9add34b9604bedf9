//! A new index for one that failed, made from the log while the spool runs.
//!
//! sled keeps its first I/O error for as long as it is open, so an index that failed once is given up: the writer makes another one from the
//! log, as after a crash. Until then no new mail is taken. What is in memory and what the old index still gives can be read meanwhile;
//! messages can be read from the log in any case.

use std::{fs, io, time::Instant};

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
    /// Replaces the index if it failed. If that does not succeed, tries again after a while.
    pub(crate) fn replace_index(&mut self) {
        let began = (self.clock)();
        if !self.shared.index_has_failed() || self.reindex_at.is_some_and(|at| began < at) {
            return;
        }
        // The rebuild reads whole segments: what is written so far has to be durable, and what was refused has to be cut off.
        if self.log.len() > START
            && let Err(error) = self.roll()
        {
            return self.abandon(std::iter::empty(), StoreError::from_io(error));
        }
        let made = if self.log.mend() { self.reindex(began) } else { Err(io::Error::other("refused mail cannot be cut off yet")) };
        self.reindex_at = match made {
            Ok(()) => None,
            Err(error) => {
                tracing::debug!(%error, "the spool's index cannot be rebuilt yet");
                Some((self.clock)() + RETRY)
            }
        };
        self.publish();
    }

    fn reindex(&mut self, began: Instant) -> io::Result<()> {
        self.compaction = None;
        let dir = self.shared.dir.clone();
        let path = index_dir::next(&dir)?;
        let opened = Index::open(&path, self.shared.limits().index_cache, self.shared.disk.clone()).map_err(to_io);
        let disk = &*self.shared.disk;
        let made = opened.and_then(|index| rebuild::rebuild(&dir, index, disk).map_err(io::Error::other));
        let Recovered { index, checkpoint, recovery } = made.inspect_err(|_| drop(fs::remove_dir_all(&path)))?;
        let StopCheckpoint { mut table, locations, .. } = checkpoint;
        table.set_len(self.log.active().id, self.log.len());
        self.table = table;
        self.left_behind.clear();
        self.look_for_sparse = true;
        let messages = locations.len();
        self.shared.use_index(index, |view| (view.locations, view.overlay, view.flushing) = (locations, Overlay::default(), None));
        recovery.damaged.iter().for_each(|seq| self.shared.note_damage(*seq));
        let took = (self.clock)().saturating_duration_since(began);
        tracing::warn!(messages, damaged = recovery.quarantined.len(), ?took, "the spool's index was rebuilt from the log");
        // If it stays, the next start removes it.
        drop(index_dir::remove_others(&dir, Some(&path)));
        Ok(())
    }
}

/// How soon a rebuild that failed is tried again. Tests do not wait for it.
const RETRY: std::time::Duration = std::time::Duration::from_millis(if cfg!(test) { 5 } else { 1000 });
