//! Reads what the log has grown by.

use std::path::Path;

use posthaste_monitor::{Lines, LogError};

use crate::{Delta, Seen, Tallies, TalliesError};

/// How far [`catch_up`] came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines read.
    pub lines: u64,
    /// Lines that could not be read, and count as nothing.
    pub damaged: u64,
    /// The place up to which lines were counted is gone: what stood between it and the oldest line was deleted before it was counted.
    pub gap: bool,
    /// The log's end was reached.
    pub at_end: bool,
}

/// Counts the next lines of the log in `dir`, at most `most`.
///
/// # Errors
/// The log cannot be read, or the tallies cannot be written. What was counted before is saved.
pub fn catch_up(tallies: &mut Tallies, dir: &Path, most: u64) -> Result<Progress, TalliesError> {
    let mut progress = Progress::default();
    let mut lines = match tallies.position()?.map(|position| Lines::from(dir, position)) {
        Some(Err(LogError::Gone(_))) => {
            progress.gap = true;
            Lines::all(dir)
        }
        Some(lines) => lines?,
        None => Lines::all(dir),
    };
    let mut delta = Delta::new(tallies.zone().clone());
    while progress.lines < most {
        let Some(line) = lines.next_line()? else {
            progress.at_end = true;
            break;
        };
        progress.lines += 1;
        match Seen::parse(line.bytes) {
            Some(seen) => delta.take(&seen),
            None => progress.damaged += 1,
        }
        if delta.cells() >= CELLS_MAX {
            tallies.add(&delta, lines.position())?;
            delta = Delta::new(tallies.zone().clone());
        }
    }
    if progress.lines > 0 {
        tallies.add(&delta, lines.position())?;
    }
    Ok(progress)
}

/// Cells in memory, at most: about 300 bytes each.
const CELLS_MAX: usize = 50_000;
