//! The state that the handle, the writer and the index thread share, and the index thread itself.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, RwLock},
    time::Duration,
};

use crate::{
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
    pub(crate) index: Index,
    pub(crate) files: Files,
    pub(crate) status: Mutex<Status>,
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
}

/// What the threads report for [`Spool::trouble`](crate::Spool::trouble).
#[derive(Debug, Clone, Default)]
pub(crate) struct Status {
    /// Bytes of all segments.
    pub(crate) disk: u64,
    pub(crate) log_trouble: Option<String>,
    pub(crate) index_trouble: Option<String>,
}

impl Shared {
    pub(crate) fn new(dir: PathBuf, limits: SpoolLimits, disk: Arc<dyn Disk>, index: Index, locations: Locations) -> Arc<Self> {
        let view = View { locations, ..View::default() };
        let files = Files::new(dir.join("log"));
        let (queue, status, view) = (Queue::new(), Mutex::default(), Mutex::new(view));
        let limits = RwLock::new(limits);
        Arc::new(Self { dir, limits, disk, queue, index, files, status, view, index_wake: Condvar::new(), index_done: Condvar::new() })
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

    /// The newest written version of a fact, from memory or from sled.
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

    /// Waits while the index is far behind, to limit the memory of the overlay.
    pub(crate) fn wait_for_index(&self) {
        let view = self.view();
        if view.overlay.bytes > OVERLAY_MAX {
            self.index_wake.notify_one();
            let behind = |view: &mut View| view.overlay.bytes > OVERLAY_MAX && view.flushing.is_some();
            drop(self.index_done.wait_timeout_while(view, INDEX_PATIENCE, behind).expect(POISON));
        }
    }

    /// The index thread: applies the changes to sled, about twice a second while there are any.
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

    pub(crate) fn stop_index(&self) {
        self.view().index_stops = true;
        self.index_wake.notify_one();
    }
}

const INDEX_EVERY: Duration = Duration::from_millis(400);
const INDEX_PATIENCE: Duration = Duration::from_secs(1);
/// Above the first size in bytes, index changes are applied at once; above the second, the writer waits for the index thread.
const OVERLAY_HIGH: usize = 4 * 1024 * 1024;
const OVERLAY_MAX: usize = 16 * 1024 * 1024;
