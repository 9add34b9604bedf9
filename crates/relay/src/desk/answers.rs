//! What the running relay answers.

use posthaste_guard::Shown;
use posthaste_journal::StandingNow;
use posthaste_monitor::Audit;
use posthaste_queue::{LaneHold, LaneRow, MessageRow, QueueCounts};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::why::Told;

/// The answer to `Queue`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Totals.
    pub counts: QueueCounts,
    /// By provider.
    pub lanes: Vec<LaneRow>,
    /// Why no mail is accepted at present.
    pub closed: Option<String>,
    /// Why deliveries are halted at present.
    #[serde(default)]
    pub halted: Option<String>,
    /// Why no receiver can be reached, if that is so.
    #[serde(default)]
    pub blocked: Option<String>,
    /// The lanes that may not send at present.
    #[serde(default)]
    pub holds: Vec<LaneHold>,
    /// Whose new mail the guard holds.
    #[serde(default)]
    pub guarded: Vec<Shown>,
    /// What sessions are doing that have been at it for a while.
    #[serde(default)]
    pub slow: Vec<String>,
    /// The alarms that stand.
    #[serde(flatten, default)]
    pub standing: StandingNow,
}

/// The answer to `List`.
#[derive(Debug, Serialize, Deserialize)]
pub struct List {
    /// The number of matching messages.
    pub total: usize,
    /// The first of them.
    pub messages: Vec<Listed>,
}

/// A message with its addresses.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The message's row in the queue.
    #[serde(flatten)]
    pub row: MessageRow,
    /// The reverse-path.
    pub from: String,
    /// The addresses of the recipients still to be delivered, in the row's order.
    pub addresses: Vec<String>,
    /// The last answer to each of them, in the same order; None: there was none yet.
    #[serde(default)]
    pub answers: Vec<Option<Told>>,
}

/// The answer to a change.
#[derive(Debug, Serialize, Deserialize)]
pub struct Changed {
    /// The number of changed messages.
    pub messages: usize,
    /// Of those that were to be tried now: why some are not, and what helps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_sent: Vec<String>,
    /// Messages that a retry left alone because their senders want them sent later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scheduled: usize,
    /// Messages that a release left alone because the guard holds them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub guarded: usize,
}

/// The answer to `Audit`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Audited {
    /// accepted = ended + queued.
    pub balanced: bool,
    /// The figures, for people.
    pub text: String,
    /// The figures and what was found, for programs.
    #[serde(default)]
    pub figures: Value,
}

impl Audited {
    /// The answer that tells of this audit.
    pub fn of(audit: &Audit) -> Self {
        let figures = serde_json::to_value(audit).expect("an audit has nothing that JSON can't hold");
        Self { balanced: audit.balanced(), text: audit.to_string(), figures }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
