//! The queue: who is tried when, over which connection, within which budget. Pure: it opens no socket, reads no file and asks no clock.

mod backlog;
mod budget;
mod connections;
mod dispatcher;
mod exchange;
pub mod feedback;
mod handle;
pub mod lane_event;
mod operator;
pub mod outcome;
mod policy;
mod question;
mod site;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod warmup;

#[cfg(test)]
mod tests;

pub use backlog::{
    deadlines::Deadline,
    domains::Unroutable,
    table::{DomainIx, Rcpt, Seq},
};
pub use budget::block::Wait;
pub use connections::lanes::SessionId;
pub use dispatcher::Dispatcher;
pub use exchange::{Action, Arrival, Fate, Input, Load, Next, Outcome, Record, Said, Suppressed};
pub use handle::{Command, Gauge, QueueEnd, QueueHandle, Stopping};
pub use operator::{
    steer::{Counts, LaneRow, MessageRow, Selection},
    why::{Held, LaneNow, StageNow, Waits},
};
pub use policy::{Limits, Policy, PoolPolicy, Retry, StreamPolicy, Warmup};
pub use question::{Change, Overview, Page, Question, Reply, Waiting};
pub use site::{DnsTime, Way};
