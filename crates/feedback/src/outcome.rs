//! What the end of an attempt means for the lane's budget and health. This is the only place that decides it, for the dispatcher, which
//! settles permits, and for the recount from the log.

use posthaste_governor::Outcome;
use posthaste_mail::{Action, Class, Stage};

/// How an attempt ended for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The receiver accepted the message.
    Delivered,
    /// The receiver did not accept it, or that is unknown.
    Failed {
        /// How far the dialogue got.
        stage: Stage,
        /// What it means.
        class: Class,
        /// What to do about it.
        action: Action,
        /// Whether it is not tried again.
        permanent: bool,
    },
}

/// The outcome with which the recipient's permit is settled.
///
/// From MAIL on the receiver saw the recipient or the message, and the budget is spent, whether the receiver answered or the connection
/// broke. Before MAIL nothing was offered, and the budget is returned; also when the greeting refused the relay, which says something about
/// the lane but cost it nothing.
pub fn outcome(ending: AttemptEnd) -> Outcome {
    let AttemptEnd::Failed { stage, class, action, permanent } = ending else { return Outcome::Accepted };
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
        let failed = |stage, class, action, permanent| outcome(AttemptEnd::Failed { stage, class, action, permanent });
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
        assert_eq!(outcome(AttemptEnd::Delivered), Outcome::Accepted);
    }
}
