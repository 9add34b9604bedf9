//! Gaps in the log: which of those that it tells of are still open, and what may have been written there.

use std::{collections::BTreeMap, path::Path, time::Duration};

use jiff::Timestamp;
use posthaste_mail::MessageId;
use serde::Serialize;

use crate::{LogError, log::inventory, record::GapRecord};

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
        let is_back = |file| inventory::holds(dir, file, gap.from_byte.saturating_add(gap.bytes), gap.crc32);
        if !file.map(is_back).transpose()?.unwrap_or(false) {
            let until = gap.until.unwrap_or(gap.time);
            open.push(Gap { since: gap.since, until, found: Some(gap.time), detail: gap.detail.clone() });
        }
    }
    Ok(open)
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
