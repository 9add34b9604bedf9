//! The warm-up as operators see it: the events of its lanes, the recount of lanes' days from the log, its comparison with the ledger, and the simulation of
//! scenarios.
//!
//! It may know `mail`, `governor`, `bounce`, `feedback`, `monitor` and `queue`. All of it but the reading of the log is pure, and time is an argument. Its
//! invariants: it has no warm-up rules of its own, so the recount judges each attempt as the dispatcher does (`feedback::outcome`), and a
//! simulation runs the real dispatcher and governor.

mod compare;
mod lane_event;
mod recount;
pub mod scenario;
pub mod simulate;

pub use compare::{Comparison, Difference, compare};
pub use lane_event::lane_facts;
pub use recount::{Recount, recount};
