//! What comes back: bounce mails and feedback reports, what they mean for which message and recipient, and how far they are believed.
//!
//! Everything here was written by strangers. A report is believed when it carries a reverse-path of ours ([`posthaste_verp`]): as the address
//! that it was sent to, or inside of the mail that it returns. An envelope id or a Message-ID can be guessed or read by anybody, so a match
//! by them is a hint: it is counted, and suppresses nobody unless the operator says so. What matches nothing changes nothing but a counter.
//!
//! It may know `mail`, `bounce`, `governor`, `monitor`, `smtp`, `spool`, `dsn`, `message`, `queue`, `suppression`, `verp`, `submission`, `journal` and
//! `host`. Each report counts once: whoever brings it first claims it, and the other side hears 250 when its line is durable and all that follows from
//! it is done.

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
