//! Deliveries are halted while their results could not be written down.

use std::sync::Arc;

use super::Dispatcher;
use crate::{
    backlog::{streams::Party, table::Seq},
    exchange::{FateRecord, Next},
    halt::Halt,
};

impl Dispatcher {
    /// Why deliveries are halted; None: they are not.
    pub fn halted(&self) -> Option<String> {
        self.halt.why()
    }

    /// Whether deliveries are halted.
    pub fn is_halted(&self) -> bool {
        self.halt.is_halted()
    }

    /// Whether something waits for results to become durable.
    pub fn awaits_the_log(&self) -> bool {
        self.halt.is_halted() || self.halt.endings.has_waiting()
    }

    /// Results of attempts became durable in the log, or endings of this party's mail that was offered to nobody.
    pub(super) fn logged(&mut self, of: Option<Party>, n: usize) {
        let Some(party) = of else { return self.change_halt(|halt, max| halt.logged(n, max)) };
        self.halt.endings.logged(party, n);
        while let Some((domain, group)) = self.halt.endings.next(self.policy.unlogged_max) {
            self.place(domain, group);
        }
    }

    /// Whose mail a message is.
    pub(super) fn party_of(&self, seq: Seq) -> Party {
        self.backlog.stream_of(seq).map(|stream| self.backlog.streams().party(stream)).unwrap_or_default()
    }

    /// The log or the spool cannot be written, for this reason; None: both can.
    pub(super) fn trouble(&mut self, why: Option<Arc<str>>) {
        self.change_halt(|halt, _| halt.trouble = why);
    }

    /// Records the results of attempts. They count until they are durable.
    pub(super) fn record_results(&mut self, mut record: FateRecord) {
        record.results = record.fates.len();
        self.halt.recorded(record.results, self.policy.unlogged_max);
        self.record(record);
    }

    /// Records the results of attempts that offered nothing of this party's to anybody: no hosts, no connection. Nobody gets that twice after a
    /// crash, so it halts no deliveries. What is put off counts for nothing; what ends, for the party.
    pub(super) fn record_not_offered(&mut self, party: Party, mut record: FateRecord) {
        record.results = record.fates.iter().filter(|fate| !matches!(fate.next, Next::Deferred(_))).count();
        record.unoffered = Some(party);
        self.halt.endings.recorded(party, record.results);
        self.record(record);
    }

    fn change_halt(&mut self, change: impl FnOnce(&mut Halt, usize)) {
        let before = self.halt.is_halted();
        change(&mut self.halt, self.policy.unlogged_max);
        if before && !self.halt.is_halted() {
            self.to_pump.extend(self.connections.lanes().iter().map(|(lane, _)| lane));
        }
    }
}
