//! `[route]`: hosts for domains, used instead of DNS.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use posthaste_mail::Domain;

use super::{
    Delivery, Place, Secret, Tls, TlsPolicy,
    domains::{ByDomain, Pattern},
    reader::{Item, Parsed, Table, fault},
    tls::policy,
    value::{expected, line, one_or_more, string},
};

/// Where the mail of some domains goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Hosts, tried in this order. At least one.
    pub hosts: Vec<NextHop>,
    /// How this relay authenticates there.
    pub auth: Option<Auth>,
    /// The TLS policy; None: that of `[tls]`.
    pub tls: Option<TlsPolicy>,
}

/// A host to deliver to: its addresses are looked up, its MX records are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// A name, or an address literal, `[192.0.2.1]`.
    pub host: Domain,
    /// The port.
    pub port: u16,
}

/// A user at a smart host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The user.
    pub user: String,
    /// The password, as read from `password_file`, without the line end.
    pub password: Secret,
}

impl Route {
    pub(super) fn read_all(t: &Table<'_>, place: &Place<'_>, delivery: &Delivery, tls: &Tls) -> ByDomain<Self> {
        let hop = |item: Item<'_>| next_hop(item, delivery.port);
        let hops = one_or_more(&hop);
        let routes = t.entries(Pattern::new, |t, word| {
            if t.is_table(word) {
                t.entry(word, |t| Self::read(t, place, &hops, tls))
            } else {
                t.given(word, &hops).map(|hosts| Self { hosts, auth: None, tls: None })
            }
        });
        routes.into_iter().collect()
    }

    fn read(t: &Table<'_>, place: &Place<'_>, hops: impl Fn(Item<'_>) -> Parsed<Vec<NextHop>>, tls: &Tls) -> Option<Self> {
        let hosts = t.need("hosts", hops);
        let auth = Auth::read(t, place);
        let policy = t.given("tls", policy);
        let hosts = hosts?;
        let exposed = !matches!(policy.unwrap_or(tls.rule.policy), TlsPolicy::Require | TlsPolicy::Verify);
        if exposed && auth.is_some() && !hosts.iter().all(NextHop::is_loopback) {
            t.object("user", "the password could cross the network in the clear: add tls = \"verify\" (or \"require\") to this route");
        }
        Some(Self { hosts, auth, tls: policy })
    }
}

impl fmt::Display for NextHop {
    /// `host:port`, with brackets around IPv6 addresses alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.literal() {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl NextHop {
    fn is_loopback(&self) -> bool {
        self.host.literal().map_or(self.host.as_str() == "localhost", |ip| ip.is_loopback())
    }
}

impl Auth {
    pub(super) fn read(t: &Table<'_>, place: &Place<'_>) -> Option<Self> {
        let user = t.given("user", line(255));
        let password = t.given("password_file", |item| place.secret(item));
        match (t.has("user"), t.has("password_file")) {
            (true, false) => t.object("user", "a user needs a password: add password_file = \"…\""),
            (false, true) => t.object("password_file", "a password needs a user: add user = \"…\""),
            _ => {}
        }
        Some(Self { user: user?, password: password? })
    }
}

pub(super) fn next_hop(item: Item<'_>, default_port: u16) -> Parsed<NextHop> {
    const WANTED: &str = r#"a host with or without a port, such as "mx.example.net:587", "192.0.2.1" or "[2001:db8::1]:25""#;
    let text = string(item)?;
    // None of the colons in a bare IPv6 address begins a port.
    let (host, port) = match text.rsplit_once(':') {
        _ if text.parse::<IpAddr>().is_ok() => (text, None),
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
        return expected(item, WANTED);
    }
    let port = port.map_or(Some(default_port), |p| p.parse().ok().filter(|p| *p != 0));
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let host = match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Domain::new(&format!("[{ip}]")),
        Ok(IpAddr::V6(ip)) => Domain::new(&format!("[IPv6:{ip}]")),
        Err(_) => Domain::new(host),
    };
    match (host, port) {
        (Ok(host), Some(port)) => Ok(NextHop { host, port }),
        (Ok(_), None) => fault(item, "the port must be from 1 to 65535"),
        (Err(_), _) => expected(item, WANTED),
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeValue;

    use super::*;

    fn hop(text: &str) -> Option<String> {
        let toml = format!("{text:?}");
        let item = DeValue::parse(&toml).unwrap();
        next_hop(&item, 25).ok().map(|hop| hop.to_string())
    }

    #[test]
    fn a_next_hop_is_a_name_or_an_address_with_or_without_a_port() {
        let read = [
            "mx.example.net:587",
            "mx.example.net",
            "192.0.2.1:26",
            "192.0.2.1",
            "[192.0.2.1]:26",
            "2001:db8::1",
            "[2001:DB8::1]:2525",
            "[::1]",
        ];
        let hops = read.map(|text| hop(text).unwrap());
        let want = [
            "mx.example.net:587",
            "mx.example.net:25",
            "192.0.2.1:26",
            "192.0.2.1:25",
            "192.0.2.1:26",
            "[2001:db8::1]:25",
            "[2001:db8::1]:2525",
            "[::1]:25",
        ];
        assert_eq!(hops, want);
        for bad in ["", ":25", "mx:0", "mx:65536", "mx:smtp", "mx example", "[::1", "smtp://mx"] {
            assert_eq!(hop(bad), None, "{bad:?}");
        }
    }
}
