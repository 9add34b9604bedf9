//! Ready mail and the connections that carry it: lanes, their ready queues, and sessions.
//!
//! This part knows nothing of budgets and of recipients' fates. It says which queue's turn it is and over which session a job goes.

mod giving_way;
pub(crate) mod lanes;
mod sessions;
mod shares;
pub(crate) mod stalling;
mod trials;

pub use self::giving_way::leaving_max;
pub(crate) use self::sessions::Connections;
