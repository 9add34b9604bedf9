//! Which hosts are this relay itself: mail that went there would come back (RFC 5321 §5.1).

use std::net::{IpAddr, SocketAddr};

/// By what a host is known to be this relay. The default knows nothing of it: no host is.
#[derive(Clone, Debug)]
pub struct Ourselves {
    /// The names by which it calls itself in greetings and in EHLO, in lower case without the final dot.
    pub names: Vec<String>,
    /// The addresses that it listens on, as bound: an unspecified one is every address of this machine.
    pub listeners: Vec<SocketAddr>,
    /// Whether this machine has an address.
    pub is_here: fn(IpAddr) -> bool,
}

impl Ourselves {
    /// Whether a host of this name is this relay.
    pub(crate) fn is_named(&self, host: &str) -> bool {
        self.names.iter().any(|name| name == host)
    }

    /// Whether this relay listens at this address.
    pub fn listens_at(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.listeners.iter().filter(|listener| listener.port() == address.port()).any(|listener| match listener.ip().to_canonical() {
            IpAddr::V4(any) if any.is_unspecified() => ip.is_ipv4() && self.is_own(ip),
            // A socket of IPv6 that is bound to all addresses may take connections over IPv4 too.
            IpAddr::V6(any) if any.is_unspecified() => self.is_own(ip),
            bound => bound == ip,
        })
    }

    /// The kernel takes a connection to the unspecified address for one to loopback.
    fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip.is_unspecified() || (self.is_here)(ip)
    }
}

impl Default for Ourselves {
    fn default() -> Self {
        Self { names: Vec::new(), listeners: Vec::new(), is_here: |_| false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_met_at_its_address_and_one_on_all_addresses_at_any_of_this_machine() {
        let listeners = ["127.0.0.1:25", "0.0.0.0:587", "[::]:465"].map(|address| address.parse().unwrap());
        let ours = Ourselves { names: Vec::new(), listeners: listeners.into(), is_here: |ip| ip.to_string().ends_with("77") };
        let met = [
            "127.0.0.1:25",
            "[::ffff:127.0.0.1]:25",
            "127.0.0.9:587",
            "192.0.2.77:587",
            "192.0.2.77:465",
            "[::1]:465",
            "[2001:db8::77]:465",
        ];
        for own in met {
            assert!(ours.listens_at(own.parse().unwrap()), "{own}");
        }
        for other in ["127.0.0.2:25", "192.0.2.77:25", "127.0.0.1:26", "192.0.2.1:587", "[2001:db8::77]:587", "[::1]:25"] {
            assert!(!ours.listens_at(other.parse().unwrap()), "{other}");
        }
    }
}
