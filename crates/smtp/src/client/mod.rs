//! The client: opens a session with a receiver, hands over messages, and keeps every reply word for word.
//!
//! mail-send parses the EHLO reply, does the TLS upgrade and encodes the SASL responses. The rest of the dialogue is our own code, because
//! mail-send's reader drops bytes that follow a reply (a 421 in the same packet as the 220) and loses the text of positive replies and the
//! command that an error belongs to, and its message writer lets a dot at the very start of a message end it.
//!
//! The order of calls: [`open()`] on a connected socket, [`Connection::transact`] once per message, [`Connection::quit`].

mod body;
mod channel;
mod connection;
mod extensions;
mod handover;
mod hello;
mod hurry;
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
mod watch;

pub use connection::{Connection, Timings};
pub use extensions::Extensions;
pub use hello::{Credentials, Hello, PasswordNeeds, Timeouts};
pub use hurry::Hurry;
pub use needs::Needs;
pub use open::{OpenFailure, open, open_watched};
pub use replies::replies_in;
pub use report::{RecipientResult, Report};
pub use tls::{TlsConfigError, TlsConfigs};
pub use tls_policy::TlsPolicy;
pub use transaction::Transaction;
pub use watch::{Awaited, Watch};
