//! Gaps in the log: which of those that it tells of are still open, and what may have been written there.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    path::Path,
    time::Duration,
};

use jiff::Timestamp;
use memchr::memmem;
use posthaste_mail::MessageId;
use serde::Serialize;

use crate::{
    FileId, LogError,
    log::{files, inventory},
    record::{BriefRecord, GapRecord},
};

/// A gap in the log: a `log_gap` line whose file is not back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The missing lines are no older, if that is known.
    pub since: Option<Timestamp>,
    /// They are no newer.
    pub until: Timestamp,
    /// When it was found; None: this audit found it.
    pub found: Option<Timestamp>,
    /// What happened, in words.
    pub detail: String,
}

/// The `log_gap` lines by their ids: a line may be in the log twice, because it is carried on when its file is lost too.
pub(crate) type GapLines = BTreeMap<String, GapRecord>;

/// Those gaps whose file is not back under a name that the reader knows.
pub(crate) fn still_open(dir: &Path, lines: &GapLines) -> Result<Vec<Gap>, LogError> {
    let mut open = Vec::new();
    for gap in lines.values() {
        let file = gap.file.as_deref().and_then(|file| file.parse().ok());
        if !file.map(|file| is_back(dir, file, gap)).transpose()?.unwrap_or(false) {
            let until = gap.until.unwrap_or(gap.time);
            open.push(Gap { since: gap.since, until, found: Some(gap.time), detail: gap.detail.clone() });
        }
    }
    Ok(open)
}

/// Whether the very lines of the gap are there again. Length alone proves nothing: a file that was cut is written on, and grows.
fn is_back(dir: &Path, file: FileId, gap: &GapRecord) -> Result<bool, LogError> {
    let end = gap.from_byte.saturating_add(gap.bytes);
    if gap.crc32.is_some() {
        return inventory::holds(dir, file, end, gap.crc32);
    }
    // Nobody knew the lines. What was written since is not them: neither what is newer than the gap, nor its own line.
    let is_older = |line: &[u8]| {
        let time = BriefRecord::parse(line).and_then(|record| record.time.parse::<Timestamp>().ok());
        time.is_some_and(|time| time < gap.time) && memmem::find(line, gap.id.as_bytes()).is_none()
    };
    for found in files::list(dir)? {
        let look = || -> io::Result<bool> {
            let handle = File::open(&found.path)?;
            if FileId::read(&handle)? != Some(file) || handle.metadata()?.len() < end {
                return Ok(false);
            }
            let (mut lines, mut at, mut line) = (BufReader::new(handle), gap.from_byte.saturating_sub(1), Vec::new());
            lines.seek(SeekFrom::Start(at))?;
            // The rest of the line in which the gap begins, or the end of the one before it.
            at += lines.read_until(b'\n', &mut line)? as u64;
            while at < end {
                line.clear();
                at += lines.read_until(b'\n', &mut line)? as u64;
                if !is_older(&line) {
                    return Ok(false);
                }
            }
            Ok(at == end && line.ends_with(b"\n"))
        };
        match look() {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            // The writer may have deleted it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(LogError::io("read", &found.path)(error)),
        }
    }
    Ok(false)
}

/// Whether a line about this message may be in one of these gaps: if it is the first one (`accepted`), only near the message's own time.
pub(crate) fn may_hold(gaps: &[Gap], message: MessageId, first: bool) -> bool {
    let time = message.time();
    gaps.iter().any(|gap| {
        let since = gap.since.filter(|_| first).and_then(|since| since.checked_sub(SLACK).ok());
        time <= gap.until.saturating_add(SLACK).unwrap_or(gap.until) && since.is_none_or(|since| time >= since)
    })
}

/// The lines of a log are not strictly in the order of their times: a message whose id is this close to the oldest line may have been
/// accepted in a file that is gone.
pub(super) const SLACK: Duration = Duration::from_secs(2);
