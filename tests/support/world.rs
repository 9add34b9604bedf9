//! A relay with one receiver and a DNS that leads to it.

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
    /// Starts everything, with this TOML on top of the tests' configuration.
    pub fn start(extra: &str) -> Self {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
        let relay = relay(&dns, mx.port(), extra);
        Self { relay, mx, dns }
    }
}

/// The same, for a relay that needs files in its folder or users before it starts: `prepare` makes them and returns more TOML.
pub fn listening(prepare: impl FnOnce(&Relay) -> String) -> World {
    let (dns, mx) = (DnsServer::start(), FakeMx::start());
    dns.mx("example.test", 10, "mx1.example.test").a("mx1.example.test", "127.0.0.1");
    let mut relay = Relay::prepare(&route(&dns, mx.port()));
    let more = prepare(&relay);
    relay.configure(&more);
    relay.run();
    World { relay, mx, dns }
}

fn route(dns: &DnsServer, port: u16) -> String {
    format!("dns.nameservers = [\"{}\"]\ndns.private_addresses = true\ndelivery.port = {port}\n", dns.address())
}

/// The TOML for a relay that uses this DNS and delivers to this port.
pub fn relay(dns: &DnsServer, port: u16, extra: &str) -> Relay {
    Relay::start(&format!("{}{extra}", route(dns, port)))
}
