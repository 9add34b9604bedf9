//! Whether and when notices are sent.

use std::time::Duration;

use posthaste_mail::Address;

/// Whether and how senders are notified when their mail fails (RFC 3464).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRules {
    /// Whether notices are sent at all.
    pub send: bool,
    /// The notice's From field. Its envelope sender is null (RFC 5321 §6.1).
    pub from: Address,
    /// The age at the next attempt from which the sender is notified of the delay, if the sender asked for that; None: never.
    pub delay: Option<Duration>,
    /// The longest message that is returned whole if its sender asks for that (RET=FULL, RFC 3461), in bytes.
    pub full_max: u64,
}
