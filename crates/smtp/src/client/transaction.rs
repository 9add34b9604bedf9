//! One message to hand over.

use bytes::Bytes;
use posthaste_mail::{Address, BodyKind, EsmtpParameters, ReversePath};

use super::Needs;

/// One message for one or more recipients of a receiver.
#[derive(Clone, Copy)]
pub struct Transaction<'a> {
    /// Where failure notices go.
    pub reverse_path: &'a ReversePath,
    /// The recipients. No more than a hundred: receivers need not accept more (RFC 5321 §4.5.3.1.8).
    pub recipients: &'a [&'a Address],
    /// What the submitting client declared about the body.
    pub body_kind: BodyKind,
    /// Whether the body has bytes above 127, declared or not.
    pub has_8bit: bool,
    /// What the message requires; the caller has checked that the receiver offers it ([`Connection::lacks`](super::Connection::lacks)).
    pub needs: Needs,
    /// The ESMTP parameters of the message; `rcpts` in the order of `recipients`, or empty. Passed on as far as the receiver understands
    /// them.
    pub parameters: &'a EsmtpParameters,
    /// The body's length in bytes, for SIZE (RFC 1870 §5: without stuffed dots).
    pub size: u64,
    /// The body in one or more parts, every line ended by CRLF. A missing last line end is added; a bare CR or LF makes the transaction
    /// fail, unless the message needs BDAT: then the body is sent unchanged.
    pub body: &'a [Bytes],
}
