//! Reads the tallies for those who ask.

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use posthaste_tallies::{Tallies, TalliesError};

use crate::{Counting, NotCounted};

/// What is said in place of figures and incidents where the configuration turns monitoring off: that there are none would be untrue.
pub const OFF: &str =
    "monitoring is off: monitor.enabled is false in the configuration, so the delivery log is not counted and nothing looks for incidents";

/// The tallies, for those who ask. Clones share them.
#[derive(Clone, Debug)]
pub struct Figures {
    path: PathBuf,
    counting: Counting,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum FiguresError {
    /// They do not hold all that is in the log.
    #[error(transparent)]
    NotCounted(#[from] NotCounted),
    /// The tallies cannot be read.
    #[error(transparent)]
    Tallies(#[from] TalliesError),
}

impl Figures {
    /// The figures of this database, which `counting` keeps.
    pub fn new(path: PathBuf, counting: Counting) -> Self {
        Self { path, counting }
    }

    /// How long ago all that was in the log was counted.
    pub fn behind(&self, now: Timestamp) -> Duration {
        self.counting.behind(now)
    }

    /// Why the log is not counted at present; None: it is.
    pub fn trouble(&self) -> Option<String> {
        self.counting.trouble()
    }

    /// Waits until all that was logged before is counted. Blocks.
    ///
    /// # Errors
    /// The log is still being counted after a few seconds, or it cannot be.
    pub fn catch_up(&self) -> Result<(), NotCounted> {
        self.counting.catch_up(PATIENCE)
    }

    /// Reads what is asked for, once all that was logged before is counted. Blocks on the disk.
    ///
    /// # Errors
    /// The log is still being counted after a few seconds, or the tallies cannot be read.
    pub fn read<T>(&self, ask: impl FnOnce(&Tallies) -> Result<T, TalliesError>) -> Result<T, FiguresError> {
        self.catch_up()?;
        self.read_as_it_is(ask)
    }

    /// Reads what is asked for from what is counted already. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn read_as_it_is<T>(&self, ask: impl FnOnce(&Tallies) -> Result<T, TalliesError>) -> Result<T, FiguresError> {
        Ok(ask(&Tallies::look(&self.path)?)?)
    }

    /// Reads what is counted, for who asks often: it waits for the newest lines only for a moment. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn read_soon<T>(&self, ask: impl FnOnce(&Tallies) -> Result<T, TalliesError>) -> Result<T, TalliesError> {
        // What is wrong with the counting is an alarm already.
        let _ = self.counting.catch_up(MOMENT);
        ask(&Tallies::look(&self.path)?)
    }
}

/// A day's log of a busy relay is counted within it; longer ones are after a change of the time zone or a loss.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read every second or two may be a moment old.
const MOMENT: Duration = Duration::from_millis(300);
