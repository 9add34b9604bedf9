//! Counters of returned mail, which are the only trace of reports that match nothing.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use posthaste_bounce::Kind;

use crate::found::Return;

/// Counts since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Sums>);

/// The number of mails, and of returns by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    mails: u64,
    words: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Counts a mail that was read.
    pub(super) fn mail(&self) {
        self.lock().mails += 1;
    }

    /// Counts a return by its word.
    pub(super) fn count(&self, word: &'static str) {
        *self.lock().words.entry(word).or_default() += 1;
    }

    /// Takes the sums since the last call; None if they are all zero.
    pub(super) fn take(&self) -> Option<Sums> {
        let sums = std::mem::take(&mut *self.lock());
        (sums != Sums::default()).then_some(sums)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word under which a return is counted the first time.
pub(super) fn word(found: &Return) -> &'static str {
    match found {
        Return::LateBounce(_) => "late_bounced",
        Return::Complaint(_) => "complained",
        Return::Unsubscribe(_) => "unsubscribed",
        Return::Delayed(_) => "delayed",
        Return::Aside(Kind::AutoReply, _) => "auto_reply",
        Return::Unmatched { why, .. } => why.as_str(),
        Return::Aside(..) => "no_report",
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mails {}", self.mails)?;
        self.words.iter().try_for_each(|(word, n)| write!(f, ", {word} {n}"))
    }
}
