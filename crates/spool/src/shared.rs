//! The state that the handle, the writer and the index thread share, and the index thread itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, RwLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use crate::{
    Quarantined,
    disk::Disk,
    fact::Fact,
    files::Files,
    index::Index,
    locations::Locations,
    options::{Room, SpoolLimits},
    overlay::Overlay,
    queue::{POISON, Queue},
};

/// The state that the handle, the writer and the index thread share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    limits: RwLock<SpoolLimits>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) queue: Arc<Queue>,
    index: RwLock<Arc<Index>>,
    pub(crate) files: Files,
    pub(crate) status: Mutex<Status>,
    pub(crate) made_up_for_holes: AtomicBool,
    /// Messages that were found to be damaged.
    damaged: Mutex<BTreeSet<u64>>,
    /// Messages that the disk did not give when they were read last, and what it said.
    unreadable: Mutex<BTreeMap<u64, String>>,
    view: Mutex<View>,
    index_wake: Condvar,
    index_done: Condvar,
}

/// The state that readers see. Only the writer changes `locations` and `overlay`.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) locations: Locations,
    pub(crate) overlay: Overlay,
    /// The overlay that is being applied to the index.
    pub(crate) flushing: Option<Arc<Overlay>>,
    index_sleeps: bool,
    index_stops: bool,
    /// The index failed and is not replaced yet.
    index_failed: bool,
}

/// What the threads report for [`Spool::trouble`](crate::Spool::trouble).
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Bytes of all segments.
    pub(crate) disk: u64,
    pub(crate) log_trouble: Option<String>,
    pub(crate) index_trouble: Option<String>,
    /// Why the index is in memory, if it is.
    pub(crate) index_in_memory: Option<String>,
    /// Segments that cannot be emptied.
    pub(crate) stuck: Vec<u32>,
    /// Damage that was found since the opening, and nobody has asked for yet.
    pub(crate) quarantined: Vec<Quarantined>,
}

impl Shared {
    pub(crate) fn new(dir: PathBuf, limits: SpoolLimits, disk: Arc<dyn Disk>, index: Index, locations: Locations) -> Arc<Self> {
        let view = View { locations, ..View::default() };
        let files = Files::new(dir.join("log"));
        let (queue, status, damaged, view) = (Queue::new(), Mutex::default(), Mutex::default(), Mutex::new(view));
        let (limits, index) = (RwLock::new(limits), RwLock::new(Arc::new(index)));
        Arc::new(Self {
            dir,
            limits,
            disk,
            queue,
            index,
            files,
            status,
            made_up_for_holes: AtomicBool::new(false),
            damaged,
            unreadable: Mutex::default(),
            view,
            index_wake: Condvar::new(),
            index_done: Condvar::new(),
        })
    }

    pub(crate) fn limits(&self) -> SpoolLimits {
        self.limits.read().expect(POISON).clone()
    }

    pub(crate) fn set_limits(&self, limits: SpoolLimits) {
        *self.limits.write().expect(POISON) = limits;
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect(POISON)
    }

