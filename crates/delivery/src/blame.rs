//! Whether a refusal for a bad reputation is about the address that mail was sent from. Only then a lane is to stop for it.

use std::net::IpAddr;

use posthaste_bounce::Verdict;
use posthaste_mail::{Action, Failure, Scope, Stage};

/// The verdict, without a pause of the lane where the refusal is not about the lane's address:
///
/// - A smart host serves all mail. What it says of a recipient or a message is not about the connection to it.
/// - The reply names addresses, and ours is not among them.
pub(crate) fn not_of_the_lane(verdict: Verdict, failure: &Failure, smart_host: bool, source: Option<IpAddr>) -> Verdict {
    let Failure::Refused { stage, reply } = failure else { return verdict };
    if verdict.action != Action::PauseLane {
        return verdict;
    }
    let about_mail = matches!(stage, Stage::Rcpt | Stage::Data | Stage::Dot);
    if (smart_host && about_mail) || names_others(&reply.text, source) {
        let action = if verdict.permanent { Action::None } else { Action::Retry };
        return Verdict { action, scope: Scope::Provider, ..verdict };
    }
    verdict
}

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
    use posthaste_bounce::{Context, Rules};
    use posthaste_mail::Reply;

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
    fn what_a_smart_host_says_of_one_recipient_stops_nobody_else() {
        for stage in [Stage::Rcpt, Stage::Data, Stage::Dot] {
            assert_eq!(action(stage, LISTED, true, "203.0.113.9"), Action::None, "{stage}");
        }
        assert_eq!(action(Stage::Banner, LISTED, true, "203.0.113.9"), Action::PauseLane, "it refuses us");
    }
}
