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

/// Addresses that no mail host of a domain on the Internet has (RFC 6890): loopback, RFC 1918, shared, link-local, unique local, for
/// documentation or benchmarks; and those of IPv6 that a gateway or the kernel takes for such an address of IPv4.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6) || embedded(v6).is_some_and(|v4| is_private_v4(v4) || !is_reachable(v4.into())),
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    // Shared address space of carriers (RFC 6598), protocol assignments, benchmarks (RFC 2544).
    let special = matches!((a, b, c), (100, 64..128, _) | (192, 0, 0) | (198, 18 | 19, _));
    special || v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_documentation()
}

fn is_private_v6(v6: Ipv6Addr) -> bool {
    let [a, b, c, ..] = v6.segments();
    let documentation = (a, b) == (0x2001, 0xdb8) || (a == 0x3fff && b < 0x1000);
    // Site-local addresses (RFC 3879), the NAT64 prefix for local use (RFC 8215): nobody knows what such a gateway takes them for.
    let local = a & 0xffc0 == 0xfec0 || (a, b, c) == (0x64, 0xff9b, 1);
    v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local() || documentation || local
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
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
        let v4 = ["127.0.0.2", "10.1.1.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.8", "198.19.0.1"];
        let v6 = ["::1", "fd00::1", "fe80::1", "fec0::1", "2001:db8::1", "3fff:fff::1", "64:ff9b:1::808:808"];
        let as_v4 = ["::ffff:127.0.0.1", "::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::0.0.0.1", "2002:a00:1::1", "64:ff9b::a9fe:a9fe"];
        for private in v4.into_iter().chain(v6).chain(as_v4).chain(["192.0.2.1", "198.51.100.1", "203.0.113.1"]) {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2a00:1450::1", "64:ff9b::8.8.8.8", "2002:808:808::1", "198.20.0.1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
