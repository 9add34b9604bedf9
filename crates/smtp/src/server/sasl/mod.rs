//! The server's side of SASL (RFC 4422), without I/O: takes messages; returns challenges and questions.
//!
//! Nothing is checked against a user store here. The caller checks the [`Credentials`], in its own time.

mod bearer;
mod credentials;
mod exchange;
mod mechanism;
mod password;
mod scram;
mod turn;

pub use credentials::{Credentials, prepare};
pub use mechanism::Mechanism;
pub use scram::{Nonce, ScramKeys};

pub(super) use bearer::REFUSED as TOKEN_REFUSED;
pub(super) use exchange::Exchange;
pub(super) use turn::Turn;
