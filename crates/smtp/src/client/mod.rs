//! The client's side: opens a session with a receiver, hands it messages, keeps every word it says.
//!
//! mail-send reads the EHLO reply's meaning, does the TLS upgrade and encodes the SASL answers. The rest of the dialogue is ours, because
//! mail-send's own reader drops bytes behind a reply (a 421 glued to the 220), loses the text of positive replies and the command that an
//! error belongs to, and its message writer lets a dot at the very start of a message end it.
//!
//! The order of events: [`open()`] a connected socket, [`Connection::transact`] once a message, [`Connection::quit`].

mod body;
mod channel;
mod connection;
mod extensions;
mod handover;
mod hello;
mod needs;
mod open;
mod parameters;
mod replies;
mod report;
mod stream;
mod tls;
mod tls_policy;
mod transact;
mod transaction;

pub use connection::{Connection, Timings};
pub use extensions::Extensions;
pub use hello::{Credentials, Hello, Timeouts};
pub use needs::Needs;
pub use open::{OpenFailure, open};
pub use replies::replies_in;
pub use report::{RecipientResult, Report};
pub use tls::{TlsConfigError, TlsConfigs};
pub use tls_policy::TlsPolicy;
pub use transaction::Transaction;
