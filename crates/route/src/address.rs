//! Which addresses a mail host can have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a mail host can have this address. Unspecified, broadcast, multicast and reserved addresses reach nobody, and a link-local IPv6
/// address means nothing without its interface.
pub(crate) fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        // 0.0.0.0/8 and 240.0.0.0/4 with the broadcast address (RFC 6890).
        IpAddr::V4(v4) => !matches!(v4.octets()[0], 0 | 224..),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
    }
}

/// Loopback, RFC 1918, shared, link-local and unique local (RFC 4193) addresses: never the mail host of a domain on the Internet.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local() || is_shared(v4),
        IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local(),
    }
}

/// 100.64.0.0/10, shared address space of carriers (RFC 6598).
fn is_shared(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    a == 100 && (64..128).contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_reached_at_any_all_a_group_or_a_reserved_address() {
        for bad in ["0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "250.0.0.1", "::", "ff02::1", "fe80::1", "::ffff:192.0.2.1"] {
            assert!(!is_reachable(bad.parse().unwrap()), "{bad}");
        }
        for good in ["192.0.2.1", "127.0.0.1", "10.0.0.1", "223.255.255.255", "2001:db8::1", "::1", "fd00::1"] {
            assert!(is_reachable(good.parse().unwrap()), "{good}");
        }
    }

    #[test]
    fn private_addresses_are_known() {
        for private in ["127.0.0.2", "10.1.1.1", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "::1", "fd00::1"] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["192.0.2.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
