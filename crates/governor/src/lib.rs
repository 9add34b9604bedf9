//! The rate governor: how many recipients each sending address may send to each provider today, and when. It runs IP warm-up.
//!
//! A *lane* is a source (a sending address) at a provider (the operator of the recipients' mailboxes). It climbs a [`Curve`] of
//! daily caps: one stage up after a day that used its cap in good health, one stage down after a bad day, and no change after any
//! other day. A [`Pace`] spreads the day's cap over the day. [`Governor::admit`] grants [`Permit`]s or says when the next one is
//! due; [`Governor::settle`] takes them back with the outcome.
//!
//! The crate uses no other crate of the workspace and does no I/O. It has no clock, no disk and no tasks: every call takes the
//! time, and the caller stores the [`Batch`]es that [`Governor::take_batch`] returns and gives them back at the next start with
//! [`Governor::apply_entry`].
//!
//! It keeps these invariants:
//!
//! - A civil day of a lane has at most one budget, and grants never exceed its cap, whatever restarts, clock steps and changes of
//!   the time zone happen in between.
//! - Budget that a crash may have lost is never granted again.
//! - [`Admission::NotBefore`] is exact: one recipient may go at that time, and not a nanosecond earlier.
//! - A lane changes its stage only by the verdict on a day that is over, by a block, after too many idle days, or by an operator.
//!
//! ```
//! use std::sync::Arc;
//! use posthaste_governor::{Admission, Curve, Governor, LaneKey, Outcome, Plan, Shape, Stage};
//!
//! let now = "2026-11-23T09:00:00Z".parse()?;
//! let plan = Arc::new(Plan::new("mine", Curve::growing(50, 1.5, 100_000)?));
//! let mut governor = Governor::new();
//! let lane = governor.open(&LaneKey::new("ip1", "google"), &plan, Stage::FIRST, Shape::default(), now);
//!
//! match governor.admit(lane, 3, now) {
//!     Admission::Go(permit) => {
//!         // Write what `governor.take_batch()` returns, wait until batch `permit.durable()` is on disk, then send.
//!         governor.settle(permit, Outcome::Accepted, now);
//!     }
//!     Admission::NotBefore(at, hold) => println!("not before {at}: {hold:?}"),
//! }
//! assert_eq!(governor.status(lane, now).remaining, Some(47));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is durable, and what a crash costs
//!
//! The durable record of a lane's day says how much of the cap is *leased*. A permit beyond the lease first raises the lease, by a
//! sixty-fourth of the cap (at most 1,024 recipients) more than it needs. [`Permit::durable`] is the number of the [`Batch`] that
//! has to be on disk before anything is offered to the provider. Leases are raised ahead of need, so that hardly any permit
//! waits for the disk.
//!
//! After a crash, everything leased counts as sent. A crash can therefore cost a lane up to one and a half sixty-fourths of its
//! day, and can never refill it. [`Governor::recount`] adds what the event log knows to have been sent and accepted, so that the
//! day's verdict is right; it returns no budget. After a clean stop ([`Governor::return_leases`]) nothing is lost. The burst is
//! not available again after a crash either.
//!
//! # Clocks and time zones
//!
//! Each civil day has at most one budget, ever. When a day opens, all earlier days are closed for good: a clock that goes back
//! into one of them, or to before the last of them, gets [`Hold::DayOver`] until the next day on record begins, however far that
//! is: nobody can tell whether the clock was wrong before or is wrong now, and a budget is given once. (A day without a cap has no
//! budget to refill: it opens again.) An operator who knows that the clock was ahead ends the wait with [`Steer::Resume`], and the
//! lane goes on from the stage of the last real day. A day lasts at least as long as was planned when it opened, so that a changed time zone opens no day early. Days of 23
//! and 25 hours have one budget each, spread over 23 and 25 hours.
//!
//! # A permit belongs to one day
//!
//! A permit that is settled after its day is over still counts in that day's numbers, but no longer in its verdict.

mod admission;
mod backoff;
mod change;
mod choose;
mod curve;
mod curves;
mod day;
mod entries;
mod forecast;
mod governor;
mod health;
mod key;
mod lane;
mod ledger;
mod pace;
mod plan;
mod shape;
mod status;
mod time;
mod view;
pub mod warmup;
mod window;

pub use self::governor::Governor;
pub use admission::{Admission, Hold, Outcome, Permit};
pub use backoff::{Climb, Cut, Pause, Restrictions, STEPS, Slow, Usual};
pub use change::{Change, LaneChange, Steer};
pub use choose::{Choice, Order, Selection};
pub use curve::{After, Curve, CurveError, STAGES_MAX, Stage};
pub use curves::{CurveFileError, Curves, SHIPPED, SHIPPED_NAME};
pub use day::{Closing, Day, Verdict, Why};
pub use entries::{Batch, LaneEntry, Note, Part};
pub use forecast::Forecast;
pub use health::{Counts, Grade, Health, Share, ShareError, Sign, Threshold, ThresholdError, Thresholds};
pub use key::{LaneId, LaneKey};
pub use lane::Lane;
pub use ledger::{DAYS_MAX, DayLedger};
pub use pace::{Pace, PaceError, Priority};
pub use plan::{Overflow, Plan};
pub use shape::{Shape, Shaper};
pub use status::Status;
pub use window::{Window, WindowError};
