//! Deliveries: sessions with receivers, opened on a source for a job of the queue and kept for more of the same; look-ups of where mail goes; the
//! sources' presence on this host; the warm-up ledger on the disk.
//!
//! It may know `mail`, `governor`, `bounce`, `route`, `smtp`, `spool`, `message`, `queue`, `suppression`, `verp`, `journal` and `host`. A job that was
//! taken is always given back with an outcome, even by a session that panics. Nothing is offered before the ledger's batch that covers it is on disk,
//! and the suppression list is asked last.

mod connect;
pub mod ledger;
mod needs;
mod open;
mod outbound;
mod resolve;
pub mod session;
mod settings;
pub mod sources;
mod stored;

pub use connect::Down;
pub use outbound::Outbound;
pub use resolve::Lookups;
pub use settings::{Route, Settings, Source, TlsRule};
pub use stored::read_record;
