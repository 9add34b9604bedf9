//! The warm-up as the relay and its operators see it. All of it is pure: the governor decides, and time is an argument.

mod ask;
mod compare;
mod outcome;
mod recount;
pub mod scenario;
pub mod simulate;
mod status;
pub mod words;

pub use ask::{Answer, Ask, CountedDay, LaneDays, Steering, perform};
pub use compare::{Comparison, Difference, compare};
pub use outcome::{Ending, outcome};
pub use recount::{Recount, recount};
pub use status::{DayStatus, Health, LaneStatus, LastDay, Rate, rows};
