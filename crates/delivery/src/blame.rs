//! Whether a refusal for a bad reputation is about the address that mail was sent from. Only then a lane is to stop for it.

use std::net::IpAddr;

use posthaste_bounce::Verdict;
use posthaste_mail::{Action, Class, Failure, Reply, Scope, Stage};

/// The verdict, without consequences for the lane where the refusal is not about the lane:
///
/// - A smart host serves all mail. What it says of a recipient or a message is not about the connection to it, unless it closes that with a
///   421, or names the login's own limit.
/// - The reply names addresses, and ours is not among them.
pub(crate) fn not_of_the_lane(verdict: Verdict, failure: &Failure, smart_host: bool, source: Option<IpAddr>) -> Verdict {
    let Failure::Refused { stage, reply } = failure else { return verdict };
    let of_one = smart_host && is_about_mail(*stage, reply) && !limits_the_login(&reply.text);
    let of_others = verdict.action == Action::PauseLane && names_others(&reply.text, source);
    if !(matches!(verdict.action, Action::PauseLane | Action::SlowDown) && (of_one || of_others)) {
        return verdict;
    }
    let action = if verdict.permanent { Action::None } else { Action::Retry };
    let scope = if verdict.class == Class::RateLimited { Scope::Recipient } else { Scope::Provider };
    Verdict { action, scope, ..verdict }
}

fn is_about_mail(stage: Stage, reply: &Reply) -> bool {
    matches!(stage, Stage::Rcpt | Stage::Data | Stage::Dot) && reply.code != 421
}

/// Whether a smart host says that the login has used up what it may send. Large ones say so only when they have the message.
fn limits_the_login(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    LIMITS_OF_LOGINS.iter().any(|words| text.contains(words))
}

/// Words of Amazon SES, Google, Microsoft and hosting companies for it.
const LIMITS_OF_LOGINS: [&str; 6] =
    ["sending limit", "sending rate", "sending quota", "daily message quota", "throttling failure", "your account"];

/// Whether a text names addresses of hosts, none of them ours. An address that others see in another way (behind NAT) may be any of them.
fn names_others(text: &str, source: Option<IpAddr>) -> bool {
    let Some(source) = source.filter(|source| !is_private(*source)) else { return false };
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':'))).map(|word| word.trim_matches(['.', ':']));
    let mut named = words.filter_map(|word| word.parse::<IpAddr>().ok()).filter(|ip| !is_answer(*ip)).peekable();
    named.peek().is_some() && named.all(|ip| ip != source)
}

/// Block lists answer with addresses of 127.0.0.0/8, which replies sometimes quote.
fn is_answer(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        // RFC 6598 §7: 100.64.0.0/10 stands behind a carrier's NAT.
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use posthaste_bounce::{Context, Rules};

    const LISTED: &str = "5.7.1 Service unavailable; Client host [203.0.113.9] blocked using zen.spamhaus.org; answer 127.0.0.2";

    fn action(stage: Stage, text: &str, smart_host: bool, source: &str) -> Action {
        let failure = Failure::Refused { stage, reply: Reply::new(554, text) };
        let verdict = Rules::shipped().classify(&failure, &Context::default());
        assert_eq!(verdict.action, Action::PauseLane, "{text}");
        not_of_the_lane(verdict, &failure, smart_host, source.parse().ok()).action
    }

    #[test]
    fn a_lane_stops_for_its_own_address_alone() {
        assert_eq!(action(Stage::Rcpt, LISTED, false, "203.0.113.9"), Action::PauseLane);
        assert_eq!(action(Stage::Rcpt, LISTED, false, "203.0.113.10"), Action::None, "another one's");
        assert_eq!(action(Stage::Rcpt, LISTED, false, "10.1.2.3"), Action::PauseLane, "behind NAT it may be ours");
        assert_eq!(action(Stage::Rcpt, "5.7.1 your IP is listed at zen.spamhaus.org", false, "203.0.113.9"), Action::PauseLane);
    }

    #[test]
    fn what_a_smart_host_says_of_one_recipient_stops_nobody_else() {
        for stage in [Stage::Rcpt, Stage::Data, Stage::Dot] {
            assert_eq!(action(stage, LISTED, true, "203.0.113.9"), Action::None, "{stage}");
        }
        assert_eq!(action(Stage::Banner, LISTED, true, "203.0.113.9"), Action::PauseLane, "it refuses us");
    }

    #[test]
    fn a_rate_at_one_recipient_of_a_smart_host_slows_nobody_else() {
        let action = |stage, code, text: &str, smart_host| {
            let failure = Failure::Refused { stage, reply: Reply::new(code, text) };
            let verdict = Rules::shipped().classify(&failure, &Context::default());
            not_of_the_lane(verdict, &failure, smart_host, None).action
        };
        for (code, text) in [
            (450, "4.7.1 too many messages to this user, try again later"),
            (451, "4.7.1 rate limit exceeded"),
            (452, "4.3.1 too many messages"),
            (450, "4.2.1 the user you are trying to contact is receiving mail too quickly"),
        ] {
            for stage in [Stage::Rcpt, Stage::Data, Stage::Dot] {
                assert_eq!(action(stage, code, text, true), Action::Retry, "{stage} {code} {text}");
            }
        }
        let slow = "4.7.0 too many messages, slow down";
        assert_eq!(action(Stage::Rcpt, 450, slow, false), Action::SlowDown, "a receiver's lane");
        assert_eq!(action(Stage::Mail, 450, slow, true), Action::SlowDown, "nobody was named yet");
        assert_eq!(action(Stage::Rcpt, 421, slow, true), Action::SlowDown, "it closes");
        assert_eq!(action(Stage::Dot, 454, "Throttling failure: maximum sending rate exceeded", true), Action::SlowDown, "the login's own");
    }
}
