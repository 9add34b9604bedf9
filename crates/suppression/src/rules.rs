//! Who gets onto the list, and for how long.

use std::time::Duration;

use posthaste_mail::Class;

/// The rules. None for a duration means for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionRules {
    /// For a mailbox that does not exist.
    pub hard_bounce_for: Option<Duration>,
    /// For one that is disabled or suspended: it may come back.
    pub inactive_for: Option<Duration>,
    /// For one that is over quota, once it was so often enough.
    pub full_for: Option<Duration>,
    /// For one whose owner called mail spam.
    pub complaint_for: Option<Duration>,
    /// For one whose owner wants no more.
    pub unsubscribe_for: Option<Duration>,
    /// A complaint stops everybody's mail, not only its stream's.
    pub complaints_are_global: bool,
    /// So many bounces of the less certain kind …
    pub bounces: u32,
    /// … in so long suppress. A delivery in between begins anew.
    pub within: Duration,
    /// Bounces closer together than this are one: ten mails of one morning say no more than the first.
    pub apart: Duration,
}

impl Default for SuppressionRules {
    fn default() -> Self {
        Self {
            hard_bounce_for: None,
            inactive_for: Some(180 * DAY),
            full_for: Some(30 * DAY),
            complaint_for: None,
            unsubscribe_for: None,
            complaints_are_global: false,
            bounces: 3,
            within: 30 * DAY,
            apart: DAY,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

impl SuppressionRules {
    /// How long a bounce of this class keeps an address on the list; the outer None where the class is not about the recipient and so never
    /// does. A domain that does not exist may exist tomorrow, and is most often our own DNS: it is not about the recipient.
    pub(crate) fn lasts(&self, class: Class) -> Option<Option<Duration>> {
        match class {
            Class::InvalidRecipient => Some(self.hard_bounce_for),
            Class::InactiveMailbox => Some(self.inactive_for),
            Class::MailboxFull => Some(self.full_for),
            _ => None,
        }
    }
}
