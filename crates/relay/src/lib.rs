//! The relay assembled: settings in force, the engine around the queue, the recorder, recovery, the admin socket, and `run`, which starts and stops it
//! all.
//!
//! It may know every crate but `cli`, and holds no rule of its own: it decides only the order in which parts start and stop. A message that
//! was accepted is never lost by a start or a stop, whatever kills it in between.

pub mod admin;
mod descriptors;
pub mod engine;
pub mod error;
pub mod notify;
mod open;
pub mod recorder;
pub mod recover;
mod reload;
pub mod run;
pub mod settings;
mod watch;
pub mod why;

pub use open::{Lock, lock, open_spool};
pub use reload::{ReloadError, Verbosity};
