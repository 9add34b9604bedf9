//! A relay with one receiver and a DNS that leads there.

use crate::{dns::DnsServer, mx::FakeMx, relay::Relay};

/// Mail for example.test goes to `mx`.
pub struct World {
    /// The relay.
    pub relay: Relay,
    /// The receiver, mx1.example.test.
    pub mx: FakeMx,
    /// DNS.
    pub dns: DnsServer,
}

impl World {
    /// Everything started, with this TOML on top of the tests' configuration.
    pub fn start(extra: &str) -> Self {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
        let relay = relay(&dns, mx.port(), extra);
        Self { relay, mx, dns }
    }
}

/// A relay that asks this DNS and looks for receivers on this port.
pub fn relay(dns: &DnsServer, port: u16, extra: &str) -> Relay {
    Relay::start(&format!("dns.nameservers = [\"{}\"]\ndelivery.port = {port}\n{extra}", dns.address()))
}
