//! Questions to the dispatcher, and its answers: plain values, so that no caller ever holds the queue.

use jiff::Timestamp;
use posthaste_governor::warmup;
use posthaste_mail::Name;
use serde::{Deserialize, Serialize};

use super::{
    guarding::{GuardChange, GuardedRow},
    rows::{LaneHold, LaneRow, Messages, QueueCounts},
    selection::MessageSelection,
    waiting::WaitingRow,
    why::{SourceNow, WaitingRecipients},
};

/// A change that an operator makes to the queue.
// Its JSON is what `posthaste queue` sends over the admin socket, where these requests stand beside those to other parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum QueueChange {
    /// Make messages due now, and forget routes and hosts that were out of reach.
    Retry {
        /// Which.
        selection: MessageSelection,
        /// Those too that their senders want sent later.
        #[serde(default)]
        scheduled: bool,
        /// Who wants it, for the log.
        #[serde(default)]
        by: String,
    },
    /// Hold messages; attempts that are under way go on.
    Hold {
        /// Which.
        selection: MessageSelection,
        /// Why, for the log.
        reason: String,
    },
    /// Release held messages. What the guard holds is released with it by its id alone.
    Release {
        /// Which.
        selection: MessageSelection,
        /// Who wants it, for the log.
        by: String,
    },
    /// Remove messages. A recipient with an attempt under way is removed when that attempt fails.
    #[serde(rename = "drop")]
    Cancel {
        /// Which.
        selection: MessageSelection,
        /// Who wants it, for the log.
        by: String,
        /// Why, for the log.
        reason: String,
    },
}

/// A question, or a change that an operator wants.
#[derive(Clone, Debug)]
pub enum Question {
    /// The queue's table.
    Table,
    /// Messages of the queue, the oldest first.
    Messages {
        /// Which.
        selection: MessageSelection,
        /// How many at most.
        limit: usize,
    },
    /// Make an operator's change.
    Change(QueueChange),
    /// What the guard holds.
    Guarded,
    /// End what the guard holds.
    Guard(GuardChange),
    /// Which recipients wait and why, and the state of the lanes that could send to them.
    Why {
        /// Of which messages.
        selection: MessageSelection,
        /// How many at most.
        limit: usize,
        /// The lanes at this provider, if it is known.
        provider: Option<Name>,
        /// Of these sources.
        sources: Vec<Name>,
    },
    /// When the oldest message was accepted.
    Oldest,
    /// Show or change the warm-up.
    Warmup(warmup::WarmupQuestion),
    /// On an orderly stop, when no session is left: return the leased budget.
    ReturnLeases,
    /// Nothing: the answer says that all earlier questions are done.
    Sync,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Question::Table`].
    Table(QueueTable),
    /// To [`Question::Messages`].
    Messages(Messages),
    /// To [`Question::Change`] and [`Question::Guard`].
    Changed(Changed),
    /// To [`Question::Guarded`].
    Guarded(Vec<GuardedRow>),
    /// To [`Question::Why`].
    Why(Reasons),
    /// To [`Question::Oldest`]: None when the queue is empty.
    Oldest(Option<Timestamp>),
    /// To [`Question::Warmup`].
    Warmup(warmup::WarmupAnswer),
    /// To [`Question::ReturnLeases`] and [`Question::Sync`].
    Done,
}

/// What a change did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The messages that it changed.
    pub messages: usize,
    /// Of those that were to be tried now: why some are not, and what helps.
    pub not_sent: Vec<String>,
    /// How many were left alone by a retry because their senders want them sent later.
    pub scheduled: usize,
    /// How many were left alone by a release because the guard holds them.
    pub guarded: usize,
}

/// The queue in all, and by provider.
#[derive(Clone, Debug)]
pub struct QueueTable {
    /// The totals.
    pub counts: QueueCounts,
    /// By provider, the fullest first.
    pub lanes: Vec<LaneRow>,
    /// The lanes that may not send at present, at providers with mail in the queue.
    pub holds: Vec<LaneHold>,
    /// What waits, by provider and stream.
    pub waiting: Vec<WaitingRow>,
    /// Why deliveries are halted; None: they are not.
    pub halted: Option<String>,
}

/// Why mail waits.
#[derive(Clone, Debug)]
pub struct Reasons {
    /// The state of the lanes; those that never sent to the provider are left out.
    pub lanes: Vec<SourceNow>,
    /// The recipients that wait.
    pub waiting: WaitingRecipients,
    /// Why deliveries are halted; None: they are not.
    pub halted: Option<String>,
}
