//! `[route]`: hosts for domains, used instead of DNS.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use posthaste_delivery::StaticRoute;
use posthaste_http::Http;
use posthaste_mail::{ByDomain, Domain, Login, Name, NextHop, Pattern};
use posthaste_route::Ourselves;
use posthaste_smtp::client::{PasswordNeeds, TlsPolicy};
use posthaste_submission::Listener;

use super::{
    delivery::Delivery,
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    tls::Tls,
    tls::policy,
    value::{expected, line, one_of, one_or_more, string},
};

/// The relay that is configured: mail that a route leads to it would come back.
pub(super) struct Itself<'c> {
    pub(super) hostname: &'c Domain,
    pub(super) listeners: &'c BTreeMap<Name, Listener>,
    pub(super) http: &'c Http,
}

pub(super) fn read_all(
    t: &Table<'_>,
    environment: &Environment<'_>,
    delivery: &Delivery,
    tls: &Tls,
    itself: &Itself<'_>,
) -> ByDomain<StaticRoute> {
    let hop = |item: Item<'_>| {
        let hop = next_hop(item, delivery.port)?;
        match itself.met_at(&hop, environment) {
            Some(listener) => fault(item, format!("{hop} is {listener}, so mail would come back to this relay: name another host or port")),
            None => Ok(hop),
        }
    };
    let hops = one_or_more(&hop);
    let routes = t.entries(Pattern::new, |t, word| {
        if t.is_table(word) {
            t.entry(word, |t| read(t, environment, &hops, tls))
        } else {
            t.given(word, &hops).map(|hosts| StaticRoute { hosts, auth: None, tls: None, password_needs: PasswordNeeds::default() })
        }
    });
    routes.into_iter().collect()
}

impl Itself<'_> {
    /// The listener of this relay that a connection to this host would reach, as the configuration names it. What other names lead to is
    /// seen when they are looked up.
    pub(super) fn met_at(&self, hop: &NextHop, environment: &Environment<'_>) -> Option<String> {
        let smtp = self.listeners.iter().map(|(name, listener)| (format!("listen.{name}"), &*listener.addresses));
        let mut all = smtp.chain([("http".to_owned(), self.http.own_addresses())]);
        let is_ours = hop.host == *self.hostname;
        let ip = match hop.host.literal() {
            Some(ip) => ip,
            None if hop.host.as_str() == "localhost" => Ipv4Addr::LOCALHOST.into(),
            None if is_ours => Ipv4Addr::LOCALHOST.into(),
            None => return None,
        };
        let meets = |listener: &SocketAddr| {
            let here = environment.host.has(ip);
            let ours = Ourselves { names: Vec::new(), listeners: vec![*listener], is_here: if here { |_| true } else { |_| false } };
            (is_ours && listener.port() == hop.port) || ours.listens_at(SocketAddr::new(ip, hop.port))
        };
        all.find(|(_, addresses)| addresses.iter().any(meets)).map(|(name, _)| name)
    }
}

const PASSWORD_NEEDS: [(&str, PasswordNeeds); 3] =
    [("certificate", PasswordNeeds::Certificate), ("encryption", PasswordNeeds::Encryption), ("nothing", PasswordNeeds::Nothing)];

fn read(t: &Table<'_>, environment: &Environment<'_>, hops: impl Fn(Item<'_>) -> Parsed<Vec<NextHop>>, tls: &Tls) -> Option<StaticRoute> {
    let hosts = t.need("hosts", hops);
    let auth = login(t, environment);
    let policy = t.given("tls", policy);
    let needs = t.given("password_needs", one_of(&PASSWORD_NEEDS));
    if needs.is_some() && !t.has("user") {
        t.object("password_needs", "there is no password: add user = \"…\" and password_file = \"…\"");
    }
    let (hosts, password_needs) = (hosts?, needs.unwrap_or_default());
    let never = match policy.unwrap_or(tls.rule.policy) {
        TlsPolicy::None => password_needs != PasswordNeeds::Nothing,
        TlsPolicy::Opportunistic => password_needs == PasswordNeeds::Certificate,
        TlsPolicy::Require | TlsPolicy::Verify => false,
    };
    if never && auth.is_some() && !hosts.iter().all(NextHop::is_loopback) {
        t.object(
            "user",
            "the TLS of this route does not ask for what the password needs, so that it would not be sent: add tls = \"verify\" to this route",
        );
    }
    Some(StaticRoute { hosts, auth, tls: policy, password_needs })
}

pub(super) fn login(t: &Table<'_>, environment: &Environment<'_>) -> Option<Login> {
    let user = t.given("user", line(255));
    let password = t.given("password_file", |item| environment.secret(item));
    match (t.has("user"), t.has("password_file")) {
        // A `password` that is no key is one mistake, and is said.
        (true, false) if t.has("password") => {}
        (true, false) => t.object("user", "a user needs a password: add password_file = \"…\""),
        (false, true) => t.object("password_file", "a password needs a user: add user = \"…\""),
        _ => {}
    }
    Some(Login { user: user?, password: password? })
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
        Err(_) => Domain::international(host),
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
