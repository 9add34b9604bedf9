//! Where the log lies, how it is kept, and what opening it found.

use std::{path::PathBuf, time::Duration};

use super::Position;

/// Where the log lies and how it is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The folder; made if it is not there.
    pub dir: PathBuf,
    /// A file that has reached this many bytes is rotated.
    pub rotate_size: u64,
    /// A file whose first line is this old is rotated, on the next line.
    pub rotate_age: Duration,
    /// How many rotated files stay.
    pub keep_files: usize,
    /// Rotated files older than this go. None: only their number counts.
    pub keep_age: Option<Duration>,
    /// How long the first entry of a batch waits for company before it is written: saves a wake-up and a write per entry.
    pub gather: Duration,
    /// How long what is written waits before it is made durable. [`Self::SYNC_ENTRIES`] entries end the wait.
    pub sync: Duration,
    /// How long to wait before a disk that refused is tried again.
    pub retry: Duration,
    /// With more entries than this waiting, [`EventLog::trouble`] speaks up.
    pub queue_max: usize,
    /// The files' mode.
    pub mode: u32,
}

impl LogOptions {
    /// So many entries are made durable without further waiting.
    pub const SYNC_ENTRIES: usize = 2048;

    /// The defaults, for a folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            rotate_size: 256 << 20,
            rotate_age: Duration::from_secs(24 * 3600),
            keep_files: 30,
            keep_age: None,
            gather: Duration::from_millis(10),
            sync: Duration::from_millis(100),
            retry: Duration::from_secs(1),
            queue_max: 100_000,
            mode: 0o640,
        }
    }
}

/// What was found on opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The log's end; None for an empty log.
    pub end: Option<Position>,
    /// Bytes of a torn last line that were cut off.
    pub cut: u64,
}
