//! Deliveries are halted while their results could not be written down.

use std::sync::Arc;

use super::Dispatcher;
use crate::{
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

    /// Results of attempts became durable in the log.
    pub(super) fn logged(&mut self, n: usize) {
        self.change_halt(|halt, max| halt.logged(n, max));
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

    /// Records the results of attempts that offered nothing to anybody: no hosts, no connection. What such an attempt only puts off, nobody
    /// gets twice after a crash, so it counts for nothing, and thousands of dead names of one stream halt no others.
    pub(super) fn record_not_offered(&mut self, mut record: FateRecord) {
        record.results = record.fates.iter().filter(|fate| !matches!(fate.next, Next::Deferred(_))).count();
        self.halt.recorded(record.results, self.policy.unlogged_max);
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
