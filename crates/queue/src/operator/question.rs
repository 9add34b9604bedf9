//! Questions to the dispatcher, and its answers: plain values, so that whoever asks never holds the queue.

use jiff::Timestamp;
use posthaste_mail::Name;

use super::{
    rows::{Counts, LaneRow, Messages},
    selection::Selection,
    why::{SourceNow, WaitingRecipients},
};
use crate::warmup;

/// A question, or a change that an operator wants.
#[derive(Clone, Debug)]
pub enum Question {
    /// The queue's table.
    Table,
    /// Messages of the queue, the oldest first.
    Messages {
        /// Which.
        selection: Selection,
        /// How many at most.
        limit: usize,
    },
    /// Make due now, and forget what was thought of hosts.
    Retry {
        /// Which.
        selection: Selection,
    },
    /// Keep back; what a connection has in hand goes on.
    Hold {
        /// Which.
        selection: Selection,
        /// Why, for the log.
        reason: String,
    },
    /// Let go what was held.
    Release {
        /// Which.
        selection: Selection,
        /// Who wants it.
        by: String,
    },
    /// Remove. What a connection has in hand is removed when that attempt fails.
    Cancel {
        /// Which.
        selection: Selection,
        /// Who wants it.
        by: String,
        /// Why, for the log.
        reason: String,
    },
    /// Which recipients wait and why, and how lanes stand that could take them.
    Why {
        /// Whose recipients.
        selection: Selection,
        /// How many at most.
        limit: usize,
        /// The lanes at this provider, if it is known.
        provider: Option<Name>,
        /// Of these sources.
        sources: Vec<Name>,
    },
    /// When the oldest message was accepted.
    Oldest,
    /// Look at the warm-up, or steer it.
    Warmup(warmup::Ask),
    /// For a stop in good order, when no session is left: give back what the budgets' leases hold.
    ReturnLeases,
    /// Nothing: the answer says that everything asked before is done.
    Sync,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Question::Table`].
    Table(QueueTable),
    /// To [`Question::Messages`].
    Messages(Messages),
    /// To a change: how many messages it touched.
    Changed(usize),
    /// To [`Question::Why`].
    Why(Reasons),
    /// To [`Question::Oldest`]: None when the queue is empty.
    Oldest(Option<Timestamp>),
    /// To [`Question::Warmup`].
    Warmup(warmup::Answer),
    /// To [`Question::ReturnLeases`] and [`Question::Sync`].
    Done,
}

/// The queue in all, and by provider.
#[derive(Clone, Debug)]
pub struct QueueTable {
    /// In all.
    pub counts: Counts,
    /// By provider, the fullest first.
    pub lanes: Vec<LaneRow>,
}

/// Why mail waits.
#[derive(Clone, Debug)]
pub struct Reasons {
    /// How the lanes stand; those that never sent to the provider are left out.
    pub lanes: Vec<SourceNow>,
    /// The recipients that wait.
    pub waiting: WaitingRecipients,
}
