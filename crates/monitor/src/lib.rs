//! Events in; delivery log, traces, audits out.
//!
//! [`EventLog`] writes one JSON object a line, durably, on a thread of its own. [`Lines`] reads them back over any number of rotations, and
//! everything else here is a fold over those lines: [`Filter`] and [`Format`] for people who watch, [`trace`] for one message's life,
//! [`audit`] for the proof that accepted = ended + queued, [`tail_since`] for what a crash left undone.

mod audit;
mod encode;
mod filter;
mod format;
mod log;
mod record;
mod recovery;
mod trace;
mod watermark;

pub use audit::{Audit, Finding, LISTED_MAX, Recipient, audit};
pub use encode::encode;
pub use filter::{Filter, Sieve};
pub use format::Format;
pub use log::{CURRENT, EventLog, FileId, Line, Lines, LogError, LogOptions, Opened, Position};
pub use record::{Story, Text};
pub use recovery::{Checkpoint, Tail, tail_since};
pub use trace::{Life, Query, RecipientLife, Trace, trace};
pub use watermark::Watermark;

/// The JSON Schema (draft 2020-12) of the log's lines. It is strict, for tests; who reads the log ignores fields that he does not know.
pub const SCHEMA: &str = include_str!("../events.schema.json");

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod trace_tests;
