//! What the server does after a client's message.

use super::Credentials;
use crate::server::Answer;

/// What the server does next in an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) enum Turn {
    /// Send this challenge; the response is the next message.
    Challenge(Vec<u8>),
    /// Ask the caller to check these credentials.
    Ask(Credentials),
    /// The user is logged in.
    Done(String),
    /// Send this reply; the client has been sent the reason before.
    Refused(Answer),
    /// The message is not valid for the mechanism.
    Malformed(&'static str),
    /// The client's proof or identity is wrong.
    Wrong { user: String },
}
