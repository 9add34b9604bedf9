//! What follows from one message of a client.

use super::Credentials;
use crate::server::Answer;

/// What an exchange wants.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) enum Turn {
    /// This is to be sent, and the answer to it is the next message.
    Challenge(Vec<u8>),
    /// This is to be asked of whoever knows.
    Ask(Credentials),
    /// The user is logged in.
    Done(String),
    /// The client was told already why not, and this is the reply.
    Refused(Answer),
    /// The message is none of the mechanism.
    Malformed(&'static str),
    /// The client does not know what it has to know.
    Wrong { user: String },
}
