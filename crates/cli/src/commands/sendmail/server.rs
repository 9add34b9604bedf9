//! The address that this machine's relay listens on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use toml::{Table, Value};

/// The usual place of the configuration, for callers that name none.
const USUAL: &str = "/etc/posthaste/posthaste.toml";
/// How long to wait for the relay at each step (RFC 5321 §4.5.3.2.6 allows 10 minutes after the final dot).
const PATIENCE: Duration = Duration::from_secs(600);
/// How long to wait for a connection on this machine.
const CONNECT: Duration = Duration::from_secs(10);

/// Connects to the first listener that accepts a connection.
pub(super) fn connect() -> io::Result<TcpStream> {
    let path = std::env::var_os("POSTHASTE_CONFIG").map_or_else(|| PathBuf::from(USUAL), PathBuf::from);
    // If the file cannot be read or is not TOML, use the default listener.
    let table = posthaste_host::files::read_text(&path).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no listener without implicit TLS is configured");
    for address in addresses(&table) {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// The listeners' addresses, those on loopback first. Listeners that require authentication or TLS are left out.
fn addresses(config: &Table) -> Vec<SocketAddr> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 2525));
    let Some(listeners) = config.get("listen").and_then(Value::as_table) else { return vec![usual] };
    let is = |table: &Table, key: &str| table.get(key).and_then(Value::as_bool).unwrap_or(false);
    let implicit = |table: &Table| table.get("tls").and_then(Value::as_str) == Some("implicit");
    let fit = listeners.values().filter_map(Value::as_table).filter(|t| !is(t, "require_auth") && !is(t, "require_tls") && !implicit(t));
    let mut all: Vec<SocketAddr> = fit.flat_map(|table| given(table.get("address"), usual)).map(reachable).collect();
    all.sort_by_key(|address| !address.ip().is_loopback());
    all
}

fn given(address: Option<&Value>, usual: SocketAddr) -> Vec<SocketAddr> {
    let texts = match address {
        None => return vec![usual],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect::<Vec<_>>(),
    };
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// The address to connect to: a listener on all addresses is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(toml: &str) -> Vec<String> {
        addresses(&toml.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn loopback_goes_first_and_what_wants_tls_or_users_is_passed_over() {
        assert_eq!(found(""), ["127.0.0.1:2525"]);
        assert_eq!(found("[listen.a]\nbanner = \"x\""), ["127.0.0.1:2525"]);
        assert_eq!(
            found("[listen.a]\naddress = \"192.0.2.1:25\"\n[listen.b]\naddress = [\"[::]:25\", \"0.0.0.0:26\"]"),
            ["[::1]:25", "127.0.0.1:26", "192.0.2.1:25"]
        );
        assert_eq!(found("[listen.a]\ntls = \"implicit\"\n[listen.b]\nrequire_auth = true\n[listen.c]\nrequire_tls = true"), [""; 0]);
    }
}
