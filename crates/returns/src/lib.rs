//! Returned mail: bounce mails and feedback reports, the messages and recipients they are about, and how far they are trusted.
//!
//! All of this mail is written by strangers. Only a report that was sent to one of the relay's keyed reverse-paths ([`posthaste_verp`]) by
//! the side that received the message is proof. One that anybody else sends there is a hint, because Return-Path tells the path to whoever
//! is given the message. What stands in its content was seen by everybody who ever got the message passed on, and is only a hint: the relay's codes, an
//! envelope id, a Message-ID. A hint is logged. What feedback loops report to their own addresses stops mail of one stream for a limited
//! time; other hints stop nothing unless the operator says so. What matches nothing
//! is a line of the log, of which there are so many a minute.
//!
//! It may know `mail`, `bounce`, `governor`, `monitor`, `smtp`, `spool`, `dsn`, `queue`, `suppression`, `verp`, `submission`,
//! `journal`, `route`, `dkim` and `host`. Its invariants: each report counts once, for the first client that brings it; the client gets 250 when the
//! report's line is durable and all its consequences are done.

mod aside;
mod confirm;
mod forward;
mod found;
mod handler;
mod identity;
mod judge;
mod mailbox;
mod notice;
mod once;
mod origin;
mod peers;
mod record;
mod sent;
mod settings;
mod settle;
mod tally;
mod tokens;
mod unread;

pub use found::Believe;
pub use handler::ReturnHandler;
pub use identity::REMEMBERED;
pub use mailbox::watch;
pub use once::make_up_for;
pub use settings::{Imap, Mailbox, Returns, Settings};
