//! The one thread that writes, and the one that keeps sled behind it.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, RwLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    StoreError,
    checkpoint::Checkpoint,
    compact::{Compaction, Move},
    disk::Disk,
    fact::Fact,
    index::Index,
    ledger::Ledger,
    locations::Locations,
    log::Log,
    overlay::Overlay,
    queue::{Op, POISON, Queue, Small, Stop},
    read::Files,
    spool::Limits,
};

/// What the handle, the writer and the index thread share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    limits: RwLock<Limits>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) index: Index,
    pub(crate) files: Files,
    pub(crate) status: Mutex<Status>,
    view: Mutex<View>,
    index_wake: Condvar,
    index_done: Condvar,
}

/// What readers see. Only the writer changes `locations` and `overlay`.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) locations: Locations,
    pub(crate) overlay: Overlay,
    /// The overlay that is on its way into the index.
    pub(crate) flushing: Option<Arc<Overlay>>,
    index_sleeps: bool,
    index_stops: bool,
}

/// What [`Spool::usage`](crate::Spool::usage) and [`Spool::trouble`](crate::Spool::trouble) tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    pub(crate) disk: u64,
    pub(crate) live: u64,
    pub(crate) segments: u64,
    pub(crate) log_trouble: Option<String>,
    pub(crate) index_trouble: Option<String>,
}

impl Shared {
    pub(crate) fn new(dir: PathBuf, limits: Limits, disk: Arc<dyn Disk>, index: Index, locations: Locations) -> Arc<Self> {
        let view = View { locations, ..View::default() };
        let files = Files::new(dir.join("log"));
        let (queue, status, view) = (Queue::new(), Mutex::default(), Mutex::new(view));
        let limits = RwLock::new(limits);
        Arc::new(Self { dir, limits, disk, queue, index, files, status, view, index_wake: Condvar::new(), index_done: Condvar::new() })
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits.read().expect(POISON).clone()
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        *self.limits.write().expect(POISON) = limits;
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect(POISON)
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().expect(POISON)
    }

    /// A fact as written, in memory or in sled.
    pub(crate) fn indexed_fact(&self, key: &[u8]) -> Option<Fact> {
        let view = self.view();
        let fresh = view.overlay.facts.get(key).or_else(|| view.flushing.as_ref()?.facts.get(key)).cloned();
        drop(view);
        fresh.unwrap_or_else(|| {
            self.index.fact(key).unwrap_or_else(|error| {
                tracing::error!(%error, "the spool's index cannot be read");
                None
            })
        })
    }

    pub(crate) fn index_has_work(&self) {
        let view = self.view();
        let wake = (view.index_sleeps && !view.overlay.is_empty()) || view.overlay.bytes > OVERLAY_HIGH;
        drop(view);
        if wake {
            self.index_wake.notify_one();
        }
    }

    /// Waits while the index is far behind: memory is bounded.
    fn wait_for_index(&self) {
        let view = self.view();
        if view.overlay.bytes > OVERLAY_MAX {
            self.index_wake.notify_one();
            let behind = |view: &mut View| view.overlay.bytes > OVERLAY_MAX && view.flushing.is_some();
            drop(self.index_done.wait_timeout_while(view, INDEX_PATIENCE, behind).expect(POISON));
        }
    }

    /// The index thread: every half second of activity, what has changed goes into sled.
    pub(crate) fn keep_index(&self) {
        while let Some(overlay) = self.next_overlay() {
            while let Err(error) = self.index.apply(&overlay).and_then(|()| self.index.flush()) {
                tracing::error!(%error, "the spool's index cannot be written; new mail is refused until it can");
                self.status().index_trouble = Some(format!("the spool's index: {error}"));
                let view = self.view();
                let (view, _) = self.index_wake.wait_timeout_while(view, INDEX_PATIENCE, |view| !view.index_stops).expect(POISON);
                if view.index_stops {
                    return;
                }
            }
            self.status().index_trouble = None;
            self.view().flushing = None;
            self.index_done.notify_one();
        }
    }

    fn next_overlay(&self) -> Option<Arc<Overlay>> {
        let mut view = self.view();
        if view.overlay.is_empty() && !view.index_stops {
            view.index_sleeps = true;
            view = self.index_wake.wait_while(view, |view| view.overlay.is_empty() && !view.index_stops).expect(POISON);
            view.index_sleeps = false;
        }
        let gather = |view: &mut View| view.overlay.bytes <= OVERLAY_HIGH && !view.index_stops;
        view = self.index_wake.wait_timeout_while(view, INDEX_EVERY, gather).expect(POISON).0;
        if view.overlay.is_empty() && view.index_stops {
            return None;
        }
        let mut overlay = std::mem::take(&mut view.overlay);
        let dead: Vec<u64> = overlay.gone.keys().copied().collect();
        overlay.find_spent(dead.into_iter(), &view.locations);
        let overlay = Arc::new(overlay);
        view.flushing = Some(overlay.clone());
        Some(overlay)
    }

