//! The relay's own requests to servers that are not receivers of mail: OAuth 2.0 servers, ACME authorities.

use hyper::body::Body;
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

/// The text of an error with those of its sources: "client error (Connect)" alone is of no help.
pub fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
