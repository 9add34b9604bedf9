//! Submission by SMTP: listeners, their sessions, and the intake that stores a message before the client is answered 250.
//!
//! It may know `mail`, `smtp`, `spool`, `message`, `queue`, `access`, `signing`, `suppression`, `certificates`, `journal` and
//! `host`. A 250 means that the message is on disk: it is in the spool and announced in the log before it goes to the queue, and the client
//! is answered last. An [`Inbox`] decides about a listener's mail; the sessions do not know what the listener is for.

mod announce;
mod inbox;
mod intake;
mod settings;
pub mod smtp;

pub use announce::{Announced, announce, arrival};
pub use inbox::{Accepting, ConnectedClient, Inbox};
pub use intake::{Client, Intake};
pub use settings::{AuthWhere, ClientLimits, ListenTls, ListenTlsMode, Listener, Role, Settings, UnfitText};
