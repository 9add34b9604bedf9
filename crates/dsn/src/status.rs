//! The status code (RFC 3463) and the diagnostic code (RFC 3464 §2.3.6) of a failure.

use posthaste_mail::{Answered, Class, EnhancedCode, Failure, LocalCause, Reply};

use crate::{
    notice::{Ending, NoticeRecipient},
    text,
};

/// The receiver's own enhanced code, else one from the reply or the cause. Its class is 5 for bounces and 4 for expiry and delays. A
/// message that was relayed to a host that sends no notices, or does not observe the deadline, has 2.1.9: RFC 3461's "relayed" has no code
/// of its own, and X.1.9 says that the message went beyond the hosts that send notices.
pub(super) fn of(failed: &NoticeRecipient) -> EnhancedCode {
    if failed.ending == Ending::Relayed {
        return EnhancedCode::new(2, 1, 9);
    }
    if failed.ending == Ending::TooLate {
        // RFC 2852 §4.1.3.
        return EnhancedCode { class: 5, ..DELIVERY_TIME_EXPIRED };
    }
    let code = match &failed.failure {
        None if failed.ending == Ending::Traced => EnhancedCode::new(2, 0, 0),
        None => DELIVERY_TIME_EXPIRED,
        Some(Failure::Refused { reply, .. }) => {
            reply.enhanced.filter(|code| code.class != 2).unwrap_or_else(|| of_reply(reply, failed.class))
        }
        Some(Failure::Local { cause, .. }) => of_cause(*cause),
    };
    let class = match failed.ending {
        Ending::Bounced | Ending::TooLate => 5,
        Ending::Expired | Ending::Delayed => 4,
        Ending::Relayed | Ending::Traced => 2,
    };
    EnhancedCode { class, ..code }
}

const DELIVERY_TIME_EXPIRED: EnhancedCode = EnhancedCode::new(4, 4, 7);

/// The code for a reply without an enhanced code. The ending sets its class digit.
fn of_reply(reply: &Reply, class: Class) -> EnhancedCode {
    let (subject, detail) = match class {
        Class::InvalidRecipient => (1, 1),
        Class::BadDomain => (1, 2),
        Class::InactiveMailbox => (2, 1),
        Class::MailboxFull => (2, 2),
        Class::MessageTooLarge => (3, 4),
        Class::DnsFailure => (4, 3),
        Class::ConnectionFailure => (4, 2),
        Class::SpamContent | Class::IpReputation | Class::PolicyAuth | Class::RelayingDenied => (7, 1),
        Class::RateLimited | Class::Greylisting => (7, 0),
        // RFC 3207 §4's 530 5.7.0.
        Class::TlsFailure => (7, 0),
        Class::ProtocolError => (5, 0),
        Class::AutoReply | Class::TransientOther => match reply.code {
            // RFC 5321 §4.2.2: 500 to 504 are about the command, 552 and 452 about room.
            500..=504 => (5, 0),
            452 | 552 => (2, 2),
            _ => (0, 0),
        },
    };
    EnhancedCode::new(5, subject, detail)
}

fn of_cause(cause: LocalCause) -> EnhancedCode {
    let (subject, detail) = match cause {
        LocalCause::NoSuchDomain => (1, 2),
        // RFC 7505 §4.2.
        LocalCause::NullMx => (1, 10),
        LocalCause::NoHosts => (4, 4),
        LocalCause::DnsUnavailable => (4, 3),
        LocalCause::ConnectionRefused | LocalCause::ConnectTimeout | LocalCause::Unreachable => (4, 1),
        LocalCause::SessionRefused | LocalCause::ConnectionLost | LocalCause::Timeout => (4, 2),
        LocalCause::NotSmtp => (5, 0),
        // RFC 7817 §3 (X.7.10), RFC 3463 §3.8 (X.7.5).
        LocalCause::TlsRequired => (7, 10),
        LocalCause::TlsFailed => (7, 5),
        LocalCause::Loop => (4, 6),
        LocalCause::SourceUnavailable | LocalCause::RelayUnable | LocalCause::LocalError => (3, 0),
        LocalCause::Shutdown => (3, 2),
        // RFC 3463 §3.5: delivery time expired.
        LocalCause::NoBudget | LocalCause::TooLate | LocalCause::HeldTooLong => (4, 7),
    };
    EnhancedCode::new(5, subject, detail)
}

