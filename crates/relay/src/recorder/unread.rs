//! Records whose messages cannot be read from the spool, so that their lines cannot be written at present.
//!
//! They are tried again until they can be: the fates of a message stay in order. Until then the journal owes lines, which closes intake and is
//! an alarm, as with a full disk.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use posthaste_delivery::ReadError;
use posthaste_journal::{Journal, Part, State};
use posthaste_queue::Seq;

use super::logged::UnloggedRecord;

/// How long to wait before the messages are read again.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// The records, in order.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    records: VecDeque<UnloggedRecord>,
    again: Option<Instant>,
}

impl Unread {
    /// Whether a record of this message waits: what is decided later goes behind it.
    pub(crate) fn holds(&self, seq: Seq) -> bool {
        self.records.iter().any(|owed| owed.record.seq == seq)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Puts a record aside.
    pub(crate) fn push(&mut self, owed: UnloggedRecord) {
        self.records.push_back(owed);
    }

    /// Its message cannot be read. Lines of a message that the spool no longer has can never be written: that is said once, and no more.
    pub(crate) fn put_aside(&mut self, owed: UnloggedRecord, why: &ReadError, journal: &Journal) {
        if matches!(why, ReadError::NoMessage) {
            return journal.say(Part::Spool, State::Alarm, format!("{}: {why}: the log does not hear how it ended", owed.record.id));
        }
        journal.owe(Some(format!(
            "the end of {} cannot be written down, because {why}. This is tried again; a restart leaves the message in the spool and goes on",
            owed.record.id
        )));
        self.push(owed);
    }

    /// How long the recorder may wait for a note; None: for as long as it takes.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        (!self.records.is_empty()).then(|| self.again.map_or(READ_AGAIN, |again| again.saturating_duration_since(now)))
    }

    /// The records that are to be tried again now. The caller puts back what still cannot be read.
    pub(crate) fn due(&mut self, now: Instant) -> VecDeque<UnloggedRecord> {
        if self.records.is_empty() {
            return VecDeque::new();
        }
        let again = *self.again.get_or_insert(now + READ_AGAIN);
        if now < again {
            return VecDeque::new();
        }
        self.again = None;
        std::mem::take(&mut self.records)
    }
}
