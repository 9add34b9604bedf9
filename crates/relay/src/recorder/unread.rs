//! Records whose messages cannot be read from the spool because the disk fails, so that their lines cannot be written at present.
//!
//! They are tried again for a while: the fates of a message stay in order. Meanwhile the journal owes lines, which closes intake and is an alarm,
//! as with a full disk. A message that stays unreadable, or whose bytes are not those that were stored, is no reason to wait: it is the only one
//! that is hurt, and what becomes of it is written down from what the log knows of it.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use posthaste_delivery::ReadError;
use posthaste_journal::Journal;
use posthaste_queue::Seq;

use super::logged::UnloggedRecord;

/// How long to wait before the messages are read again.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// For how long they are read again: long enough for a disk that is busy or is reset.
const PATIENCE: Duration = Duration::from_secs(10);

/// The records, in order.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    records: VecDeque<UnloggedRecord>,
    again: Option<Instant>,
    /// Since when there are any.
    since: Option<Instant>,
    /// Messages that an alarm was said about.
    said: HashSet<Seq>,
}

/// So many messages are remembered that an alarm was said about.
const SAID_MAX: usize = 10_000;

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

    /// Whether a message that could not be read may be readable soon.
    pub(crate) fn is_worth_waiting(&self, why: &ReadError, now: Instant) -> bool {
        let is_the_disk = matches!(why, ReadError::Record(posthaste_spool::ReadError::Io { .. }));
        is_the_disk && self.since.is_none_or(|since| now < since + PATIENCE)
    }

    /// Puts a record aside whose message cannot be read at `now`, and has the journal say so.
    pub(crate) fn put_aside(&mut self, owed: UnloggedRecord, why: &ReadError, journal: &Journal, now: Instant) {
        journal.owe(Some(format!("the end of {} cannot be written down, because {why}. This is tried again", owed.record.id)));
        self.since.get_or_insert(now);
        self.push(owed);
    }

    /// Whether nothing has been said yet about this message, which stays unreadable.
    pub(crate) fn is_news(&mut self, seq: Seq) -> bool {
        if self.said.len() >= SAID_MAX {
            self.said.clear();
        }
        self.said.insert(seq)
    }

    /// How long the recorder may wait for a note; None: for as long as it takes.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        (!self.records.is_empty()).then(|| self.again.map_or(READ_AGAIN, |again| again.saturating_duration_since(now)))
    }

    /// The records that are to be tried again now. The caller puts back what still cannot be read, and then calls [`Self::tried`].
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

    /// What was due has been tried again: if none is left, the journal owes nothing any more.
    pub(crate) fn tried(&mut self, journal: &Journal) {
        if self.is_empty() {
            self.since = None;
            journal.owe(None);
        }
    }
}
