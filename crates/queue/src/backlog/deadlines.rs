//! The times by which senders want messages delivered (RFC 2852). At that time a message is returned, or its sender is told that it is late
//! and delivery goes on.
//!
//! Few messages have such a deadline, so it is kept beside the table and costs the others nothing.

use std::collections::{BTreeSet, HashMap};

use super::table::Seq;
use crate::exchange::Deadline;

/// The last attempt is made this many milliseconds before a message is returned, if its schedule has none then, but not before three quarters
/// of its time are over.
const LAST_CHANCE: i64 = 30_000;

/// A last attempt that would have less time than this has no use: receivers are given whole seconds, and at least one.
const SHORTEST_CHANCE: i64 = 2_000;

/// The messages with a deadline.
#[derive(Default)]
pub(crate) struct Deadlines {
    by: HashMap<Seq, Watched>,
    /// Deadlines that have not passed. Removed when the message ends, because they may be years away.
    due: BTreeSet<(i64, Seq)>,
}

struct Watched {
    /// Milliseconds since 1970.
    at: i64,
    /// How long before that the last attempt is made, in milliseconds.
    chance: i64,
    returns: bool,
    /// The sender has been told that it is late.
    told: bool,
}

impl Deadlines {
    /// Keeps the deadline of a message that arrived at this time (milliseconds since 1970). `told`: the sender has been told that this message
    /// is late.
    pub(crate) fn watch(&mut self, seq: Seq, arrived: i64, by: Deadline, told: bool) {
        // Rounded up, so that the deadline has passed at that millisecond, also when nanoseconds count.
        let at = by.at.as_millisecond() + i64::from(by.at.subsec_nanosecond() % 1_000_000 != 0);
        let chance = Some(((at - arrived) / 4).min(LAST_CHANCE)).filter(|chance| *chance >= SHORTEST_CHANCE).unwrap_or_default();
        self.by.insert(seq, Watched { at, chance, returns: by.returns, told });
        if !told {
            self.due.insert((at, seq));
        }
    }

    /// The message has ended.
    pub(crate) fn forget(&mut self, seq: Seq) {
        if self.by.is_empty() {
            return;
        }
        if let Some(watched) = self.by.remove(&seq) {
            self.due.remove(&(watched.at, seq));
        }
    }

    /// When the message is given up, in milliseconds since 1970; `expires` is when it is too old for its stream.
    pub(crate) fn expires(&self, seq: Seq, expires: i64) -> i64 {
        self.returned_at(seq).map_or(expires, |at| at.min(expires))
    }

    /// When the message is tried for the last time; `expires` is when it is given up. The last attempt is made at that moment, so that the
    /// reply it ends with is fresh. If the sender gave the time, the last attempt is made earlier, because nothing may be delivered then.
    pub(crate) fn last_attempt(&self, seq: Seq, expires: i64, now: i64) -> i64 {
        let chance = self.chance(seq, expires);
        if expires - chance > now + chance { expires - chance } else { expires }
    }

    /// Whether an attempt that began at `begun` and has failed by `now` was a message's last one; `expires` is when it is given up. An
    /// attempt that began before the last one was due, and ends after it (because it took long, or the clock was set), is followed by
    /// another, unless nothing may be delivered any more.
    pub(crate) fn is_over(&self, seq: Seq, expires: i64, begun: i64, now: i64) -> bool {
        now >= expires && (begun >= expires || self.returned_at(seq) == Some(expires))
    }

    /// Whether the time has passed by which the sender wants the message back.
    pub(crate) fn is_returned(&self, seq: Seq, now: i64) -> bool {
        self.returned_at(seq).is_some_and(|at| at <= now)
    }

    /// From when on a message that is due is tried even if its hosts were just out of reach, because it may be the last time; `expires` is
    /// when it is given up.
    pub(crate) fn last_chance(&self, seq: Seq, expires: i64) -> i64 {
        expires - self.chance(seq, expires)
    }

    /// Whether the sender has been told that the message is late.
    pub(crate) fn is_told(&self, seq: Seq) -> bool {
        self.by.get(&seq).is_some_and(|deadline| deadline.told)
    }

    /// When the next deadline passes, in milliseconds since 1970.
    pub(crate) fn next(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes out a message whose deadline has passed, with whether it is to be returned. If it is not, its sender counts as told from now
    /// on.
    pub(crate) fn take_over(&mut self, now: i64) -> Option<(Seq, bool)> {
        let (at, seq) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, seq));
        let watched = self.by.get_mut(&seq).expect("what is due is watched");
        watched.told |= !watched.returns;
        Some((seq, watched.returns))
    }

    /// How long before it is given up a message has its last attempt: only if its sender gave the time is that not the same moment.
    fn chance(&self, seq: Seq, expires: i64) -> i64 {
        self.by.get(&seq).filter(|deadline| deadline.returns && deadline.at == expires).map_or(0, |deadline| deadline.chance)
    }

    fn returned_at(&self, seq: Seq) -> Option<i64> {
        if self.by.is_empty() {
            return None;
        }
        self.by.get(&seq).filter(|deadline| deadline.returns).map(|deadline| deadline.at)
    }
}
