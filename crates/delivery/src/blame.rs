//! Whether a refusal for a bad reputation is about the address that mail was sent from. Only then a lane is to stop for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use posthaste_bounce::Verdict;
use posthaste_mail::{Action, Class, Failure, Reply, Scope, Stage};

/// The verdict, without consequences for the lane where the refusal is not about the lane:
///
/// - A smart host serves all mail. What it says of a recipient or a message is not about the connection to it, unless it closes that with a
///   421, or names the login's own limit.
/// - The reply names addresses, and ours is not among them.
pub(crate) fn not_of_the_lane(verdict: Verdict, failure: &Failure, smart_host: bool, source: Option<IpAddr>) -> Verdict {
    let Failure::Refused { stage, reply } = failure else { return verdict };
    let of_one = smart_host && is_about_mail(*stage, reply) && !verdict.is_about_our_volume() && !limits_the_login(&reply.text);
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
    let text = text.replace("IPv6:", " ");
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '/' | '-')));
    let mut named =
        words.filter_map(|word| Named::read(word.trim_matches(['.', ':', '/', '-']))).filter(|named| !named.is_answer()).peekable();
    named.peek().is_some() && !named.any(|named| named.has(source))
}

/// What a reply names of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// An address, or its reverse before the zone of a block list (RFC 5782 §2.1): 4.2.0.192.zen.example.
    Address(IpAddr),
    /// All of a network.
    Network(IpNet),
    /// All from the first to the last.
    Range(IpAddr, IpAddr),
}

impl Named {
    fn read(word: &str) -> Option<Self> {
        if let Ok(address) = word.parse() {
            return Some(Self::Address(address));
        }
        if let Some((first, last)) = word.split_once('-') {
            let first = first.parse().ok()?;
            return Some(last.parse().map_or(Self::Address(first), |last| Self::Range(first, last)));
        }
        if let Ok(network) = word.parse() {
            return Some(Self::Network(network));
        }
        // The letters of a zone's name may be digits too: 4.2.0.192.bl.example, and a name without any is none.
        let labels: Vec<&str> = word.split('.').collect();
        nibbles(&labels).or_else(|| labels.get(..4)?.join(".").parse().ok()).map(Self::Address)
    }

    fn has(self, source: IpAddr) -> bool {
        match self {
            Self::Address(address) => address == source || reversed(address) == source,
            Self::Network(network) => network.contains(&source),
            Self::Range(first, last) => (first..=last).contains(&source),
        }
    }

    /// Block lists answer with addresses of 127.0.0.0/8, which replies sometimes quote.
    fn is_answer(self) -> bool {
        matches!(self, Self::Address(ip) if ip.is_loopback() || ip.is_unspecified())
    }
}

/// An IPv6 address before a zone: its 32 hexadecimal digits, the last one first (RFC 5782 §2.4).
fn nibbles(labels: &[&str]) -> Option<IpAddr> {
    let digits = labels.get(..32)?.iter().map(|label| u128::from_str_radix(label, 16).ok().filter(|digit| label.len() == 1 && *digit < 16));
    let value = digits.rev().try_fold(0_u128, |value, digit| Some(value << 4 | digit?))?;
    Some(Ipv6Addr::from_bits(value).into())
}

fn reversed(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            Ipv4Addr::new(d, c, b, a).into()
        }
        // These are read in their own order.
        IpAddr::V6(_) => address,
    }
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
    use posthaste_bounce::{Context, Rules};

    use super::*;

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
    fn an_address_is_named_by_its_network_and_by_its_name_at_a_block_list_too() {
        let names = |text: &str, source: &str| names_others(text, source.parse().ok());
        for text in [
            "9.113.0.203.zen.spamhaus.org",
            "see 9.113.0.203.bl.example and 127.0.0.2",
            "9.113.0.203.b.barracudacentral.org",
            "the network 203.0.113.0/24 is listed",
            "[203.0.112.0/23] is blocked",
            "203.0.113.0-203.0.113.255 is listed",
            "203.0.113.9/32",
            "203.0.113.9-refused",
        ] {
            assert!(!names(text, "203.0.113.9"), "{text}");
            assert!(names(text, "198.51.100.7"), "{text}");
        }
        let six = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.spamhaus.org 2001:db8::/32";
        for text in [six, "2001:db8::9 is listed", "[IPv6:2001:db8::9] is listed", "2001:db8::/32 is listed", &six[..85]] {
            assert!(!names(text, "2001:db8::9"), "{text}");
            assert!(names(text, "2001:db9::9"), "{text}");
        }
        assert!(!names("4.7.1 refused, error 12-34, 550/5 and 10.1", "203.0.113.9"), "no address");
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
        assert_eq!(
            action(Stage::Rcpt, 550, "Ihr Tageskontingent ist ersch\u{f6}pft", true),
            Action::SlowDown,
            "the login's own, in any language"
        );
        assert_eq!(action(Stage::Dot, 454, "Throttling failure: maximum sending rate exceeded", true), Action::SlowDown, "the login's own");
    }
}
