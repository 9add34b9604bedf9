//! The way in by SMTP: listeners and sessions, and the intake that stores a message before anybody hears 250.
//!
//! It may know `mail`, `smtp`, `dkim`, `spool`, `message`, `queue`, `access`, `signing`, `suppression`, `certificates`, `journal` and `host`. 250 means
//! on disk: the message is in the spool and announced in the log before it goes to the queue, and the client hears of it last. What a listener is for
//! is an [`Inbox`]; the sessions do not ask.

mod announce;
mod inbox;
mod intake;
mod settings;
pub mod smtp;

pub use announce::{Announced, announce, arrival};
pub use inbox::{Guest, Inbox, Taking};
pub use intake::{Client, Intake};
pub use settings::{AuthWhere, ClientLimits, ListenCertificate, ListenTls, ListenTlsMode, Listener, Role, Settings};
