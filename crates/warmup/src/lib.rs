//! The warm-up as operators see it: the recount of lanes' days from the log, its comparison with the ledger, and the simulation of
//! scenarios. All of it but the reading of the log is pure: the governor decides, and time is an argument.

mod compare;
mod recount;
pub mod scenario;
pub mod simulate;

pub use compare::{Comparison, Difference, compare};
pub use recount::{Recount, recount};
