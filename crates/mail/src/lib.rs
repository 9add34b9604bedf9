//! The nouns of mail: addresses, envelopes, replies, ids, events. No I/O, no clock.
//!
//! Every value here was checked when it was made: whoever holds an [`Address`] may put it on the wire.

mod address;
mod asks;
mod by_domain;
mod class;
mod date;
mod envelope;
mod event;
mod id;
mod name;
mod next_hop;
mod priority;
mod reply;

pub use address::{Address, AddressError, Domain};
pub use asks::{Asks, DeliverBy, Hold, Notify, Otherwise, RcptAsks, Ret};
pub use by_domain::{ByDomain, Pattern};
pub use class::{Action, Class, Scope};
pub use date::rfc5322_date;
pub use envelope::{BodyKind, Envelope, ReversePath};
pub use event::{
    Attempt, BudgetFacts, Event, LaneFacts, MessageFacts, RecipientFacts, Returned, ReturnedBounce, SCHEMA_VERSION, TlsFacts, What,
    rfc3339_millis,
};
pub use id::{EventId, IdError, MessageId};
pub use name::{Name, NameError};
pub use next_hop::NextHop;
pub use priority::TransferPriority;
pub use reply::{EnhancedCode, Failure, LocalCause, Reply, Stage};