    pub(crate) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().expect(POISON)
    }

    /// The room left for messages if the segments take `used` bytes.
    pub(crate) fn room(&self, used: u64) -> Room {
        self.limits().room(self.disk.free(&self.dir).ok(), used)
    }

    /// The same, by what the disk had free a moment ago if that was plenty: asking it costs as much as writing a message.
    pub(crate) fn room_lately(&self, seen: &mut Option<(Instant, u64)>, used: u64, now: Instant) -> Room {
        let limits = self.limits();
        let recent = seen.filter(|(at, free)| now.saturating_duration_since(*at) < FREE_HOLDS && limits.has_plenty(*free));
        if recent.is_none() {
            *seen = self.disk.free(&self.dir).ok().map(|free| (now, free));
        }
        limits.room(seen.map(|(_, free)| free), used)
    }

    /// Notes that a message was found to be damaged.
    pub(crate) fn note_damage(&self, seq: u64) {
        if self.damaged.lock().expect(POISON).insert(seq) {
            tracing::error!(seq, "a message of the spool is damaged on disk");
        }
        self.note_read(seq, None);
    }

    /// Notes whether the disk gave a message.
    pub(crate) fn note_read(&self, seq: u64, error: Option<&io::Error>) {
        let mut unreadable = self.unreadable.lock().expect(POISON);
        match error {
            Some(error) if unreadable.len() < UNREADABLE_MAX => drop(unreadable.insert(seq, error.to_string())),
            Some(_) => {}
            None => drop(unreadable.remove(&seq)),
        }
    }

    /// The messages that the disk did not give when they were read last, and are still in the spool.
    pub(crate) fn unreadable(&self) -> Vec<(u64, String)> {
        let mut unreadable = self.unreadable.lock().expect(POISON);
        let view = self.view();
        unreadable.retain(|seq, _| view.locations.get(*seq).is_some());
        unreadable.iter().map(|(seq, why)| (*seq, why.clone())).collect()
    }

    /// The messages that were found to be damaged and are still in the spool.
    pub(crate) fn damaged(&self) -> Vec<u64> {
        let mut damaged = self.damaged.lock().expect(POISON);
        let view = self.view();
        damaged.retain(|seq| view.locations.get(*seq).is_some());
        damaged.iter().copied().collect()
    }

    pub(crate) fn index_is_in_memory(&self) -> bool {
        self.index().is_in_memory()
    }

    /// The index in use.
    pub(crate) fn index(&self) -> Arc<Index> {
        self.index.read().expect(POISON).clone()
    }

    /// Puts a new index in place of one that failed, together with the view that belongs to it.
    pub(crate) fn use_index(&self, index: Index, change: impl FnOnce(&mut View)) {
        let mut view = self.view();
        change(&mut view);
        view.index_failed = false;
        *self.index.write().expect(POISON) = Arc::new(index);
        drop(view);
        let mut status = self.status();
        (status.index_trouble, status.index_in_memory) = (None, None);
        drop(status);
        self.index_wake.notify_all();
        self.index_done.notify_all();
    }

    /// Notes that the index failed: no new mail is taken until the writer has rebuilt it.
    pub(crate) fn index_failed(&self, error: &sled::Error) {
        if !std::mem::replace(&mut self.view().index_failed, true) {
            tracing::error!(%error, "the spool's index failed; new mail is refused until it is rebuilt from the log");
            self.status().index_trouble = Some(format!("the spool's index failed and is rebuilt from the log: {error}"));
        }
        self.queue.nudge();
    }

    pub(crate) fn index_has_failed(&self) -> bool {
        self.view().index_failed
    }

    /// Reads from the index. If that fails, waits until the writer has rebuilt it, and tries once more. Not for the writer itself.
    pub(crate) fn read_index<T>(&self, read: impl Fn(&Index) -> sled::Result<T>) -> Option<T> {
        read(&self.index())
            .or_else(|error| {
                self.index_failed(&error);
                drop(self.index_done.wait_timeout_while(self.view(), REBUILD_PATIENCE, |view| view.index_failed).expect(POISON));
                read(&self.index()).inspect_err(|error| tracing::error!(%error, "the spool's index cannot be read"))
            })
            .ok()
    }

    /// The newest written version of a fact, from memory or from sled.
    pub(crate) fn indexed_fact(&self, key: &[u8]) -> Option<Fact> {
        self.fact_in_memory(key).unwrap_or_else(|| self.read_index(|index| index.fact(key)).unwrap_or(None))
    }

    /// The same for the writer, which cannot wait for itself to rebuild the index.
    pub(crate) fn known_fact(&self, key: &[u8]) -> sled::Result<Option<Fact>> {
        self.fact_in_memory(key).map_or_else(|| self.index().fact(key).inspect_err(|error| self.index_failed(error)), Ok)
    }

    fn fact_in_memory(&self, key: &[u8]) -> Option<Option<Fact>> {
        let view = self.view();
        view.overlay.facts.get(key).or_else(|| view.flushing.as_ref()?.facts.get(key)).cloned()
    }

    pub(crate) fn index_has_work(&self) {
        let view = self.view();
        let wake = (view.index_sleeps && !view.overlay.is_empty()) || view.overlay.bytes > OVERLAY_HIGH;
        drop(view);
        if wake {
            self.index_wake.notify_one();
        }
    }

    /// Waits while the index is far behind, to limit the memory of the overlay.
    pub(crate) fn wait_for_index(&self) {
        let view = self.view();
        if view.overlay.bytes > OVERLAY_MAX && !view.index_failed {
            self.index_wake.notify_one();
            let behind = |view: &mut View| view.overlay.bytes > OVERLAY_MAX && view.flushing.is_some();
            drop(self.index_done.wait_timeout_while(view, INDEX_PATIENCE, behind).expect(POISON));
        }
    }

    /// The index thread: applies the changes to sled, about twice a second while there are any.
    pub(crate) fn keep_index(&self) {
        while let Some((overlay, index)) = self.next_overlay() {
            let applied = index.apply(&overlay).and_then(|()| index.flush());
            if let Err(error) = applied {
                // What was not applied stays readable in memory; the writer makes a new index from the log, which has it too.
                self.index_failed(&error);
                continue;
            }
            let mut view = self.view();
            if view.flushing.as_ref().is_some_and(|flushing| Arc::ptr_eq(flushing, &overlay)) {
                view.flushing = None;
            }
            drop(view);
            self.index_done.notify_all();
        }
    }

    /// The changes to be applied next, and the index that they belong to; None: the spool stops.
    fn next_overlay(&self) -> Option<(Arc<Overlay>, Arc<Index>)> {
        let view = self.view();
        let mut view = self.index_wake.wait_while(view, |view| view.index_failed && !view.index_stops).expect(POISON);
        if view.index_failed {
            return None;
        }
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
        Some((overlay, self.index()))
    }

    pub(crate) fn stop_index(&self) {
        self.view().index_stops = true;
        self.index_wake.notify_all();
    }
}

/// Messages of which is noted that the disk does not give them.
const UNREADABLE_MAX: usize = 1000;
/// How long what the disk had free is taken for true, if it was plenty.
pub(crate) const FREE_HOLDS: Duration = Duration::from_millis(100);
const INDEX_EVERY: Duration = Duration::from_millis(400);
const INDEX_PATIENCE: Duration = Duration::from_secs(1);
/// How long a reader waits for a new index. With a million messages a rebuild takes 8 seconds.
const REBUILD_PATIENCE: Duration = Duration::from_secs(20);
/// Above the first size in bytes, index changes are applied at once; above the second, the writer waits for the index thread.
const OVERLAY_HIGH: usize = 4 * 1024 * 1024;
const OVERLAY_MAX: usize = 16 * 1024 * 1024;
