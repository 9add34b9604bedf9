//! No delivery whose ending cannot be written down: whatever is delivered and not in the log is delivered again after a crash.
//!
//! The dispatcher counts the results of attempts that it handed out to be recorded, until it is told that they are durable; not those by
//! which an attempt that offered nothing to anybody is put off, because nothing of that can be done twice. While too many
//! are not, or the log or the spool is known to fail, it gives out no jobs and decides about nobody: what is due stays where it is, sessions
//! stay open, and attempts under way end as they do. A crash can then double what was in flight and what the limit allows, and no more.

use std::sync::Arc;

/// Whether deliveries are halted.
#[derive(Default)]
pub(crate) struct Halt {
    /// Results of attempts that are not durable in the log.
    unlogged: usize,
    /// There were too many of them, and less than half of them are durable.
    behind: bool,
    /// Why the log or the spool cannot be written.
    pub(crate) trouble: Option<Arc<str>>,
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
