//! Requests of our own to servers that are not receivers of mail: OAuth 2.0 servers, ACME authorities.

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

/// Sends requests, over connections that stay open between them. It follows no redirect.
pub type Client<B> = legacy::Client<HttpsConnector<HttpConnector>, B>;

/// Whether `http:` will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Where the URL says so; whoever gives it has looked at it.
    Taken,
    /// Never.
    Refused,
}

/// Certificates are checked as `tls` has it; `idle` connections at most are kept.
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

/// An error with what is behind it: "client error (Connect)" alone helps nobody.
pub fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
