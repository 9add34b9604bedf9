//! The rules: what puts an address on the list, and for how long.

use std::time::Duration;

use posthaste_mail::Class;

/// The rules. A duration of None means forever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionRules {
    /// How long a mailbox that does not exist stays listed.
    pub hard_bounce_for: Option<Duration>,
    /// How long a disabled or suspended mailbox stays listed; it may come back.
    pub inactive_for: Option<Duration>,
    /// How long a mailbox stays listed that was over quota often enough.
    pub full_for: Option<Duration>,
    /// How long a recipient stays listed who reported mail as spam.
    pub complaint_for: Option<Duration>,
    /// How long a recipient stays listed who unsubscribed.
    pub unsubscribe_for: Option<Duration>,
    /// The longest that an entry holds if the report may be made up by somebody who has seen the message.
    pub hint_for: Duration,
    /// Whether a complaint stops everybody's mail, not only its stream's.
    pub complaints_are_global: bool,
    /// The number of less certain bounces …
    pub bounces: u32,
    /// … within this time that suppress an address. A delivery in between resets the count.
    pub within: Duration,
    /// Bounces closer together than this count as one: ten messages of one morning prove no more than the first.
    pub apart: Duration,
    /// The most memory for the list, in bytes. Look-ups of what does not fit read the disk.
    pub memory: u64,
}

impl Default for SuppressionRules {
    fn default() -> Self {
        Self {
            hard_bounce_for: None,
            inactive_for: Some(180 * DAY),
            full_for: Some(30 * DAY),
            complaint_for: None,
            unsubscribe_for: None,
            hint_for: 90 * DAY,
            complaints_are_global: false,
            bounces: 3,
            within: 30 * DAY,
            apart: DAY,
            memory: 64 << 20,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

impl SuppressionRules {
    /// How long a bounce of this class keeps an address on the list; the outer None: never, because the class is not about the recipient. A
    /// domain that does not exist is not about the recipient either: it may exist tomorrow, and most often our own DNS is at fault.
    pub(crate) fn lasts(&self, class: Class) -> Option<Option<Duration>> {
        match class {
            Class::InvalidRecipient => Some(self.hard_bounce_for),
            Class::InactiveMailbox => Some(self.inactive_for),
            Class::MailboxFull => Some(self.full_for),
            _ => None,
        }
    }
}
