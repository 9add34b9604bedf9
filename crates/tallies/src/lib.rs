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
//! - In each block (a span and a [`Dimension`]) the number of keys is bounded ([`Limits::keys`]); what is beyond counts as [`OTHER`], and never
//!   gets lost: the sums of a block are exact. What the configuration names ([`Kept`]) always has a cell of its own, which is exact. All else has
//!   one if it is among the largest: while an hour is open its minutes hold `OPEN` times as many keys, so that its largest are found among
//!   them when it closes, `GRACE` after its end. An hour's and a minute's own cells are exact as long as no minute has more keys than that.
//!   A day is the sum of its hours: a key is short by what it had in hours in which it was not among the largest. The same goes for cohorts, of
//!   which the whole day is open, and four times as many keys stay.
//! - The same log gives the same cells, whatever pieces it was counted in, if its lines are out of order by less than `GRACE`; and with any
//!   order it gives the same sums.

mod block;
mod cell;
mod cells;
mod counter;
mod cover;
mod delta;
mod dimension;
mod encoding;
mod kept;
mod read;
mod seen;
mod span;
mod store;
mod sums;
mod tallies;
mod times;

pub use block::{Block, OTHER};
pub use cell::Cell;
pub use counter::{ByClass, Count, Counter, Histogram};
pub use delta::Delta;
pub use dimension::{Dimension, PAIR, pair};
pub use encoding::Damaged;
pub use kept::{Kept, Limits};
pub use read::{LogReader, Progress, Skipped};
pub use seen::Seen;
pub use span::{Grain, Span};
pub use store::TalliesError;
pub use tallies::Tallies;
pub use times::{Time, Times};

#[cfg(test)]
mod tests;
