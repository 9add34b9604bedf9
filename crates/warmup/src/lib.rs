//! The warm-up as the relay and its operators see it. All of it is pure: the governor decides, and time is an argument.

mod compare;
mod recount;
pub mod scenario;
pub mod simulate;

pub use compare::{Comparison, Difference, compare};
pub use recount::{Recount, recount};
