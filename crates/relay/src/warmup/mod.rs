//! The warm-up as the relay and its operators see it. All of it is pure: the governor decides, and time is an argument.

mod outcome;
mod recount;
pub mod scenario;

pub use outcome::{Ending, outcome};
pub use recount::{Recount, recount};
