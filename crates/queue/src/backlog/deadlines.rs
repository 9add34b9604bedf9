//! By when senders want messages delivered (RFC 2852): at that moment a message is given up, or its sender is told and it is tried on.
//!
//! Few messages have such a time, so it stands beside the table of what is owed: the others pay nothing for it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_mail::{Class, Failure, LocalCause, Stage};

use crate::{
    Dispatcher, Fate, Next, Said,
    backlog::{
        settle::of_our_own,
        table::{Phase, Rcpt, Seq},
    },
};

/// Milliseconds before a message is given up at which it is tried once more, where its schedule would not.
const LAST_CHANCE: i64 = 30_000;

/// By when a message is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Timestamp,
    /// Whether it is given up then; else its sender is told.
    pub returns: bool,
}

/// The messages whose senders gave a time.
#[derive(Default)]
pub(crate) struct Deadlines {
    by: HashMap<Seq, Watched>,
    /// Those whose time is to come, with that time. A story that ends leaves nothing here: times may be years away.
    due: BTreeSet<(i64, Seq)>,
}

struct Watched {
    /// Milliseconds since 1970.
    at: i64,
    returns: bool,
    /// The sender has been told that it is late.
    told: bool,
}

impl Deadlines {
    /// `told`: the sender has heard that this message is late.
    pub(crate) fn watch(&mut self, seq: Seq, by: Deadline, told: bool) {
        // Rounded up: at that millisecond it is over, whoever looks.
        let at = by.at.as_millisecond() + i64::from(by.at.subsec_nanosecond() % 1_000_000 != 0);
        self.by.insert(seq, Watched { at, returns: by.returns, told });
        if !told {
            self.due.insert((at, seq));
        }
    }

    /// The message's story is over.
    pub(crate) fn forget(&mut self, seq: Seq) {
        if self.by.is_empty() {
            return;
        }
        if let Some(watched) = self.by.remove(&seq) {
            self.due.remove(&(watched.at, seq));
        }
    }

    /// When it is given up, `expires` being when it is too old; both in milliseconds.
    pub(crate) fn expires(&self, seq: Seq, expires: i64) -> i64 {
        self.returned_at(seq).map_or(expires, |at| at.min(expires))
    }

    /// When it is tried for the last time, `expires` being when it is given up: at that moment, so that what ends it is fresh; but nothing is
    /// handed over at a moment by which it was to be delivered.
    pub(crate) fn last_attempt(&self, seq: Seq, expires: i64, now: i64) -> i64 {
        let chance = expires - LAST_CHANCE;
        if self.returned_at(seq) == Some(expires) && chance > now + LAST_CHANCE { chance } else { expires }
    }

    /// Whether the sender has been told that it is late.
    pub(crate) fn is_told(&self, seq: Seq) -> bool {
        self.by.get(&seq).is_some_and(|deadline| deadline.told)
    }

    /// When the next message's time is over, milliseconds since 1970.
    pub(crate) fn next(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    fn returned_at(&self, seq: Seq) -> Option<i64> {
        if self.by.is_empty() {
            return None;
        }
        self.by.get(&seq).filter(|deadline| deadline.returns).map(|deadline| deadline.at)
    }
}

impl Dispatcher {
    /// Deals with the messages whose time is over.
    pub(crate) fn look_at_deadlines(&mut self) {
        let now = self.now.as_millisecond();
        while let Some((at, seq)) = self.deadlines.due.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.due.remove(&(at, seq));
            self.is_over(seq);
        }
    }

    fn is_over(&mut self, seq: Seq) {
        let (Some(deadline), Some(owed)) = (self.deadlines.by.get_mut(&seq), self.table.get(seq)) else { return };
        let (id, warm) = (owed.id, owed.warm.clone());
        let states = (0..).zip(owed.recipients());
        let fate = |rcpt: Rcpt, attempts: u16, said: Option<Said>, next: Next| Fate {
            rcpt,
            attempt: u32::from(attempts),
            said,
            next,
            was_due: Timestamp::UNIX_EPOCH,
        };
        let fates: Vec<Fate> = if deadline.returns {
            let (failure, verdict) = too_late();
            let said = || Some(Said::Failed(failure.clone(), verdict.clone()));
            // What a connection has in hand ends with that attempt.
            let waiting = states.filter(|(_, s)| matches!(s.phase, Phase::Waiting | Phase::Held));
            waiting.map(|(rcpt, s)| fate(rcpt, s.attempts, said(), Next::Expired)).collect()
        } else {
            deadline.told = true;
            let owed = states.filter(|(_, s)| s.phase != Phase::Ended);
            owed.map(|(rcpt, s)| fate(rcpt, s.attempts, None, Next::Late)).collect()
        };
        if fates.is_empty() {
            return;
        }
        for fate in fates.iter().filter(|fate| fate.next == Next::Expired) {
            self.end(seq, fate.rcpt);
        }
        self.record(seq, id, warm, Arc::default(), fates, self.now);
    }
}

fn too_late() -> (Failure, Verdict) {
    let detail = "not delivered within the time that its sender gave it".to_owned();
    let failure = Failure::Local { stage: Stage::Mail, cause: LocalCause::TooLate, detail };
    let verdict = of_our_own(Class::TransientOther, "deliver_by", "its sender wanted it delivered by then or not at all");
    (failure, verdict)
}
