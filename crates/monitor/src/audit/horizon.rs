//! How far the log had come when the spool was read.

use std::path::Path;

use jiff::Timestamp;

use crate::{
    LogError, Position,
    log::{files, newest_end},
};

/// How far the log had come at a moment: what is behind it was written later. It is a place in the log and not a time alone, because the clock may
/// have been set back.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    /// None: the log was empty.
    end: Option<Position>,
    pub(super) time: Timestamp,
}

impl Horizon {
    /// The end of the log in this folder, at `now`. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn of(dir: &Path, now: Timestamp) -> Result<Self, LogError> {
        Ok(Self { end: newest_end(&files::list(dir)?)?, time: now })
    }

    pub(super) fn passing(self) -> Passing {
        Passing { end: self.end, reached: self.end.is_none() }
    }
}

/// A reader of the log on its way past the horizon.
pub(super) struct Passing {
    end: Option<Position>,
    /// Whether the horizon's file was reached.
    reached: bool,
}

impl Passing {
    /// Whether a line that ends here is behind the horizon. Lines come in order.
    pub(super) fn is_behind(&mut self, line: Position) -> bool {
        let Some(end) = self.end else { return true };
        let is_its_file = line.file == end.file;
        self.reached |= is_its_file;
        if is_its_file { line.offset > end.offset } else { self.reached }
    }
}
