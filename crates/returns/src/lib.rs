//! Returned mail: bounce mails and feedback reports, the messages and recipients they are about, and how far they are trusted.
//!
//! All of this mail is written by strangers. A report is trusted if it carries one of the relay's keyed reverse-paths ([`posthaste_verp`]),
//! as the address that it was sent to or in the mail that it returns. An envelope id or a Message-ID can be guessed or read by anybody, so
//! a match by one is only a hint: it is logged, and suppresses no address unless the operator allows that. A report that matches nothing
//! changes only a counter.
//!
//! It may know `mail`, `bounce`, `governor`, `monitor`, `smtp`, `spool`, `dsn`, `queue`, `suppression`, `verp`, `submission`,
//! `journal` and `host`. Its invariants: each report counts once, for the first client that brings it; the client gets 250 when the
//! report's line is durable and all its consequences are done.

mod found;
mod handler;
mod identity;
mod judge;
mod mailbox;
mod notice;
mod once;
mod record;
mod sent;
mod settings;
mod settle;
mod tally;
mod tokens;

pub use found::Believe;
pub use handler::ReturnHandler;
pub use identity::REMEMBERED;
pub use mailbox::watch;
pub use once::make_up_for;
pub use settings::{Imap, Mailbox, Returns, Settings};
