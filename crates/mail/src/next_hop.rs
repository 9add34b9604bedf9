//! Hosts to connect to, as people name them.

use std::{fmt, net::SocketAddr};

use crate::address::Domain;

/// A host to deliver to: its addresses are looked up, its MX records are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// A name, or an address literal, `[192.0.2.1]`.
    pub host: Domain,
    /// The port.
    pub port: u16,
}

impl NextHop {
    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host.literal().map_or(self.host.as_str() == "localhost", |ip| ip.is_loopback())
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
