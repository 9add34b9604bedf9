//! The suppression list: addresses that receive no mail, from anybody, from a stream or from a user.
//!
//! The list consists of keyed facts in the spool. Bounces, complaints and deliveries are reported to [`List`], which decides which
//! addresses to add. Decisions take the time as an argument and touch nothing but the [`Register`]. It may know `mail`, `bounce` and
//! `spool`. Only a verdict about the recipient can put an address on the list.

mod answer;
mod bounce;
mod bounces;
mod entry;
mod keys;
mod list;
mod notes;
mod register;
mod request;
mod rules;
mod sweep;
pub mod transfer;

pub use answer::{AnswerError, answer};
pub use bounce::{BounceEvidence, Noted, Sureness};
pub use entry::{Breadth, EntrySource, Reason, SuppressionEntry, UserScope, WordError};
pub use list::{Added, List, Over};
pub use register::Register;
pub use request::{EntryFilter, ListAnswer, ListRequest};
pub use rules::SuppressionRules;
pub use sweep::sweep;
