//! The queue: who is tried when, over which connection, within which budget.
//!
//! Pure: it opens no socket, reads no file and asks no clock. It may know `mail`, `governor`, `bounce`, `feedback`, `route`, `smtp` and `message`; it knows nothing
//! of the spool, the log, the configuration's text or the tasks around it. What it keeps: a recipient is in exactly one place; nothing goes out
//! without a permit where budgets bind; every decision about a recipient comes out as a record; a void group is skipped when its turn comes, never
//! searched for. The rest of the relay speaks to it through a [`QueueHandle`].

mod backlog;
mod budget;
mod connections;
mod dispatcher;
mod exchange;
mod handle;
pub mod lane_event;
mod numbers;
mod operator;
pub mod outcome;
mod policy;
mod site;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod times;
mod verdicts;
mod view;
pub mod warmup;

#[cfg(test)]
mod tests;

pub use backlog::table::{DomainIx, Rcpt, Seq};
pub use dispatcher::Dispatcher;
pub use exchange::{
    Action, Arrival, AttemptResult, Deadline, DeliveryJob, Fate, FateRecord, Input, Next, Outcome, SessionId, Suppressed, Unroutable, Wait,
};
pub use handle::{Command, Gauge, QueueEnd, QueueHandle, Stopping};
pub use operator::{
    question::{Answer, Question, QueueTable, Reasons},
    rows::{Counts, LaneRow, MessageRow, Messages, RecipientRow},
    selection::Selection,
    why::{Held, LaneNow, SourceNow, StageNow, WaitingRecipient, WaitingRecipients},
};
pub use policy::{LaneLimits, Policy, PoolPolicy, Retry, SourceWarmup, StreamPolicy};
pub use site::{DnsTime, Site};
