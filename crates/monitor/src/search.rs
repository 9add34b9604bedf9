//! Searches the log, the newest line first, in steps.
//!
//! A [`Search`] goes backwards through the log's files, block by block. A table of each stretch of a file ([`SearchIndex`] makes them) says of each
//! block which times it spans and, by a Bloom filter, which terms it may hold: addresses, ids, tags, words. A block that can hold nothing of
//! what is looked for is passed over. What has no table, such as the newest part of the current file, is read: first for the bytes that must
//! stand in a line that matches, and only such lines are parsed. A table tells where nothing is, and no more: what stands in the log is compared.
//!
//! Searching takes no lock, and the log's writer does not know of it. It holds a block, a table, the list of the log's files, and the rows of a step.
//! Neither the order of times nor the names of files are trusted: a clock may have been set back, and files are rotated meanwhile.

mod bloom;
mod criteria;
mod cursor;
mod index;
mod pace;
mod place;
mod sieve;
mod table;
mod terms;
mod texts;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    LogError, Position,
    log::files::{self, LogFile},
};
pub use criteria::{Criteria, CriteriaError, REFUSED};
pub use cursor::{Cursor, CursorError};
pub use index::SearchIndex;
pub use pace::Pace;
pub use texts::{AddressText, IdText, MetaText};

use place::{Before, Opened, Place};
use sieve::{Fits, Sieve, time_of};
use table::{Asked, Layout};

/// A search through the log, the newest line first.
pub struct Search {
    dir: PathBuf,
    sieve: Sieve,
    asked: Asked,
    layout: Layout,
    /// The files as they were listed last, oldest first, with their lengths.
    files: Vec<(LogFile, u64)>,
    /// Where it stands; None: at the end of the newest file whose number is less than `below`.
    place: Option<Place>,
    below: u64,
    /// The bytes of the log when it began.
    of: u64,
    reached: Option<Timestamp>,
    /// What was read last.
    buffer: Vec<u8>,
}

/// How far a step goes. It ends behind the block in which one of these is used up, and looks at one at least.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The most rows.
    pub rows: usize,
    /// The bytes to read. Blocks that are passed over cost nothing but their share of a table.
    pub bytes: u64,
    /// How long it may take.
    pub time: Duration,
    /// The monotonic clock.
    pub clock: fn() -> Instant,
}

/// What a step found.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Lines that match, the newest first.
    pub rows: Vec<Row>,
    /// Bytes of the log that the search is through with, those behind the place where it was resumed included.
    pub passed: u64,
    /// The bytes of the log when the search began.
    pub of: u64,
    /// Bytes that this step read.
    pub read: u64,
    /// Lines that this step met which hold what is looked for but cannot be parsed.
    pub damaged: u64,
    /// A time of the oldest lines that the search has come to; None: not known yet.
    pub reached: Option<Timestamp>,
    /// Where to go on; None: the search is through with the whole log.
    pub cursor: Option<Cursor>,
}

/// A line that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The line without its end; [`LogRecord::parse`](crate::LogRecord::parse) reads it.
    pub line: Vec<u8>,
    /// Where it begins.
    pub at: Position,
}

/// A step ends when its rows have this many bytes.
const ROWS_MAX: usize = 4 << 20;
/// The most listings because a file was renamed before it was open; nobody rotates that often.
const OPEN_TRIES: usize = 100;

