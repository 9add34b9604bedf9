//! Whose mailboxes a route leads to.

use std::net::IpAddr;

use posthaste_mail::Name;

use crate::route::Host;

/// The provider behind a list of hosts that is sorted by preference: the registrable domain of the best one (the public
/// suffix list's word), so `gmail-smtp-in.l.google.com` is `google.com`; the address where there is no name.
///
/// Of equally preferred hosts the first by name speaks, so that shuffling them does not change the provider.
/// None when there are no hosts.
pub fn provider_of(hosts: &[Host]) -> Option<Name> {
    let best = hosts.first()?.preference;
    let speaker = hosts.iter().take_while(|host| host.preference == best).map(|host| &*host.name).min()?;
    Some(name_of(speaker))
}

/// Every way to a provider's name leads through here: a table of well-known providers has its place before the rest.
fn name_of(host: &str) -> Name {
    if host.parse::<IpAddr>().is_ok() {
        return fitted(host);
    }
    fitted(psl::domain_str(host).unwrap_or(host))
}

/// A name is shorter than a domain may be: keep the end, which says whose it is.
fn fitted(text: &str) -> Name {
    let start = text.len().saturating_sub(Name::MAX);
    Name::new(&text[start..]).expect("hosts are ASCII letters, digits, hyphens, underscores, dots and colons")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(hosts: &[(u16, &str)]) -> Option<String> {
        let host = |(preference, name): &(u16, &str)| Host { name: (*name).into(), preference: *preference, addresses: Vec::new() };
        provider_of(&hosts.iter().map(host).collect::<Vec<_>>()).map(|p| p.as_str().to_owned())
    }

    #[test]
    fn the_registrable_domain_of_the_best_host_is_the_provider() {
        let google = Some("google.com".to_owned());
        assert_eq!(provider(&[(5, "gmail-smtp-in.l.google.com"), (10, "mx.example.net")]), google);
        assert_eq!(provider(&[(1, "aspmx.l.google.com")]), google);
        assert_eq!(provider(&[(1, "mx.example.co.uk")]).as_deref(), Some("example.co.uk"));
        assert_eq!(provider(&[(1, "a-b.mail.protection.outlook.com")]).as_deref(), Some("outlook.com"));
        assert_eq!(provider(&[]), None);
    }

    #[test]
    fn the_order_of_equals_does_not_change_the_provider() {
        assert_eq!(provider(&[(1, "mx.b.example"), (1, "mx.a.example")]), provider(&[(1, "mx.a.example"), (1, "mx.b.example")]));
        assert_eq!(provider(&[(1, "mx.b.example"), (2, "mx.a.example")]).as_deref(), Some("b.example"));
    }

    #[test]
    fn a_host_without_a_registrable_domain_is_its_own_provider() {
        for own in ["192.0.2.1", "2001:db8::1", "localhost", "com"] {
            assert_eq!(provider(&[(1, own)]).as_deref(), Some(own));
        }
    }

    #[test]
    fn a_name_too_long_keeps_its_end() {
        let long = [&*"x".repeat(63), &*"y".repeat(63), &*"z".repeat(63)].join(".");
        let name = provider(&[(1, &long)]).unwrap();
        assert!(name.len() <= Name::MAX && long.ends_with(&name));
    }
}
