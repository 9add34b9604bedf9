//! Reads what the log has grown by.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use posthaste_monitor::{Lines, LogError};
use serde_json::Value;

use crate::{Delta, Seen, Tallies, TalliesError};

/// How far a [`LogReader`] came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines read.
    pub lines: u64,
    /// Lines that could not be read, and count as nothing.
    pub damaged: u64,
    /// A line that made posthaste panic, and counts as nothing.
    pub skipped: Option<Skipped>,
    /// The place up to which lines were counted is gone: what stood between it and the oldest line was deleted before it was counted.
    pub gap: bool,
    /// The log's end was reached.
    pub at_end: bool,
}

/// A line that made posthaste panic when it was counted: a fault of posthaste, and never a reason to count no other line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its file. It may have been rotated since.
    pub file: PathBuf,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Its time, event and message, as far as they can be read.
    pub line: String,
    /// What the panic said.
    pub why: String,
    /// Lines that were skipped since all counting began, this one included.
    pub count: u64,
}

/// Reads the log into the tallies, from where they end.
pub struct LogReader {
    dir: PathBuf,
    lines: Option<Lines>,
    gap: bool,
    /// Lines that are counted together, at most. A panic halves it until the line is alone; each success doubles it.
    at_once: u64,
    take: Take,
}

/// How a line is counted. A test has one that panics.
type Take = fn(&mut Delta, &Seen<'_>);

impl LogReader {
    /// A reader of the log in `dir`.
    pub fn new(dir: &Path) -> Self {
        Self::counting_by(dir, Delta::take)
    }

    pub(crate) fn counting_by(dir: &Path, take: Take) -> Self {
        Self { dir: dir.into(), lines: None, gap: false, at_once: u64::MAX, take }
    }

    /// Counts the next lines, at most `most`. A line that makes posthaste panic is skipped: what is saved of the lines before it is right, and what
    /// comes after it is counted by the next calls.
    ///
    /// # Errors
    /// The log cannot be read, or the tallies cannot be written. What was counted before is saved, and the next call goes on there.
    ///
    /// # Panics
    /// Something other than the counting of a line panicked.
    pub fn catch_up(&mut self, tallies: &mut Tallies, most: u64) -> Result<Progress, TalliesError> {
        loop {
            let lines = match self.lines.take() {
                Some(lines) => lines,
                None => self.open(tallies)?,
            };
            self.at_once = self.at_once.min(most).max(1);
            let (at_once, take) = (self.at_once, self.take);
            // A panic leaves nothing half done: the database has all of a step or nothing, and the lines are read again from its place.
            let counted = catch_unwind(AssertUnwindSafe(|| count(lines, tallies, at_once, take)));
            let (lines, mut progress) = match counted {
                Ok(counted) => counted?,
                Err(_) if self.at_once > 1 => {
                    self.at_once /= 2;
                    continue;
                }
                Err(panic) => skip(self.open(tallies)?, tallies, said(&*panic))?,
            };
            self.at_once = self.at_once.saturating_mul(2);
            progress.gap = std::mem::take(&mut self.gap);
            self.lines = Some(lines);
            return Ok(progress);
        }
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

/// Counts the next line as skipped.
fn skip(mut lines: Lines, tallies: &mut Tallies, why: String) -> Result<(Lines, Progress), TalliesError> {
    let Some((line, end, length)) = lines.next_line()?.map(|line| (named(line.bytes), line.end, line.bytes.len() as u64)) else {
        return Ok((lines, Progress { at_end: true, ..Progress::default() }));
    };
    let offset = end.offset.saturating_sub(length + 1);
    let count = tallies.skip(end)?;
    let skipped = Skipped { file: lines.file().unwrap_or(Path::new("")).to_owned(), offset, line, why, count };
    Ok((lines, Progress { lines: 1, skipped: Some(skipped), ..Progress::default() }))
}

/// Which line it is, for people.
fn named(line: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(line).unwrap_or_default();
    let fields = ["time", "event", "message"].into_iter().filter_map(|field| json[field].as_str());
    // It stands in an alarm, and is no place for a line of a mebibyte.
    let short = fields.map(|text| text.chars().take(60).collect::<String>());
    short.collect::<Vec<_>>().join(" ")
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".into())
}

fn count(mut lines: Lines, tallies: &mut Tallies, most: u64, take: Take) -> Result<(Lines, Progress), TalliesError> {
    let mut progress = Progress::default();
    let mut delta = Delta::new(tallies.zone().clone());
    while progress.lines < most {
        let Some(line) = lines.next_line()? else {
            progress.at_end = true;
            break;
        };
        progress.lines += 1;
        match Seen::parse(line.bytes) {
            Some(seen) => take(&mut delta, &seen),
            None => progress.damaged += 1,
        }
        if progress.lines.is_multiple_of(LOOK_EVERY) && delta.cells() >= CELLS_MAX {
            tallies.add(&delta, lines.position())?;
            delta = Delta::new(tallies.zone().clone());
        }
    }
    if progress.lines > 0 {
        tallies.add(&delta, lines.position())?;
    }
    Ok((lines, progress))
}

/// Lines between two looks at how many cells there are; a line makes 30 at most, unless it has many tags.
const LOOK_EVERY: u64 = 256;
/// Cells in memory, at most: about 200 bytes each, with their names and times.
const CELLS_MAX: usize = 100_000;
