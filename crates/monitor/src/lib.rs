//! The delivery log: its writer, its reader, and what is computed from its lines.
//!
//! [`EventLog`] writes one JSON object per line, durably, on a thread of its own. [`Lines`] reads the lines back across rotations.
//! Everything else is a fold over those lines: [`LineFilter`] and [`Format`] for people who watch the log, [`trace`] for the history of a
//! message, [`audit`] for the proof that accepted = ended + queued, [`tail_since`] for what a restart has to complete after a crash.
//!
//! Level 1: of the workspace it may use `posthaste-mail` only. It knows neither the spool nor the queue; a ticket that rides on an entry is
//! opaque to it.
//!
//! Invariants:
//! - Entries keep their order. A ticket comes back only after an fdatasync that covers its entry.
//! - Entries appended together never have a sync between them, and so no reported position either.
//! - A full or failing disk loses no entry and leaves no torn line while the process lives; a torn last line of a killed process is cut
//!   on opening.
//! - A [`Position`] stays valid through renames, copies and deletions of other files.
//! - Whoever reads the log ignores fields and events that this version does not know.

mod audit;
mod encode;
mod filter;
mod format;
mod index;
mod log;
mod members;
mod missing;
mod record;
mod recovery;
mod search;
mod trace;
mod watermark;

pub use audit::{Audit, Finding, Gap, Horizon, Recipient, audit};
pub use encode::encode;
pub use filter::{LineFilter, LineFinder, events};
pub use format::Format;
pub use index::{Key, Lookup, MessageIndex};
pub use log::{
    Backward, CURRENT, EventLog, FileId, Line, Lines, LogAlarm, LogError, LogOptions, OpenedLog, Position, SyncTimer, put_copy_aside,
    refuse_newer, take_back,
};
pub use members::{MemberValue, each_member};
pub use missing::{Missing, NAMED_MAX, Unended};
pub use record::{LogRecord, LogText, OtherHostRecord};
pub use recovery::{Checkpoint, CheckpointError, DurableEnd, Tail, gap_at_start, list_knows, tail_since, tail_since_watched};
pub use search::{
    AddressText, Budget, Criteria, CriteriaError, Cursor, CursorError, IdText, MetaText, Pace, REFUSED, Row, Search, SearchIndex, Step,
};
pub use trace::{MANY, MessageHistory, Query, RecipientHistory, Trace, messages_like, messages_named, search, trace, trace_message};
pub use watermark::Watermark;

/// The JSON Schema (draft 2020-12) of the log's lines. It is strict, for tests; a reader of the log should ignore unknown fields.
pub const SCHEMA: &str = include_str!("../events.schema.json");

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod missing_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod trace_tests;