    fn stop_index(&self) {
        self.view().index_stops = true;
        self.index_wake.notify_one();
    }
}

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: fn() -> Instant,
    pub(crate) segment_size: u64,
    pub(crate) log: Log,
    pub(crate) ledger: Ledger,
    pub(crate) backlog: VecDeque<Op>,
    /// Small records to be written before anything else, oldest first.
    pub(crate) held: VecDeque<Small>,
    /// Small records written and not yet known durable, oldest first.
    pub(crate) unsynced: Vec<Small>,
    pub(crate) dirty_since: Option<Instant>,
    pub(crate) compaction: Option<Compaction>,
    /// Records copied and not yet known durable.
    pub(crate) moves: Vec<Move>,
    /// Something died since segments were last looked at.
    pub(crate) look_for_sparse: bool,
    /// The last message was refused for want of room.
    pub(crate) is_tight: bool,
    pub(crate) trouble: Option<StoreError>,
    pub(crate) retry_at: Option<Instant>,
    index_thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, clock: fn() -> Instant, log: Log, ledger: Ledger, index_thread: JoinHandle<()>) -> Self {
        Self {
            segment_size: shared.limits().segment_size,
            shared,
            clock,
            log,
            ledger,
            backlog: VecDeque::new(),
            held: VecDeque::new(),
            unsynced: Vec::new(),
            dirty_since: None,
            compaction: None,
            moves: Vec::new(),
            look_for_sparse: true,
            is_tight: false,
            trouble: None,
            retry_at: None,
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
                self.free_segments();
                self.compact();
            }
            self.shared.wait_for_index();
            if let Some(stop) = stop.filter(|_| self.backlog.is_empty()) {
                return self.finish(stop);
            }
        }
    }

    /// How long there is nothing to do unless something arrives.
    fn patience(&self) -> Option<Duration> {
        let now = (self.clock)();
        if let Some(retry_at) = self.retry_at {
            return Some(retry_at.saturating_duration_since(now));
        }
        if !self.backlog.is_empty() || !self.held.is_empty() || self.compaction.is_some() || self.look_for_sparse {
            return Some(Duration::ZERO);
        }
        self.dirty_since.map(|since| (since + SYNC_WITHIN).saturating_duration_since(now))
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

    /// While the disk refuses, messages are refused at once and small records wait.
    fn refuse_backlog(&mut self) {
        let error = self.trouble.clone().unwrap_or(StoreError::Closed);
        for op in self.backlog.drain(..) {
            match op {
                Op::Store(message) => drop(message.done.send(Err(error.clone()))),
                Op::Sync(done) => drop(done.send(Err(error.clone()))),
                Op::Barrier(done) => drop(done.send(())),
                Op::Small(small, done) => {
                    self.held.push_back(small);
                    done.into_iter().for_each(|done| drop(done.send(Err(error.clone()))));
                }
            }
        }
    }

    /// Finds out whether the disk takes bytes again.
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

    /// What messages may take from the disk now.
    pub(crate) fn room(&self) -> Room {
        let index_trouble = self.shared.status().index_trouble.clone();
        index_trouble.map_or_else(|| self.shared.limits().room(&self.shared, self.ledger.total()), |reason| Room { bytes: 0, reason })
    }

    pub(crate) fn publish(&self) {
        let segments = self.ledger.iter().count() as u64;
        let mut status = self.shared.status();
        status.disk = self.ledger.total();
        status.live = self.ledger.total_live();
        status.segments = segments;
        status.log_trouble = self.trouble.as_ref().map(ToString::to_string);
    }

    fn finish(&mut self, stop: Stop) -> Result<(), StoreError> {
        // Once more, whatever was wrong before.
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
        let indexed = index.is_ok() && self.shared.status().index_trouble.is_none();
        if stop == Stop::Clean && indexed && self.held.is_empty() {
            self.write_checkpoint().map_err(StoreError::from_io)?;
        }
        Ok(())
    }

    fn write_checkpoint(&self) -> io::Result<()> {
        let stamp = self.log.next_lsn() ^ (u64::from(self.log.active().salt) << 32);
        self.shared.index.seal(stamp, &self.shared.dir.join("index"))?;
        Checkpoint::write(&self.shared.dir, self.log.next_lsn(), stamp, &self.ledger, &self.shared.view().locations)
    }
}

/// Bytes that messages may still take, and what limits them.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) reason: String,
}

impl Room {
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| StoreError::Full { reason: self.reason.clone() })?;
        Ok(())
    }
}

/// Small records that nobody waits for are durable within this time.
const SYNC_WITHIN: Duration = Duration::from_millis(200);
const INDEX_EVERY: Duration = Duration::from_millis(400);
const INDEX_PATIENCE: Duration = Duration::from_secs(1);
/// Index changes go out before their time above this many bytes, and the log waits for them above the other.
const OVERLAY_HIGH: usize = 4 * 1024 * 1024;
const OVERLAY_MAX: usize = 16 * 1024 * 1024;
