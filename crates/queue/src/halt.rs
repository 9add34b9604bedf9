//! No delivery whose ending cannot be written down: whatever is delivered and not in the log is delivered again after a crash.
//!
//! The dispatcher counts the results of attempts that it handed out to be recorded, until it is told that they are durable; not those by
//! which an attempt that offered nothing to anybody is put off, because nothing of that can be done twice. While too many
//! are not, or the log or the spool is known to fail, it gives out no jobs and decides about nobody: what is due stays where it is, sessions
//! stay open, and attempts under way end as they do. A crash can then double what was in flight and what the limit allows, and no more.
//!
//! Endings of mail that was offered to nobody, because its domain has no hosts for example, halt no deliveries. Each party has a share of as many
//! again for them ([`Endings`]), and what else it has to end waits: one sender's dead names delay nobody else's mail.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::backlog::{
    streams::Party,
    table::{DomainIx, RecipientGroup},
};

/// Whether deliveries are halted.
#[derive(Default)]
pub(crate) struct Halt {
    /// Results of attempts that are not durable in the log.
    unlogged: usize,
    /// There were too many of them, and less than half of them are durable.
    behind: bool,
    /// Why the log or the spool cannot be written.
    pub(crate) trouble: Option<Arc<str>>,
    /// Endings of mail that was offered to nobody.
    pub(crate) endings: Endings,
}

/// Endings of mail that was offered to nobody and that are not durable in the log, and the mail that waits until there is room for more.
#[derive(Default)]
pub(crate) struct Endings {
    parties: BTreeMap<Party, usize>,
    all: usize,
    waiting: BTreeMap<Party, VecDeque<(DomainIx, RecipientGroup)>>,
}

impl Halt {
    /// Why deliveries are halted; None: they are not.
    pub(crate) fn why(&self) -> Option<String> {
        match &self.trouble {
            Some(why) => Some(format!("no mail is sent, because its fate could not be written down: {why}")),
            None => self.behind.then(|| format!("no mail is sent until the log is up to date: {} results are not on disk", self.unlogged)),
        }
    }

    /// Whether deliveries are halted.
    pub(crate) fn is_halted(&self) -> bool {
        self.behind || self.trouble.is_some()
    }

    /// Results of attempts were handed out to be recorded.
    pub(crate) fn recorded(&mut self, n: usize, max: usize) {
        self.unlogged += n;
        self.behind |= self.unlogged >= max;
    }

    /// Results became durable.
    pub(crate) fn logged(&mut self, n: usize, max: usize) {
        self.unlogged = self.unlogged.saturating_sub(n);
        // Not before there is room for a while: each halt costs the time of a look at the log.
        self.behind &= self.unlogged > max / 2;
    }
}

impl Endings {
    /// Whether a party may end more: it has less than what is left of `max` for others.
    pub(crate) fn has_room(&self, party: Party, max: usize) -> bool {
        self.of(party) < max.saturating_sub(self.all)
    }

    /// Endings of a party were handed out to be recorded.
    pub(crate) fn recorded(&mut self, party: Party, n: usize) {
        if n > 0 {
            *self.parties.entry(party).or_default() += n;
            self.all += n;
        }
    }

    /// They became durable.
    pub(crate) fn logged(&mut self, party: Party, n: usize) {
        let Some(own) = self.parties.get_mut(&party) else { return };
        let n = n.min(*own);
        *own -= n;
        self.all -= n;
        if *own == 0 {
            self.parties.remove(&party);
        }
    }

    /// A group that has to end waits for room.
    pub(crate) fn wait(&mut self, party: Party, domain: DomainIx, group: RecipientGroup) {
        self.waiting.entry(party).or_default().push_back((domain, group));
    }

    /// The next group that has waited for room, if there is some: one of the party that has the fewest endings under way.
    pub(crate) fn next(&mut self, max: usize) -> Option<(DomainIx, RecipientGroup)> {
        let party = *self.waiting.keys().min_by_key(|party| self.of(**party))?;
        if !self.has_room(party, max) {
            return None;
        }
        let groups = self.waiting.get_mut(&party)?;
        let next = groups.pop_front();
        if groups.is_empty() {
            self.waiting.remove(&party);
        }
        next
    }

    /// Whether mail waits for room.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn of(&self, party: Party) -> usize {
        self.parties.get(&party).copied().unwrap_or(0)
    }
}
