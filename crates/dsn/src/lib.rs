//! The writer of delivery status notices: they tell a sender which recipients did not get the message, are late, or got it (RFC 3464, in
//! the multipart/report of RFC 6522).
//!
//! It may know `mail` and nothing else. Its invariants: all text of the relay's own is 7-bit, so that every host accepts it; no text of a
//! receiver can end a line or begin a field.

mod notice;
mod rules;
mod status;
mod text;
mod words;
mod write;

pub use notice::{Ending, HEADER_MAX, Notice, NoticeRecipient, Original};
pub use rules::NoticeRules;
