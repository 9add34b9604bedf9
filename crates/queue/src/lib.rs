//! The queue: it decides which recipients are tried when, over which connection and within which budget.
//!
//! It is pure: it opens no socket, reads no file and asks no clock. It may know `mail`, `governor`, `bounce`, `feedback`, `route`, `smtp`
//! and `message`; it knows nothing of the spool, the log, the configuration file or the tasks around it. Its invariants: each recipient is in
//! exactly one place; nothing goes out without a permit where budgets bind; every decision about a recipient is returned as a record; a
//! void recipient group is skipped when its turn comes, and no queue is searched for it. The rest of the relay uses the queue through a
//! [`QueueHandle`].

mod backlog;
mod budget;
mod connections;
mod dispatcher;
mod exchange;
mod halt;
mod handle;
mod login_waits;
mod mail_of;
mod numbers;
mod operator;
mod policy;
mod site;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod times;
mod verdicts;
mod view;

#[cfg(test)]
mod tests;

pub use backlog::{
    streams::Party,
    table::{DomainIx, PutOff, Rcpt, Seq},
};
pub use connections::leaving_max;
pub use dispatcher::Dispatcher;
pub use exchange::{
    Action, Arrival, AttemptResult, ClockNews, Deadline, DeliveryJob, Elsewhere, Fate, FateRecord, Input, JobOutcome, Next, Offered,
    SessionId, Suppressed, Unroutable, Wait,
};
pub use handle::{Command, Gauge, QueueEnd, QueueHandle, Stopping};
pub use mail_of::{MailOf, NoMailOf};
pub use operator::{
    guarding::{GuardChange, GuardEnd, GuardedRow},
    question::{Answer, Changed, Question, QueueChange, QueueTable, Reasons},
    rows::{LaneHold, LaneRow, MessageRow, Messages, QueueCounts, RecipientRow, Tried},
    selection::MessageSelection,
    waiting::WaitingRow,
    waits::{Held, Standing},
    why::{LaneNow, SourceNow, StageNow, WaitingRecipient, WaitingRecipients},
};
pub use policy::{LaneLimits, Policy, PoolPolicy, Retry, SourceWarmup, StreamPolicy};
pub use site::{DnsTime, Site};
pub use verdicts::LOGIN_RULE;
