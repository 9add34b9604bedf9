//! The relay's own requests to servers that are not receivers of mail: OAuth 2.0 servers, ACME authorities.

use std::net::IpAddr;

use hyper::{Uri, body::Body};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

/// An HTTP client whose connections stay open between requests. It follows no redirects.
pub type Client<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;

/// Whether `http:` URLs are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// If the URL says so; the caller has checked it.
    Taken,
    /// Never.
    Refused,
}

/// A client that checks certificates by `tls` and keeps at most `idle` idle connections to each host.
pub fn client<B>(tls: &ClientConfig, plain: Plain, idle: usize) -> Client<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
    let connector = match plain {
        Plain::Taken => connector.https_or_http(),
        Plain::Refused => connector.https_only(),
    };
    let connector = connector.enable_http1().build();
    legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_max_idle_per_host(idle).build(connector)
}

/// Whether what is sent to this address stays secret on its way: by TLS, or because it does not leave this machine.
pub fn is_private(address: &Uri) -> bool {
    match (address.scheme_str(), address.host()) {
        (Some("https"), Some(host)) => !host.is_empty(),
        (Some("http"), Some(host)) => is_loopback(host),
        _ => false,
    }
}

/// Whether the host of an address is this machine.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().map_or(bare.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

/// The text of an error with those of its sources: "client error (Connect)" alone is of no help.
pub fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_alone() {
        for here in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "0.0.0.0", "[::]", ""] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
        let private = |address: &str| is_private(&address.parse().unwrap());
        assert!(private("https://login.example.com/x") && private("http://127.0.0.1:8025"));
        assert!(!private("http://login.example.com") && !private("ftp://127.0.0.1") && !private("/x"));
    }
}
