//! The options of the log, and what was found on opening it.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{FileId, Position};

/// Where the log is and how it is rotated, kept and synced.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The folder; created if missing.
    pub dir: PathBuf,
    /// A file of at least this many bytes is rotated.
    pub rotate_size: u64,
    /// A file whose first line is this old is rotated before the next line.
    pub rotate_age: Duration,
    /// How many rotated files are kept.
    pub keep_files: usize,
    /// Rotated files older than this are deleted. None: only their number counts.
    pub keep_age: Option<Duration>,
    /// How long the first entry of a batch waits for others before it is written; this saves a wake-up and a write per entry.
    pub gather: Duration,
    /// How long written entries wait for the sync that makes them durable. 2,048 entries end the wait.
    pub sync: Duration,
    /// How often the file is looked at while nothing is written, to notice what others do to it.
    pub look: Duration,
    /// How long to wait before the next try after the disk failed.
    pub retry: Duration,
    /// [`EventLog::trouble`](super::EventLog::trouble) reports if more entries than this wait.
    pub queue_max: usize,
    /// The files' mode.
    pub mode: u32,
    /// A file that the caller has found to be missing, or cut, and tells of itself.
    pub told: Option<FileId>,
    /// Who hears how long syncs take; None: nobody.
    pub timer: Option<SyncTimer>,
    /// The number of the newest list of the log's files that the caller knows of ([`EventLog::list_serial`](super::EventLog::list_serial)); 0: of none.
    /// An older one is an alarm.
    pub list_serial: u64,
}

/// Hears how long each sync of lines took, on the log's thread.
#[derive(Clone)]
pub struct SyncTimer {
    /// The monotonic clock.
    pub clock: fn() -> Instant,
    /// Hears it; it must be quick.
    pub took: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl SyncTimer {
    pub(super) fn time<T>(timer: Option<&Self>, sync: impl FnOnce() -> T) -> T {
        let Some(timer) = timer else { return sync() };
        let began = (timer.clock)();
        let done = sync();
        (timer.took)((timer.clock)().saturating_duration_since(began));
        done
    }
}

impl fmt::Debug for SyncTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncTimer")
    }
}

impl LogOptions {
    /// This many entries are made durable without further waiting.
    pub(crate) const SYNC_ENTRIES: usize = 2048;

    /// The default options for a folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            rotate_size: 256 << 20,
            rotate_age: Duration::from_secs(24 * 3600),
            keep_files: 30,
            keep_age: None,
            gather: Duration::from_millis(10),
            sync: Duration::from_millis(100),
            look: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            queue_max: 100_000,
            mode: 0o600,
            told: None,
            timer: None,
            list_serial: 0,
        }
    }
}

/// What was found on opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedLog {
    /// The end of the log; None if it is empty.
    pub end: Option<Position>,
    /// How many bytes of a torn last line were cut off.
    pub cut: u64,
}
