//! Whether and when notices are sent.

use std::time::Duration;

use posthaste_mail::Address;

/// Whether and how senders are told that their mail failed (RFC 3464).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRules {
    /// Whether notices are sent at all.
    pub send: bool,
    /// The notice's From field; its envelope's sender is null (RFC 5321 §6.1).
    pub from: Address,
    /// How old a message is to be, at its next attempt, for its sender to hear that it takes long, where that was asked for; None: never.
    pub delay: Option<Duration>,
    /// The longest message that comes back whole where its sender wants that (RET=FULL, RFC 3461), in bytes.
    pub full_max: u64,
}
