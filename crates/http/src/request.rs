//! What a request tells of its connection.

use std::{convert::Infallible, net::IpAddr, time::Instant};

use axum::{extract::FromRequestParts, http::request::Parts};
use posthaste_host::clock;
use tokio::sync::watch;

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(*parts.extensions.get::<Self>().expect("every connection has a peer"))
    }
}

/// Whether a request came over TLS, so that a cookie set now may be kept from plain connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secure(pub bool);

impl<S: Sync> FromRequestParts<S> for Secure {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(*parts.extensions.get::<Self>().expect("every connection knows whether it is encrypted"))
    }
}

/// Notes that a long request is still under way, so that its connection is not ended for taking too long.
#[derive(Clone, Debug)]
pub struct UnderWay(pub(crate) watch::Sender<Instant>);

impl UnderWay {
    /// The request has come a step further.
    pub fn goes_on(&self) {
        self.0.send_replace(clock::instant());
    }
}

impl<S: Sync> FromRequestParts<S> for UnderWay {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().expect("every connection watches its requests").clone())
    }
}
