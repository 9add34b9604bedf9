//! The rate governor: how much each sending address may send to each provider today, when, and why not more.
//!
//! A *lane* is a source (a sending address) at a provider (whoever runs the recipients' mailboxes). It climbs a [`Curve`] of
//! daily caps: one stage up after a day that used its cap in good health, the same stage after any other, one down after a bad
//! one. The day's cap is spread over the day by a [`Pace`]; [`Governor::admit`] hands out [`Permit`]s or says when one will be had;
//! [`Governor::settle`] takes them back with what became of them.
//!
//! There is no clock, no disk and no task in here: every call takes the time, and what has to be kept is handed out and in.
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
//!         // Write what `governor.take_batch()` gives and wait until batch `permit.durable()` is on disk; then send.
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
//! The durable record of a lane's day says how much of the cap is *leased*. A permit beyond the lease first raises it, by a
//! sixty-fourth of the cap (at most 1,024 recipients) more than is needed, and says so by [`Permit::durable`]: the number of the
//! [`Batch`] that has to be on disk before anything is offered to the provider. Leases are raised before they are used up, so that
//! hardly any permit waits for the disk.
//!
//! After a crash all that was leased counts as gone, whether it was sent or not: a crash can cost a lane up to one and a half
//! parts of its day, and can never refill it. [`Governor::recount`] lets the event log say which of it was sent and accepted, so
//! that the day's verdict is right; the budget does not come back by it. After [`Governor::return_leases`], a stop in good
//! order, nothing is lost. The burst, too, is not ready again after a crash.
//!
//! # Clocks and zones
//!
//! Each civil day has at most one budget, ever. When a day opens, the ones before it are closed for good: a clock that goes back
//! into them finds [`Hold::DayOver`] until the next begins. A clock that was ahead by more than two days and comes back finds
//! days of its own, from the stage of the last real one, so that a wrong clock costs one day at most and no stage. A day lasts at
//! least as long as it was to last when it opened, so that a changed zone opens no day early. Days of 23 and 25 hours have one
//! budget, spread over 23 and 25 hours.
//!
//! # A permit is for one day
//!
//! A permit that is settled after its day is over counts into that day's numbers, but no longer into its verdict.

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
mod window;

pub use self::governor::Governor;
pub use admission::{Admission, Hold, Outcome, Permit};
pub use backoff::{Climb, Cut, Pause, STEPS, Slow, Standing, Usual};
pub use change::{Change, LaneChange, Steer};
pub use choose::{Choice, Order, Selection};
pub use curve::{After, Curve, CurveError, STAGES_MAX, Stage};
pub use curves::{CurveFileError, Curves, SHIPPED, SHIPPED_NAME};
pub use day::{Closing, Day, Verdict, Why};
pub use entries::{Batch, Entry, Note, Part};
pub use forecast::Forecast;
pub use health::{Counts, Grade, Health, Share, ShareError, Sign, Threshold, ThresholdError, Thresholds};
pub use key::{LaneId, LaneKey};
pub use lane::Lane;
pub use ledger::{DAYS_MAX, Ledger};
pub use pace::{Pace, PaceError, Priority};
pub use plan::{Overflow, Plan};
pub use shape::{Shape, Shaper};
pub use status::Status;
pub use window::{Window, WindowError};
