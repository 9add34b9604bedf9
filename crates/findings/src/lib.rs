//! What the tallies say about a relay: findings by published rules, the incidents that are made of them, and a health score.
//!
//! Level 2: of the workspace it may use `mail` and `tallies`. It is pure: it has no clock, no socket and no disk of its own; it reads the
//! tallies that it is given.
//!
//! [`Rules`] look at a [`View`] (the tallies, and the [`Facts`] that the relay knows besides) at each tick, and make a [`Finding`] of each
//! thing that is wrong. [`Incidents`] make incidents of findings: opened once, silent while they last, closed when nothing is found any
//! more. [`Lookout`] is both, with their state as bytes: after a restart they go on as if there had been none.

mod counts;
mod facts;
mod finding;
mod incident;
mod incidents;
mod interval;
mod look;
mod lookout;
mod rules;
pub mod score;
pub mod settings;
mod text;
mod words;

pub use facts::{
    Certificate, ClockStep, Disk, Facts, Guarded, House, KeyMissing, LaneFact, MissedDay, PoolFact, Reader, Refused, Standing, SteppedBack,
    Stopped, StreamFact, Trouble, Waiting,
};
pub use finding::{About, Finding, FindingState, Key, LimitFrom, Measure, ProblemOf, Rule, Severity};
pub use incident::{Incident, IncidentState, Mute};
pub use incidents::{Change, IncidentChange, Incidents, UnknownIncident};
pub use look::{View, without_users};
pub use lookout::{Lookout, LookoutError};
pub use rules::Rules;
pub use settings::RuleSettings;
pub use text::word as shell_word;

#[cfg(test)]
mod tests;
