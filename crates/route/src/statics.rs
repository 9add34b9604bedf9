//! Static routes: the operator says where a domain's mail goes, whatever DNS says.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use posthaste_mail::Domain;

/// The static routes. The most specific one applies: the domain itself, then the longest `.parent`, then `*`.
#[derive(Clone, Debug, Default)]
pub struct StaticRoutes {
    exact: HashMap<Box<str>, Arc<[Target]>>,
    /// By parent, without the leading dot.
    below: HashMap<Box<str>, Arc<[Target]>>,
    all: Option<Arc<[Target]>>,
}

/// A host that the operator named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: TargetHost,
    /// None: the resolver's default port.
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TargetHost {
    /// Looked up by A and AAAA only: the operator means this host, not its mail exchanger.
    Named(Arc<str>),
    Address(IpAddr),
}

/// Why a static route is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The pattern is no domain.
    #[error("{0:?} matches no domain: write \"example.com\", \".example.com\" for all below it, or \"*\"")]
    Pattern(String),
    /// The pattern has a route already.
    #[error("{0:?} has a route already")]
    Twice(String),
    /// The list of hosts is empty.
    #[error("the route for {0:?} names no host")]
    NoHosts(String),
    /// A host cannot be parsed.
    #[error("{host:?} in the route for {pattern:?} is no host: write \"host:port\", \"192.0.2.1:port\" or \"[2001:db8::1]:port\"")]
    Host {
        /// The pattern.
        pattern: String,
        /// The host as given.
        host: String,
    },
}

impl StaticRoutes {
    /// No static routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route. The pattern is `example.com` (or an address literal), `.example.com` for every domain below it but not itself, or `*`
    /// for all other domains (a smart host). The hosts, in the order to try, are `host:port` or `[address]:port`; the port may be omitted.
    pub fn add<H: AsRef<str>>(&mut self, pattern: &str, hosts: &[H]) -> Result<(), RouteError> {
        let targets = targets(pattern, hosts)?;
        let twice = || RouteError::Twice(pattern.to_owned());
        if pattern == "*" {
            return self.all.replace(targets).map_or(Ok(()), |_| Err(twice()));
        }
        let (map, domain) = match pattern.strip_prefix('.') {
            Some(parent) => (&mut self.below, parent),
            None => (&mut self.exact, pattern),
        };
        let domain = Domain::new(domain).map_err(|_| RouteError::Pattern(pattern.to_owned()))?;
        map.insert(domain.as_str().into(), targets).map_or(Ok(()), |_| Err(twice()))
    }

    pub(crate) fn find(&self, domain: &Domain) -> Option<&Arc<[Target]>> {
        let name = domain.as_str();
        let parents = name.match_indices('.').map(|(dot, _)| &name[dot + 1..]).filter(|_| domain.literal().is_none());
        self.exact.get(name).or_else(|| parents.into_iter().find_map(|parent| self.below.get(parent))).or(self.all.as_ref())
    }
}

impl Target {
    /// The host as written in logs and keys.
    pub(crate) fn name(&self) -> Arc<str> {
        match &self.host {
            TargetHost::Named(name) => Arc::clone(name),
            TargetHost::Address(ip) => ip.to_string().into(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let port = (address.port() != 0).then(|| address.port());
            return port.map(|port| Self { host: TargetHost::Address(address.ip()), port: Some(port) });
        }
        // The last colon ends the name, unless it is part of an IPv6 address.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse::<u16>().ok().filter(|port| *port != 0)?)),
            _ => (text, None),
        };
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            let bracketed = bare.len() != host.len();
            return (bracketed || ip.is_ipv4()).then_some(Self { host: TargetHost::Address(ip), port });
        }
        let name = Domain::new(host).ok().filter(|name| name.literal().is_none())?;
        Some(Self { host: TargetHost::Named(name.as_str().into()), port })
    }
}

