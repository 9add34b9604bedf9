//! The writer thread: the only one that writes to the log.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    StoreError,
    checkpoint::StopCheckpoint,
    compaction::{Compaction, Move},
    log::Log,
    options::Room,
    queue::{Op, SmallRecord, Stop},
    segments::SegmentTable,
    shared::Shared,
};

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: fn() -> Instant,
    pub(crate) segment_size: u64,
    pub(crate) log: Log,
    pub(crate) table: SegmentTable,
    pub(crate) backlog: VecDeque<Op>,
    /// Small records to write before anything else, oldest first.
    pub(crate) held: VecDeque<SmallRecord>,
    /// Small records that are written but not yet durable, oldest first.
    pub(crate) unsynced: Vec<SmallRecord>,
    pub(crate) dirty_since: Option<Instant>,
    pub(crate) compaction: Option<Compaction>,
    /// Records that are copied but not yet durable.
    pub(crate) moves: Vec<Move>,
    /// Messages that were moved out of segments that still exist, by segment: an old copy of each is left there, and needs a tombstone of
    /// its own when the message dies.
    pub(crate) left_behind: HashMap<u32, HashSet<u64>>,
    /// Whether records have died since the segments were last searched for sparse ones.
    pub(crate) look_for_sparse: bool,
    /// Whether the last message was refused for lack of room.
    pub(crate) is_tight: bool,
    pub(crate) trouble: Option<StoreError>,
    pub(crate) retry_at: Option<Instant>,
    /// After a rebuild of the index that failed: when it is tried again.
    pub(crate) reindex_at: Option<Instant>,
    /// How often that has failed in a row.
    pub(crate) reindex_failures: u32,
    /// The free disk when it was asked last.
    free: Option<(Instant, u64)>,
    index_thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, clock: fn() -> Instant, log: Log, table: SegmentTable, index_thread: JoinHandle<()>) -> Self {
        Self {
            segment_size: shared.limits().segment_size,
            shared,
            clock,
            log,
            table,
            backlog: VecDeque::new(),
            held: VecDeque::new(),
            unsynced: Vec::new(),
            dirty_since: None,
            compaction: None,
            moves: Vec::new(),
            left_behind: HashMap::new(),
            look_for_sparse: true,
            is_tight: false,
            trouble: None,
            retry_at: None,
            reindex_at: None,
            reindex_failures: 0,
            free: None,
            index_thread: Some(index_thread),
        }
    }

    pub(crate) fn run(mut self) -> Result<(), StoreError> {
        self.publish();
        loop {
            let patience = self.patience();
            let stop = self.shared.queue.take(&mut self.backlog, patience);
            if self.is_waiting_for_disk() {
                self.refuse_backlog();
            } else if !self.backlog.is_empty() || !self.held.is_empty() {
                self.commit();
            } else if self.trouble.is_some() {
                self.probe();
            }
            self.sync_when_due();
            if self.retry_at.is_none() {
                self.replace_index();
            }
            if self.retry_at.is_none() && !self.shared.index_has_failed() {
                self.free_segments();
                self.compact();
            }
            self.shared.wait_for_index();
            if let Some(stop) = stop.filter(|_| self.backlog.is_empty()) {
                return self.finish(stop);
            }
        }
    }

    /// How long to wait for new operations; None: without limit.
    fn patience(&self) -> Option<Duration> {
        let now = (self.clock)();
        if let Some(retry_at) = self.retry_at {
            return Some(retry_at.saturating_duration_since(now));
        }
        if self.shared.index_has_failed() && self.backlog.is_empty() && self.held.is_empty() {
            return Some(self.reindex_at.unwrap_or(now).saturating_duration_since(now));
        }
        if !self.backlog.is_empty() || !self.held.is_empty() || self.compaction.is_some() || self.look_for_sparse {
            return Some(Duration::ZERO);
        }
        let sync = self.dirty_since.map(|since| (since + SYNC_WITHIN).saturating_duration_since(now));
        let index = self.shared.index_is_in_memory().then(|| self.reindex_at.unwrap_or(now).saturating_duration_since(now));
        sync.into_iter().chain(index).min()
    }

    fn is_waiting_for_disk(&self) -> bool {
        self.retry_at.is_some_and(|at| (self.clock)() < at)
    }

    fn sync_when_due(&mut self) {
        let due = self.dirty_since.is_some_and(|since| (self.clock)() >= since + SYNC_WITHIN);
        if due && let Err(error) = self.sync() {
            self.abandon(std::iter::empty(), StoreError::from_io(error));
        }
    }

    /// While the disk fails, messages are refused at once and small records are held.
    pub(crate) fn refuse_backlog(&mut self) {
        let error = self.trouble.clone().unwrap_or(StoreError::Closed);
        for op in self.backlog.drain(..) {
            match op {
                Op::Store(message) => drop(message.done.send(Err(error.clone()))),
                Op::Sync(done) => drop(done.send(Err(error.clone()))),
                Op::Barrier(done) => drop(done.send(())),
                Op::Small(small) => self.held.push_back(small),
                Op::Skip(through) => self.log.skip(through),
            }
        }
    }

    /// Checks whether the disk can be written again.
    fn probe(&mut self) {
        match self.roll() {
            Ok(()) => {
                self.trouble = None;
                self.retry_at = None;
                self.publish();
            }
            Err(error) => self.abandon(std::iter::empty(), StoreError::from_io(error)),
        }
    }

    /// The room left for messages.
    pub(crate) fn room(&mut self) -> Room {
        let index_trouble = self.shared.status().index_trouble.clone();
        let (used, now) = (self.table.total(), (self.clock)());
        index_trouble.map_or_else(|| self.shared.room_lately(&mut self.free, used, now), |reason| Room { bytes: 0, reason })
    }

    pub(crate) fn publish(&self) {
        let mut status = self.shared.status();
        status.disk = self.table.total();
        status.stuck = self.table.iter().filter(|segment| segment.stuck).map(|segment| segment.name.id).collect();
        status.log_trouble = self.trouble.as_ref().map(ToString::to_string);
    }

    fn finish(&mut self, stop: Stop) -> Result<(), StoreError> {
        // Try once more, whatever failed before.
        self.retry_at = None;
        while self.retry_at.is_none() && (!self.held.is_empty() || (self.compaction.is_some() && stop == Stop::Clean)) {
            match self.held.is_empty() {
                true => self.compact(),
                false => self.commit(),
            }
        }
        let durable = match self.trouble.clone().filter(|_| self.retry_at.is_some()) {
            Some(error) => Err(error),
            None => self.sync().map_err(StoreError::from_io),
        };
        self.shared.stop_index();
        let index = self.index_thread.take().map_or(Ok(()), JoinHandle::join);
        durable?;
        let indexed = index.is_ok() && self.shared.status().index_trouble.is_none() && !self.shared.index_is_in_memory();
        // A checkpoint does not name old copies; without one the next open finds them in the log.
        if stop == Stop::Clean && indexed && self.held.is_empty() && self.left_behind.is_empty() {
            self.write_checkpoint().map_err(StoreError::from_io)?;
        }
        Ok(())
    }

    fn write_checkpoint(&self) -> io::Result<()> {
        let stamp = self.log.next_lsn() ^ (u64::from(self.log.active().salt) << 32);
        self.shared.index().seal(stamp)?;
        StopCheckpoint::write(&self.shared.dir, self.log.next_lsn(), stamp, &self.table, &self.shared.view().locations)
    }
}

/// Small records without a waiter become durable within this time.
const SYNC_WITHIN: Duration = Duration::from_millis(200);
