//! By when senders want messages delivered (RFC 2852): at that time a message is returned, or its sender is told that it is late and it is
//! tried on.
//!
//! Few messages have such a time, so it is kept beside the table: the others pay nothing for it.

use std::collections::{BTreeSet, HashMap};

use super::table::Seq;
use crate::exchange::Deadline;

/// Milliseconds before a message is returned at which it is tried once more, where its schedule would not.
const LAST_CHANCE: i64 = 30_000;

/// The messages whose senders gave a time.
#[derive(Default)]
pub(crate) struct Deadlines {
    by: HashMap<Seq, Watched>,
    /// Those whose time is to come, with that time. A message that ends leaves nothing here: times may be years away.
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
    /// `told`: the sender has been told that this message is late.
    pub(crate) fn watch(&mut self, seq: Seq, by: Deadline, told: bool) {
        // Rounded up: at that millisecond it is over, whoever looks.
        let at = by.at.as_millisecond() + i64::from(by.at.subsec_nanosecond() % 1_000_000 != 0);
        self.by.insert(seq, Watched { at, returns: by.returns, told });
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

    /// When the message is given up, in milliseconds; `expires` is when it is too old for its stream.
    pub(crate) fn expires(&self, seq: Seq, expires: i64) -> i64 {
        self.returned_at(seq).map_or(expires, |at| at.min(expires))
    }

    /// When the message is tried for the last time; `expires` is when it is given up. It is tried at that moment, so that the reply it ends
    /// with is fresh; but where its sender gave the time, nothing is handed over at the moment by which it was to be delivered.
    pub(crate) fn last_attempt(&self, seq: Seq, expires: i64, now: i64) -> i64 {
        let chance = expires - LAST_CHANCE;
        if self.returned_at(seq) == Some(expires) && chance > now + LAST_CHANCE { chance } else { expires }
    }

    /// Whether the sender has been told that the message is late.
    pub(crate) fn is_told(&self, seq: Seq) -> bool {
        self.by.get(&seq).is_some_and(|deadline| deadline.told)
    }

    /// When the next message's time is over, in milliseconds since 1970.
    pub(crate) fn next(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes out a message whose time is over, and says whether it is to be returned. Where it is not, its sender counts as told from now
    /// on.
    pub(crate) fn take_over(&mut self, now: i64) -> Option<(Seq, bool)> {
        let (at, seq) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, seq));
        let watched = self.by.get_mut(&seq).expect("what is due is watched");
        watched.told |= !watched.returns;
        Some((seq, watched.returns))
    }

    fn returned_at(&self, seq: Seq) -> Option<i64> {
        if self.by.is_empty() {
            return None;
        }
        self.by.get(&seq).filter(|deadline| deadline.returns).map(|deadline| deadline.at)
    }
}
