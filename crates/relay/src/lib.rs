//! The relay assembled: settings in force, the engine around the queue, the recorder, recovery, the admin socket, and `run`, which starts and stops it
//! all.
//!
//! It may know every crate but `cli`. Most rules are in the crates below; its own are the order in which parts start and stop, which fates a
//! sender gets a notice of (`notify`), what is repaired after a crash (`recover`), and how the limits on a domain's mail are explained
//! ([`why`]). Its invariants: a message that was accepted is never lost by a start or a stop, whatever kills it in between; the spool forgets
//! nothing before its log line is durable; a notice is in the spool before the log reports the fate that it is about.

pub mod admin;
pub mod daily;
mod descriptors;
pub mod desk;
mod engine;
pub mod error;
mod introduction;
mod kinds;
mod known;
mod lookout;
pub mod maildrop;
mod missing;
mod notify;
mod open;
pub mod private;
mod recorder;
pub mod recover;
mod reload;
pub mod run;
mod search_index;
pub mod settings;
mod spooled;
pub mod starting;
mod syncs;
mod told;
pub mod top;
mod versions;
mod watch;
pub mod why;

pub use descriptors::TooFewFiles;
pub use open::{Lock, OpenedSpool, lock, open_spool};
pub use reload::{ReloadError, Reloaded, Verbosity};
pub use watch::take_log_alarms;
