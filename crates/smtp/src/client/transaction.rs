//! One message as it is to be handed over.

use bytes::Bytes;
use posthaste_mail::{Address, Asks, BodyKind, ReversePath};

use super::Needs;

/// One message for one or more recipients of a receiver.
#[derive(Clone, Copy)]
pub struct Transaction<'a> {
    /// Who is told of failures.
    pub reverse_path: &'a ReversePath,
    /// Who is to get it. Keep to a hundred: receivers need not take more (RFC 5321 §4.5.3.1.8).
    pub recipients: &'a [&'a Address],
    /// What the submitting client declared of the body.
    pub body_kind: BodyKind,
    /// Whether the body has bytes above 127, declared or not.
    pub has_8bit: bool,
    /// What the message cannot do without; the caller has seen that the receiver has it ([`Connection::lacks`](super::Connection::lacks)).
    pub needs: Needs,
    /// What was asked for it; `rcpts` in the order of `recipients`, or empty. Goes with it as far as the receiver understands it.
    pub asks: &'a Asks,
    /// The body's length in bytes, for SIZE (RFC 1870 §5: without stuffed dots).
    pub size: u64,
    /// The body in one or more parts, every line ended by CRLF; a missing last line end is added, a bare CR or LF makes the transaction fail,
    /// except where the message needs BDAT: then it goes out as it is.
    pub body: &'a [Bytes],
}
