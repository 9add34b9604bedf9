//! Deliveries: sessions with receivers, opened from a source for a job of the queue and kept for further ones; look-ups of sites; the
//! sources' presence on this host; the warm-up ledger on the disk.
//!
//! It may know `mail`, `governor`, `bounce`, `route`, `smtp`, `spool`, `message`, `queue`, `suppression`, `verp`, `journal` and `host`. Its
//! invariants: every job is returned with an outcome, even if the session panics; nothing is offered before the ledger's batch that covers
//! it is on disk; the suppression list is asked last.

mod at_once;
mod blame;
mod bodies;
mod connect;
pub mod ledger;
mod login_refusals;
pub mod logins;
mod needs;
mod next_host;
mod offer;
mod open;
mod outbound;
pub mod own_name;
mod published;
mod reach;
mod refuser;
mod resolve;
pub mod session;
mod settings;
pub mod sources;
mod stored;
mod turned_away;
mod under_way;

pub use at_once::AtOnce;
pub use bodies::Bodies;
pub use connect::Down;
pub use outbound::Outbound;
pub use published::Published;
pub use reach::Reach;
pub use resolve::Lookups;
pub use settings::{Settings, Source, StaticRoute, TlsRule, Unfit};
pub use stored::{ReadError, read_record};
pub use turned_away::TurnedAway;
pub use under_way::UnderWay;
