//! The nouns of mail: addresses, envelopes, replies, ids, events.
//!
//! The crate uses no other crate of the workspace. It does no I/O and has no clock; ids are made from a time and a random number that the
//! caller gives.
//!
//! It keeps these invariants:
//!
//! - Every value is checked when it is made: an [`Address`] can be written to the wire as it is, without CR, LF, `<` or `>` outside quotes.
//! - The text forms are stable, as the spool and the log hold them: a stored value reads back as the same value, and fields are only added.
//! - Every id sorts by the time at which it was made.

mod address;
mod by_domain;
mod class;
mod date;
mod envelope;
mod event;
mod foreign;
mod id;
mod login;
mod masked;
mod name;
mod nearest;
mod next_hop;
mod parameters;
mod priority;
mod reply;
mod secret;

pub use address::{Address, AddressError, Domain};
pub use by_domain::{ByDomain, Pattern};
pub use class::{Action, Class, Scope};
pub use date::rfc5322_date;
pub use envelope::{BodyKind, Envelope, ReversePath};
pub use event::{
    Attempt, BudgetFacts, Event, GapFacts, IncidentFacts, LaneFacts, MessageFacts, OtherHost, RecipientFacts, Returned, ReturnedBounce,
    SCHEMA_VERSION, TlsFacts, What, rfc3339_millis,
};
pub use foreign::Foreign;
pub use id::{EventId, IdError, MessageId};
pub use login::Login;
pub use masked::masked_in;
pub use name::{Name, NameError};
pub use nearest::nearest;
pub use next_hop::NextHop;
pub use parameters::{DeliverBy, EsmtpParameters, Hold, Notify, Otherwise, RcptParameters, Ret};
pub use priority::TransferPriority;
pub use reply::{Answered, EnhancedCode, Failure, LocalCause, Reply, Stage, in_one_line};
pub use secret::Secret;
