//! How long the syncs of spool and log take.

use std::{sync::Arc, time::Duration};

use posthaste_host::clock;
use posthaste_monitor::SyncTimer;
use posthaste_spool::SyncTook;
use posthaste_watch::SyncTimes;

/// The times of both: they may be on different disks.
#[derive(Clone)]
pub(crate) struct Syncs {
    spool: SyncTimes,
    log: SyncTimes,
}

impl Syncs {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { spool: SyncTimes::new(clock::instant()), log: SyncTimes::new(clock::instant()) }
    }

    /// Hears those of the spool.
    pub(crate) fn of_spool(&self) -> SyncTook {
        notes(self.spool.clone())
    }

    /// Hears those of the log.
    pub(crate) fn of_log(&self) -> SyncTimer {
        SyncTimer { clock: clock::instant, took: notes(self.log.clone()) }
    }

    /// The times of both, by what is synced.
    pub(crate) fn times(&self) -> Vec<(&'static str, SyncTimes)> {
        vec![("spool", self.spool.clone()), ("log", self.log.clone())]
    }

    /// The 99th percentile of the last minutes, of the slower of both; None: there were no syncs.
    pub(crate) fn p99(&self) -> Option<Duration> {
        let now = clock::instant();
        self.spool.p99(now).max(self.log.p99(now))
    }
}

fn notes(times: SyncTimes) -> Arc<dyn Fn(Duration) + Send + Sync> {
    Arc::new(move |took| times.note(took, clock::instant()))
}
