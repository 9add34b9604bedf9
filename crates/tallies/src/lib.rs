//! What the delivery log comes to: how many messages were accepted, delivered, deferred, bounced, …, by minute, hour and day, and by what they
//! are about.
//!
//! [`Delta`] folds lines of the log. [`Tallies`] keeps the sums in a database of the data folder, together with the place in the log up to which
//! they count, so that a restart goes on there, a crash counts no line twice, and the same log gives the same figures however often it was
//! interrupted. [`LogReader`] reads what the log has grown by.
//!
//! Level 2: of the workspace it may use `mail` and `monitor`. It has no clock: the newest line tells what time it is.
//!
//! Invariants:
//! - The sums and their place in the log change together, or not at all.
//! - A line counts in the minute and the day of its event, and once more in the day on which its message was accepted (its cohort).
//! - In each block (a span and a [`Dimension`]) the number of keys is bounded; what is beyond counts as [`OTHER`], and never gets lost.

mod block;
mod cell;
mod counter;
mod delta;
mod dimension;
mod encoding;
mod read;
mod seen;
mod store;
mod tallies;
mod times;

pub use block::{Block, OTHER};
pub use cell::Cell;
pub use counter::{ByClass, Count, Counter, Histogram};
pub use delta::Delta;
pub use dimension::{Dimension, PAIR, pair};
pub use encoding::Damaged;
pub use read::{LogReader, Progress, Skipped};
pub use seen::Seen;
pub use store::TalliesError;
pub use tallies::{Grain, Limits, Span, Tallies};
pub use times::{Time, Times};

#[cfg(test)]
mod tests;
