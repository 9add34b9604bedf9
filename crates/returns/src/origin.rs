//! Where a report comes from: whether the side that received the message wrote it, as far as that can be known.
//!
//! A keyed reverse-path is told to the receiving host alone, but that host writes it into the message (Return-Path), and whoever is given
//! the message with that field can send there too. So the way that a report comes counts as well.

use std::{net::IpAddr, sync::Arc};

use posthaste_dkim::author::AuthorClaim;
use posthaste_mail::Address;
use posthaste_route::{Providers, registrable_domain};
use posthaste_verp::{OpenedPath, Verp};

use crate::sent::{Ending, SentTo};

/// Where a report comes from, for the message that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// From the address of the host that took the message.
    Network,
    /// From a host whose confirmed name is that of the host that took the message, or is in the recipient's domain.
    Name,
    /// From a host whose confirmed name is one of those from which the provider that took the message sends its own reports.
    Provider,
    /// Signed by the receiving side's own mail system, and addressed to this reverse-path.
    Signature,
    /// From any other host.
    Elsewhere,
    /// From a host that gave a sender, as programs of people do, not the empty one of reports (RFC 3464 §2).
    Sender,
    /// Fetched from a mailbox: who handed it in there is not known. Its header may say so, but a stranger may have written that.
    Mailbox,
    /// About a message that nobody is known to have taken.
    Undelivered,
    /// About a message that ended otherwise than delivered: its bounce was counted then.
    Ended,
}

impl Origin {
    /// All of them.
    const ALL: [Self; 9] = [
        Self::Network,
        Self::Name,
        Self::Provider,
        Self::Signature,
        Self::Elsewhere,
        Self::Sender,
        Self::Mailbox,
        Self::Undelivered,
        Self::Ended,
    ];

    /// Whether it is the side that received the message.
    pub(crate) fn is_receiving_side(self) -> bool {
        matches!(self, Self::Network | Self::Name | Self::Provider | Self::Signature)
    }

    /// The word in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Name => "name",
            Self::Provider => "provider",
            Self::Signature => "signature",
            Self::Elsewhere => "elsewhere",
            Self::Sender => "sender",
            Self::Mailbox => "mailbox",
            Self::Undelivered => "undelivered",
            Self::Ended => "ended",
        }
    }

    /// What this word says.
    pub(crate) fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == word)
    }
}

/// What is known of the way that a mail came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// The host that handed it in by SMTP; None: it was fetched from a mailbox.
    pub(crate) host: Option<PeerHost>,
    /// Whether it came with the empty reverse-path.
    pub(crate) is_from_nobody: bool,
    /// The claims of its signatures that were verified.
    pub(crate) authors: Vec<AuthorClaim>,
}

/// A host that hands in a mail.
#[derive(Clone, Debug)]
pub(crate) struct PeerHost {
    /// Its address.
    pub(crate) ip: IpAddr,
    /// Its confirmed names, in lower case; None: not looked up yet.
    pub(crate) names: Option<Arc<[String]>>,
}

/// What is needed to say where a report comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origins<'a> {
    /// The way that it came.
    pub(crate) way: &'a Way,
    /// The table of providers.
    pub(crate) providers: &'a Providers,
}

impl Origins<'_> {
    /// Where a report about this recipient comes from, if `verp` opens its reverse-paths.
    pub(crate) fn of(&self, sent: &SentTo, verps: &[Verp]) -> Origin {
        match sent.ending {
            Ending::Delivered => {}
            Ending::Otherwise => return Origin::Ended,
            Ending::Open => return Origin::Undelivered,
        }
        if self.way.authors.iter().any(|claim| self.is_by_its_mail_system(claim, sent, verps)) {
            return Origin::Signature;
        }
        let Some(host) = &self.way.host else { return Origin::Mailbox };
        if !self.way.is_from_nobody {
            return Origin::Sender;
        }
        if sent.lane.mx_ip.is_some_and(|mx| mx.to_canonical() == host.ip.to_canonical()) {
            return Origin::Network;
        }
        let mut found = Origin::Elsewhere;
        for name in host.names.iter().flat_map(|names| names.iter()).filter(|name| !is_a_lines(name, host.ip) && !is_a_customers(name)) {
            if is_the_mx(name, sent) || is_in(name, sent.address.domain()) {
                return Origin::Name;
            }
            if self.is_of_provider(name, sent) {
                found = Origin::Provider;
            }
        }
        found
    }

    /// Whether a claim, if its signature verifies, says that the receiving side's mail system wrote the report to this recipient's
    /// reverse-path. Many domains sign what their users write, so From has to be a name that no user has, and To the reverse-path itself,
    /// because a signed mail can be sent again to any other.
    pub(crate) fn is_by_its_mail_system(&self, claim: &AuthorClaim, sent: &SentTo, verps: &[Verp]) -> bool {
        let Some((who, at)) = claim.from.rsplit_once('@') else { return false };
        let Ok(to) = Address::new(&claim.to) else { return false };
        let is_its_path = || {
            let opened = verps.iter().filter_map(|verp| match verp.open(&to, sent.accepted) {
                OpenedPath::Valid(token) => Some((verp, token)),
                _ => None,
            });
            opened.into_iter().any(|(verp, token)| token.message == sent.facts.message && verp.is_for(&token, &sent.address))
        };
        MAIL_SYSTEMS.contains(&who)
            && is_same(&claim.domain, at)
            && (is_the_signers(&claim.domain, sent) || self.is_of_provider(&claim.domain, sent))
            && is_its_path()
    }

    fn is_of_provider(&self, name: &str, sent: &SentTo) -> bool {
        sent.lane.provider.as_ref().is_some_and(|provider| self.providers.of_reports(name) == Some(provider))
    }
}