fn targets<H: AsRef<str>>(pattern: &str, hosts: &[H]) -> Result<Arc<[Target]>, RouteError> {
    if hosts.is_empty() {
        return Err(RouteError::NoHosts(pattern.to_owned()));
    }
    let refused = |host: &str| RouteError::Host { pattern: pattern.to_owned(), host: host.to_owned() };
    hosts.iter().map(|host| Target::parse(host.as_ref()).ok_or_else(|| refused(host.as_ref()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, port: Option<u16>) -> Option<Target> {
        Some(Target { host: TargetHost::Named(name.into()), port })
    }

    fn address(ip: &str, port: Option<u16>) -> Option<Target> {
        Some(Target { host: TargetHost::Address(ip.parse().unwrap()), port })
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        assert_eq!(Target::parse("Mail.Example.com:2525"), named("mail.example.com", Some(2525)));
        assert_eq!(Target::parse("localhost"), named("localhost", None));
        assert_eq!(Target::parse("192.0.2.1:26"), address("192.0.2.1", Some(26)));
        assert_eq!(Target::parse("192.0.2.1"), address("192.0.2.1", None));
        assert_eq!(Target::parse("[192.0.2.1]:26"), address("192.0.2.1", Some(26)));
        assert_eq!(Target::parse("[2001:db8::1]:26"), address("2001:db8::1", Some(26)));
        assert_eq!(Target::parse("[2001:db8::1]"), address("2001:db8::1", None));
    }

    #[test]
    fn anything_else_is_no_host() {
        for bad in ["", ":25", "a:", "a:0", "a:65536", "a:smtp", "a b:25", "2001:db8::1", "[x]:25", "[IPv6:::1]:25", "192.0.2.1:0", "a..b"]
        {
            assert_eq!(Target::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_most_exact_route_wins() {
        let mut routes = StaticRoutes::new();
        for pattern in ["a.example.com", ".example.com", ".b.example.com", "*", "[192.0.2.9]"] {
            routes.add(pattern, &[format!("host-for{}", pattern.replace(['*', '[', ']'], "-x").replace('.', "-"))]).unwrap();
        }
        let found = |domain: &str| routes.find(&Domain::new(domain).unwrap()).unwrap()[0].name().to_string();
        assert_eq!(found("a.example.com"), "host-fora-example-com");
        assert_eq!(found("c.example.com"), "host-for-example-com");
        assert_eq!(found("c.b.example.com"), "host-for-b-example-com");
        assert_eq!(found("b.example.com"), "host-for-example-com");
        assert_eq!(found("example.com"), "host-for-x");
        assert_eq!(found("notexample.com"), "host-for-x");
        assert_eq!(found("[192.0.2.9]"), "host-for-x192-0-2-9-x");
    }

    #[test]
    fn without_a_fitting_rule_there_is_no_static_route() {
        let mut routes = StaticRoutes::new();
        routes.add(".example.com", &["h:25"]).unwrap();
        assert!(routes.find(&Domain::new("example.com").unwrap()).is_none());
        assert!(routes.find(&Domain::new("example.org").unwrap()).is_none());
    }

    #[test]
    fn a_wrong_route_says_what_is_wrong() {
        let mut routes = StaticRoutes::new();
        assert_eq!(routes.add("a b", &["h"]), Err(RouteError::Pattern("a b".into())));
        assert_eq!(routes.add("*.example.com", &["h"]), Err(RouteError::Pattern("*.example.com".into())));
        assert_eq!(routes.add::<&str>("a.com", &[]), Err(RouteError::NoHosts("a.com".into())));
        let host = RouteError::Host { pattern: "a.com".into(), host: "x:99999".into() };
        assert_eq!(routes.add("a.com", &["h:25", "x:99999"]), Err(host));
        for pattern in ["a.com", ".a.com", "*"] {
            routes.add(pattern, &["h:25"]).unwrap();
            assert_eq!(routes.add(pattern, &["h:26"]), Err(RouteError::Twice(pattern.into())));
        }
    }
}