/// The whole reply, with its lines folded; or the relay's own cause, under a type of its own since it is no SMTP reply.
pub(super) fn diagnostic(failed: &NoticeRecipient) -> Option<String> {
    Some(match (failed.failure.as_ref()?, &failed.earlier) {
        (Failure::Refused { reply, .. }, _) | (Failure::Local { .. }, Some(Answered { reply, .. })) => {
            format!("smtp; {}", text::folded(&reply.to_string()))
        }
        (Failure::Local { cause, .. }, None) if failed.was_held_back() => format!("x-posthaste; {cause}: it waited until it expired"),
        (Failure::Local { cause, detail, .. }, None) => format!("x-posthaste; {}", text::folded(&format!("{cause}: {detail}"))),
    })
}

#[cfg(test)]
mod tests {
    use posthaste_mail::Stage;

    use super::*;

    fn recipient(failure: Option<Failure>, class: Class, ending: Ending) -> NoticeRecipient {
        let (rcpt, orcpt, mx_host, earlier) = ("b@example.org".parse().unwrap(), None, None, None);
        NoticeRecipient { rcpt, orcpt, failure, class, mx_host, attempts: 1, earlier, last_attempt: None, retry_until: None, ending }
    }

    fn status(failure: Option<Failure>, class: Class, ending: Ending) -> String {
        of(&recipient(failure, class, ending)).to_string()
    }

    fn refused(code: u16, text: &str) -> Option<Failure> {
        Some(Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(code, text) })
    }

    #[test]
    fn the_receivers_code_goes_first_and_the_ending_sets_its_class() {
        assert_eq!(status(refused(550, "5.7.511 no"), Class::PolicyAuth, Ending::Bounced), "5.7.511");
        assert_eq!(status(refused(550, "4.7.1 no"), Class::PolicyAuth, Ending::Bounced), "5.7.1");
        assert_eq!(status(refused(421, "4.7.28 slow"), Class::RateLimited, Ending::Expired), "4.7.28");
        assert_eq!(status(refused(550, "no such user"), Class::InvalidRecipient, Ending::Bounced), "5.1.1");
        assert_eq!(status(refused(552, "no"), Class::TransientOther, Ending::Bounced), "5.2.2");
        assert_eq!(status(None, Class::TransientOther, Ending::Expired), "4.4.7");
    }

    #[test]
    fn every_local_cause_has_a_code_of_its_subject() {
        let local =
            |cause, ending| status(Some(Failure::Local { stage: Stage::Dns, cause, detail: String::new() }), Class::TransientOther, ending);
        assert_eq!(local(LocalCause::NullMx, Ending::Bounced), "5.1.10");
        assert_eq!(local(LocalCause::ConnectTimeout, Ending::Expired), "4.4.1");
        for &cause in LocalCause::ALL {
            assert_ne!(local(cause, Ending::Bounced), "5.0.0", "{cause}");
        }
    }

    #[test]
    fn a_diagnostic_says_whose_words_it_holds() {
        let said = |failure| diagnostic(&recipient(failure, Class::TransientOther, Ending::Expired)).unwrap();
        assert_eq!(said(refused(550, "5.1.1 No\nsuch user")), "smtp; 550 5.1.1 No\r\n such user");
        let local = |cause, detail: &str| Some(Failure::Local { stage: Stage::Dns, cause, detail: detail.into() });
        let gone = said(local(LocalCause::NoSuchDomain, "example.org does not exist"));
        assert_eq!(gone, "x-posthaste; no_such_domain: example.org does not exist");
        let held = local(LocalCause::NoBudget, "ip1 at google: the day's 50 are used");
        assert_eq!(said(held.clone()), "x-posthaste; no_budget: it waited until it expired", "the rest is for operators");
        let answer = Answered { mx_host: None, stage: Stage::Rcpt, reply: Reply::new(451, "4.7.1 slow down") };
        let earlier = NoticeRecipient { earlier: Some(answer), ..recipient(held, Class::RateLimited, Ending::Expired) };
        assert_eq!(diagnostic(&earlier).unwrap(), "smtp; 451 4.7.1 slow down");
    }
}
