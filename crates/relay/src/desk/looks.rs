//! What those read over the admin socket who may ask the relay, but may not read its files: the delivery log.

use std::path::Path;

use jiff::Timestamp;
use posthaste_mail::MessageId;
use posthaste_monitor::{Backward, LineFilter, LineFinder, Lines, LogError, Position, search};
use serde::{Deserialize, Serialize};

/// The most lines in one answer.
const LINES_MAX: usize = 5_000;

/// The answer to `Log`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Logged {
    /// Lines that match, oldest first.
    pub lines: Vec<String>,
    /// Where to go on; None: at the beginning.
    pub end: Option<Position>,
    /// Whether there are more.
    pub more: bool,
}

/// The answer to `Trace`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Traced {
    /// The lines that were found.
    pub lines: Vec<String>,
    /// The messages that were meant, if it is not clear which.
    pub candidates: Vec<MessageId>,
}

/// Reads the lines that match: the last ones, or those after a position. Blocks.
pub(super) fn log(dir: &Path, filter: LineFilter, last: Option<usize>, after: Option<Position>) -> Result<Logged, LogError> {
    let since: Option<Timestamp> = filter.since;
    let finder = LineFinder::new(filter);
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    if let Some(count) = last {
        let stop = Backward { since, ..Backward::last(count.min(LINES_MAX)) };
        let (found, behind) = Lines::last(dir, stop, |line| finder.find(line).is_some())?;
        return Ok(Logged { lines: found.iter().map(|line| text(line)).collect(), end: behind.position(), more: false });
    }
    let mut lines = match (after, since) {
        (Some(position), _) => Lines::from(dir, position)?,
        (None, Some(since)) => Lines::since(dir, since),
        (None, None) => Lines::all(dir),
    };
    let mut found = Vec::new();
    while found.len() < LINES_MAX
        && let Some(line) = lines.next_line()?
    {
        if finder.find(line.bytes).is_some() {
            found.push(text(line.bytes));
        }
    }
    let more = found.len() == LINES_MAX;
    Ok(Logged { lines: found, end: lines.position().or(after), more })
}

/// Reads what is asked for. Blocks.
pub(super) fn trace(dir: &Path, what: &str) -> Result<Traced, LogError> {
    let found = search(dir, what)?;
    let lines = found.lines().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    Ok(Traced { lines, candidates: found.candidates })
}