impl Search {
    /// A search from the log's end, as it is now. What is appended later is not found. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn begin(log: &Path, criteria: Criteria) -> Result<Self, LogError> {
        Self::begin_in(log, criteria, Layout::REAL)
    }

    /// A search that goes on where a step of another one with the same criteria ended ([`Step::cursor`]). Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails.
    pub fn resume(log: &Path, criteria: Criteria, cursor: Cursor) -> Result<Self, LogError> {
        Self::begin_in(log, criteria, Layout::REAL)?.go_to(cursor)
    }

    fn begin_in(log: &Path, criteria: Criteria, layout: Layout) -> Result<Self, LogError> {
        let mut search = Self {
            dir: log.to_owned(),
            asked: Asked { terms: terms::wanted(&criteria), since: criteria.since, until: criteria.until },
            sieve: Sieve::new(criteria),
            layout,
            files: listed(log)?,
            place: None,
            below: u64::MAX,
            of: 0,
            reached: None,
            buffer: Vec::new(),
        };
        // The end is where the log ends now, not where it ends at the first step.
        search.open_older()?;
        search.of = search.left();
        Ok(search)
    }

    fn go_to(mut self, cursor: Cursor) -> Result<Self, LogError> {
        // Without its file there is nothing but older files.
        (self.place, self.below) = (None, cursor.number);
        for _ in 0..OPEN_TRIES {
            let (likely, others): (Vec<_>, Vec<_>) = self.files.iter().rev().partition(|(file, _)| file.number == cursor.number);
            let mut is_moved = false;
            for (file, _) in likely.into_iter().chain(others) {
                match Place::open(file)? {
                    Opened::Open(end) => {
                        if let Some(place) = end.back_to(cursor.position) {
                            (self.below, self.place) = (place.number, Some(place));
                            return Ok(self);
                        }
                    }
                    Opened::Empty => {}
                    Opened::Moved => is_moved = true,
                }
            }
            if !is_moved {
                break;
            }
            self.files = listed(&self.dir)?;
        }
        Ok(self)
    }

    /// What is searched for.
    pub fn criteria(&self) -> &Criteria {
        self.sieve.criteria()
    }

    /// Goes on until the budget is used up or the log is through. Blocks on the disk.
    ///
    /// # Errors
    /// The disk fails. Rows that the step had found are lost; the search stands behind them.
    pub fn step(&mut self, budget: &Budget) -> Result<Step, LogError> {
        let begun = (budget.clock)();
        let (mut step, mut rows, mut looked) = (Step::default(), Rows { most: budget.rows, bytes: 0 }, false);
        loop {
            // The end of a file is passed at once, so that a search that is through says so.
            if self.place.as_ref().is_none_or(|place| place.offset == 0) {
                self.place = None;
                match self.open_older()? {
                    true => continue,
                    false => break,
                }
            }
            let is_late = || (budget.clock)().saturating_duration_since(begun) >= budget.time;
            if looked && (rows.are_full(&step) || step.read >= budget.bytes || is_late()) {
                break;
            }
            self.look(&mut step, &mut rows)?;
            looked = true;
        }
        (step.of, step.passed, step.reached) = (self.of, self.of.saturating_sub(self.left()), self.reached);
        step.cursor = self.place.as_ref().map(Place::cursor);
        Ok(step)
    }

    /// Looks at the block before the place.
    fn look(&mut self, step: &mut Step, rows: &mut Rows) -> Result<(), LogError> {
        let Some(place) = &mut self.place else { return Ok(()) };
        let (begin, length) = match place.before(&self.dir, &self.asked, self.layout, &mut self.buffer, &mut step.read) {
            Ok(Before::Lines(begin, length)) => (begin, length),
            Ok(Before::Passed(earliest)) => {
                self.reached = earliest.or(self.reached);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && place.is_cut().is_ok_and(|is_cut| is_cut) => return Ok(()),
            Err(error) => return Err(LogError::io("read", place.path())(error)),
        };
        let block = &self.buffer[..length];
        let mut offset = begin;
        for range in self.sieve.candidates(block).into_iter().rev() {
            let (line, at) = (&block[range.clone()], begin + range.start as u64);
            match self.sieve.fits(line) {
                Fits::No => {}
                Fits::Damaged => step.damaged += 1,
                Fits::Yes => {
                    rows.bytes += line.len();
                    step.rows.push(Row { line: line.to_vec(), at: place.position(at) });
                    if rows.are_full(step) {
                        offset = at;
                        break;
                    }
                }
            }
        }
        self.reached = time_of(&block[(offset - begin) as usize..]).or(self.reached);
        place.offset = offset;
        Ok(())
    }

    /// Opens the newest file that is older than what is done. False if there is none.
    fn open_older(&mut self) -> Result<bool, LogError> {
        let mut tries = 0;
        while let Some((file, _)) = self.files.iter().rev().find(|(file, _)| file.number < self.below) {
            match Place::open(file)? {
                Opened::Open(place) => {
                    (self.below, self.place) = (place.number, Some(place));
                    return Ok(true);
                }
                Opened::Empty => self.below = file.number,
                Opened::Moved if tries < OPEN_TRIES => {
                    tries += 1;
                    self.files = listed(&self.dir)?;
                }
                Opened::Moved => return Err(LogError::io("open", &file.path)(io::ErrorKind::NotFound.into())),
            }
        }
        Ok(false)
    }

    /// The bytes that are still to be gone through.
    fn left(&self) -> u64 {
        let older: u64 = self.files.iter().filter(|(file, _)| file.number < self.below).map(|(_, length)| length).sum();
        older + self.place.as_ref().map_or(0, |place| place.offset)
    }
}

/// The rows of a step.
struct Rows {
    most: usize,
    bytes: usize,
}

impl Rows {
    fn are_full(&self, step: &Step) -> bool {
        step.rows.len() >= self.most || self.bytes >= ROWS_MAX
    }
}

/// The log's files with their lengths, oldest first.
fn listed(log: &Path) -> Result<Vec<(LogFile, u64)>, LogError> {
    let length = |file: &LogFile| file.path.metadata().map_or(0, |meta| meta.len());
    Ok(files::list(log)?
        .into_iter()
        .map(|file| {
            let length = length(&file);
            (file, length)
        })
        .collect())
}

#[cfg(test)]
mod tests;