/// The local parts that mail systems write reports as and that no user is given: RFC 2142 §5, RFC 3464 §2, and the one of Exchange.
const MAIL_SYSTEMS: [&str; 3] = ["mailer-daemon", "postmaster", "microsoftexchange329e71ec88ae4615bbc36ab6ce41109e"];

/// Whether a host's name is that of the host that took the message. What stands beside it in the same domain may be another customer's of the
/// same hoster, whether the public suffix list knows or not.
fn is_the_mx(name: &str, sent: &SentTo) -> bool {
    sent.lane.mx_host.as_deref().is_some_and(|mx| is_in(name, mx) && is_in(mx, name))
}

/// Whether a name is this domain, or in it.
fn is_in(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.trim_end_matches('.'), domain.trim_end_matches('.'));
    let begins = name.len().checked_sub(domain.len());
    let ends = begins.and_then(|at| Some((at, name.get(at..)?))).filter(|(_, end)| !domain.is_empty() && end.eq_ignore_ascii_case(domain));
    ends.is_some_and(|(at, _)| at == 0 || name[..at].ends_with('.'))
}

/// Whether a domain that signs is the recipient's or the receiving host's, or above it: who is above a name decides about it. A name below
/// or beside may be anybody's.
fn is_the_signers(domain: &str, sent: &SentTo) -> bool {
    let above = is_in(sent.address.domain(), domain) || sent.lane.mx_host.as_deref().is_some_and(|mx| is_in(mx, domain));
    above && registrable_domain(domain).is_some()
}

fn is_same(one: &str, other: &str) -> bool {
    registrable_domain(one).is_some_and(|domain| registrable_domain(other).as_ref() == Some(&domain))
}

/// Words in the names that hosters and carriers give to machines and lines of their customers.
const CUSTOMERS: [&str; 21] = [
    "static",
    "dynamic",
    "dyn",
    "client",
    "clients",
    "customer",
    "customers",
    "cust",
    "vps",
    "vserver",
    "dedi",
    "dedicated",
    "pool",
    "dsl",
    "adsl",
    "cable",
    "dip",
    "ppp",
    "vm",
    "compute",
    "colo",
];

/// Whether a name has one of these words, with or without a number.
fn is_a_customers(name: &str) -> bool {
    let words = name.split(['.', '-']).map(|word| word.trim_matches(|c: char| c.is_ascii_digit()));
    words.into_iter().any(|word| CUSTOMERS.iter().any(|known| known.eq_ignore_ascii_case(word)))
}

/// Whether a name is of the kind that providers give to all lines and machines of their customers: one made of the address. Such a host is
/// the provider's only by its name.
fn is_a_lines(name: &str, ip: IpAddr) -> bool {
    let packed: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let numbers: Vec<u32> = name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
            let octets = ip.octets();
            let padded = |order: &[u8]| order.iter().map(|octet| format!("{octet:03}")).collect::<String>();
            let backwards: Vec<u8> = octets.iter().rev().copied().collect();
            let hex = format!("{:08x}", ip.to_bits());
            octets.iter().all(|octet| numbers.contains(&u32::from(*octet)))
                || [padded(&octets), padded(&backwards), hex].iter().any(|form| packed.contains(form))
        }
        IpAddr::V6(ip) => {
            let nibbles = format!("{:032x}", ip.to_bits());
            let backwards: String = nibbles.chars().rev().collect();
            // The host's half is enough; the network's may be left out of the name.
            [&nibbles[16..], &backwards[..16]].iter().any(|half| packed.contains(*half))
        }
    }
}

#[cfg(test)]
mod tests;
