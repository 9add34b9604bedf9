//! What an attempt's end means to the lane's budget and health: the one place that says so, for the dispatcher that settles permits and for the
//! recount that reads the log.

use posthaste_governor::Outcome;
use posthaste_mail::{Action, Class, Stage};

/// How an attempt ended for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The receiver took responsibility.
    Delivered,
    /// It was not taken, or nobody knows.
    Failed {
        /// How far the dialogue had come.
        stage: Stage,
        /// What it means.
        class: Class,
        /// What to do about it.
        action: Action,
        /// It is not tried again.
        permanent: bool,
    },
}

/// What a permit for the recipient is settled with.
///
/// From MAIL on the receiver saw the recipient or the message, and the budget is spent, whether it answered or the connection broke. Before that
/// nothing was offered, and the budget comes back: also when the greeting refused us, which says something of the lane, but cost it nothing.
pub fn outcome(ending: Ending) -> Outcome {
    let Ending::Failed { stage, class, action, permanent } = ending else { return Outcome::Accepted };
    if !matches!(stage, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Dot) {
        return Outcome::GivenBack;
    }
    match (class, action) {
        (_, Action::PauseLane) => Outcome::Blocked,
        (_, Action::SlowDown) => Outcome::Throttled,
        (Class::InvalidRecipient | Class::InactiveMailbox | Class::BadDomain, _) if permanent => Outcome::HardBounce,
        (Class::RateLimited | Class::IpReputation, _) if !permanent => Outcome::Throttled,
        _ if permanent => Outcome::Refused,
        _ => Outcome::Deferred,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_has_its_outcome() {
        let failed = |stage, class, action, permanent| outcome(Ending::Failed { stage, class, action, permanent });
        for (expected, stage, class, action, permanent) in [
            (Outcome::HardBounce, Stage::Rcpt, Class::InvalidRecipient, Action::Suppress, true),
            (Outcome::Deferred, Stage::Rcpt, Class::InvalidRecipient, Action::Retry, false),
            (Outcome::Refused, Stage::Dot, Class::SpamContent, Action::FixMessage, true),
            (Outcome::Refused, Stage::Rcpt, Class::MailboxFull, Action::None, true),
            (Outcome::Throttled, Stage::Mail, Class::RateLimited, Action::SlowDown, false),
            (Outcome::Throttled, Stage::Dot, Class::IpReputation, Action::Retry, false),
            (Outcome::Throttled, Stage::Dot, Class::SpamContent, Action::SlowDown, true),
            (Outcome::Blocked, Stage::Mail, Class::IpReputation, Action::PauseLane, true),
            (Outcome::Deferred, Stage::Rcpt, Class::Greylisting, Action::Retry, false),
            (Outcome::Deferred, Stage::Dot, Class::ConnectionFailure, Action::Retry, false),
            (Outcome::GivenBack, Stage::Connect, Class::ConnectionFailure, Action::Retry, false),
            (Outcome::GivenBack, Stage::Banner, Class::IpReputation, Action::PauseLane, true),
            (Outcome::GivenBack, Stage::Starttls, Class::TlsFailure, Action::Retry, false),
            (Outcome::GivenBack, Stage::Dns, Class::BadDomain, Action::None, true),
        ] {
            assert_eq!(failed(stage, class, action, permanent), expected, "{stage} {class} {action}");
        }
        assert_eq!(outcome(Ending::Delivered), Outcome::Accepted);
    }
}
