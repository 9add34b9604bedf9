//! The writer of failure notices: what a sender is told of recipients that did not get the message (RFC 3464 in RFC 6522's multipart/report).
//!
//! It knows the nouns of `mail` and nothing else. Two things always hold: what the relay itself writes is 7-bit, so that it passes everywhere; and
//! nothing that a receiver said can end a line or begin a field.

mod notice;
mod rules;
mod status;
mod text;
mod words;
mod write;

pub use notice::{Ending, HEADER_MAX, Notice, NoticeRecipient, Original};
pub use rules::NoticeRules;
