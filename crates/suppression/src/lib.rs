//! The suppression list: addresses that are not written to, by everybody, by a stream or by a user.
//!
//! It consists of keyed facts of the spool. What is told of bounces, complaints and deliveries goes through [`List`], which decides who gets
//! onto it. Decisions take the time as an argument and touch nothing but the [`Register`]. It may know `mail`, `bounce` and `spool`. Only a verdict
//! about the recipient can put an address there.

mod answer;
mod ask;
mod bounce;
mod bounces;
mod entry;
mod keys;
mod list;
mod register;
mod rules;
mod sweep;
pub mod transfer;

pub use answer::answer;
pub use ask::{Answer, Ask, Filter};
pub use bounce::{BounceEvidence, Noted, Sureness};
pub use entry::{Breadth, Reason, Source, SuppressionEntry, UserScope, WordError};
pub use list::{Added, List, Over};
pub use register::Register;
pub use rules::SuppressionRules;
pub use sweep::sweep;
