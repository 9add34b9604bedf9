//! The SMTP protocol: the [`server`]'s session without sockets, and the [`client`]'s dialogue with a receiver.
//!
//! Level 1: of the workspace it may use `posthaste-mail` only. It knows no configuration, users, spool or log; the caller decides on
//! senders, recipients, credentials and messages.
//!
//! Invariants:
//! - A server session does no I/O and reads no clock. Its replies and steps depend only on the bytes and the caller's answers, not on how
//!   the bytes were cut.
//! - Only CRLF ends a line and only CRLF.CRLF ends a message (RFC 5321 §2.3.8, §4.1.1.4), in both directions; the client never sends a
//!   body with a bare CR or LF, except by BDAT.
//! - Everything that a peer sends is limited: lines, recipients, messages, replies.
//! - Bytes received before TLS never count after it (RFC 3207).
//! - Each recipient of a transaction gets exactly one result: delivered, failed, unknown or not offered. A refusal keeps the receiver's
//!   reply word for word.

pub mod client;
pub mod server;
pub mod tls_error;
