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
/// documentation or benchmarks; those of IPv6 outside of what is given out to hosts (2000::/3); and those that a gateway, a tunnel or the kernel
/// takes for such an address of IPv4.
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
    let [a, b, ..] = v6.segments();
    let documentation = (a, b) == (0x2001, 0xdb8) || (a == 0x3fff && b < 0x1000);
    // Protocol assignments (RFC 2928), Teredo, benchmarks and overlay identifiers among them.
    let protocols = a == 0x2001 && b < 0x200;
    let is_global = a & 0xe000 == 0x2000 || is_nat64(v6);
    !is_global || documentation || protocols
}

/// The well-known prefix (RFC 6052). That for local use (RFC 8215) is none of ours: nobody knows what such a gateway takes its addresses for.
fn is_nat64(v6: Ipv6Addr) -> bool {
    matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..])
}

/// The IPv4 address that an IPv6 address stands for: NAT64, 6to4 (RFC 3056), ISATAP (RFC 5214).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => v4(high, low),
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
        let tunnels = ["::ffff:0:127.0.0.1", "2001:0:a00:1::1", "2a00::5efe:127.0.0.1", "2a00::200:5efe:10.0.0.1"];
        let nowhere = ["100::1", "2001:2::1", "2001:10::1", "5f00::1", "4000::1", "8000::1", "e000::1", "1::1", "200::1", "::8.8.8.8"];
        for private in
            v4.into_iter().chain(v6).chain(as_v4).chain(tunnels).chain(nowhere).chain(["192.0.2.1", "198.51.100.1", "203.0.113.1"])
        {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "8.8.8.8",
            "100.128.0.1",
            "172.32.0.1",
            "2a00:1450::1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "198.20.0.1",
            "2001:4860::1",
            "2a00::5efe:8.8.8.8",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}
