//! Reads what the log has grown by.

use std::path::{Path, PathBuf};

use posthaste_monitor::{Lines, LogError};

use crate::{Delta, Seen, Tallies, TalliesError};

/// How far a [`LogReader`] came.
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

/// Reads the log into the tallies, from where they end.
pub struct LogReader {
    dir: PathBuf,
    lines: Option<Lines>,
    gap: bool,
}

impl LogReader {
    /// A reader of the log in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.into(), lines: None, gap: false }
    }

    /// Counts the next lines, at most `most`.
    ///
    /// # Errors
    /// The log cannot be read, or the tallies cannot be written. What was counted before is saved, and the next call goes on there.
    pub fn catch_up(&mut self, tallies: &mut Tallies, most: u64) -> Result<Progress, TalliesError> {
        let lines = match self.lines.take() {
            Some(lines) => lines,
            None => self.open(tallies)?,
        };
        let (lines, mut progress) = count(lines, tallies, most)?;
        progress.gap = std::mem::take(&mut self.gap);
        self.lines = Some(lines);
        Ok(progress)
    }

    fn open(&mut self, tallies: &Tallies) -> Result<Lines, TalliesError> {
        match tallies.position()?.map(|position| Lines::from(&self.dir, position)) {
            Some(Err(LogError::Gone(_))) => {
                self.gap = true;
                Ok(Lines::all(&self.dir))
            }
            Some(lines) => Ok(lines?),
            None => Ok(Lines::all(&self.dir)),
        }
    }
}

fn count(mut lines: Lines, tallies: &mut Tallies, most: u64) -> Result<(Lines, Progress), TalliesError> {
    let mut progress = Progress::default();
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
        if progress.lines.is_multiple_of(LOOK_EVERY) && delta.cells() >= CELLS_MAX {
            tallies.add(&mut delta, lines.position())?;
            delta = Delta::new(tallies.zone().clone());
        }
    }
    if progress.lines > 0 {
        tallies.add(&mut delta, lines.position())?;
    }
    Ok((lines, progress))
}

/// Lines between two looks at how many cells there are; a line makes 30 at most, unless it has many tags.
const LOOK_EVERY: u64 = 256;
/// Cells in memory, at most: about 300 bytes each.
const CELLS_MAX: usize = 50_000;
