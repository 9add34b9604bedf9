//! Requests to the authority: HTTPS with limits and trusted roots of our own.

use std::{
    error::Error as StdError,
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use posthaste_host::{
    clock,
    https::{self, Plain, reasons},
};
use rustls::ClientConfig;
use tokio::time::timeout;

/// How long a request may take, connection and answer included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer: a chain of a few certificates has some 10 KiB.
const ANSWER_MAX: usize = 1 << 20;
/// The media type of an authority's reasons (RFC 7807 §3).
const PROBLEM: &str = "application/problem+json";

/// The HTTPS client for the authority.
#[derive(Clone)]
pub(super) struct Https {
    http: https::Client<BodyWrapper<Bytes>>,
    /// The time until which the last refusal asks us to wait.
    wait: Arc<Mutex<Option<Timestamp>>>,
}

type Failure = Box<dyn StdError + Send + Sync>;

impl Https {
    /// The authority's certificate is verified by `tls`.
    pub(super) fn new(tls: &ClientConfig) -> Self {
        Self { http: https::client(tls, Plain::Refused, 1), wait: Arc::default() }
    }

    /// The time until which the authority asked us to wait (Retry-After) in its last refusal.
    pub(super) fn asked_to_wait_until(&self) -> Option<Timestamp> {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Full<Bytes>>, Failure> {
        let method = request.method().clone();
        let (head, body) = self.http.request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
        let answer = Response::from_parts(head, Full::new(body));
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            *self.wait.lock().unwrap_or_else(PoisonError::into_inner) = wait(answer.headers(), clock::now());
            // instant-acme reads reasons only in answers to POST (RFC 8555 §6.7).
            let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            if method != Method::POST || !kind.starts_with(PROBLEM) {
                return Err(format!("answers {status}").into());
            }
        }
        Ok(answer)
    }
}

impl HttpClient for Https {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (https, host) = (self.clone(), request.uri().host().unwrap_or_default().to_owned());
        Box::pin(async move {
            let failed = |error: &dyn std::fmt::Display| Error::Other(format!("{host}: {error}").into());
            match timeout(REQUEST_TIMEOUT, https.exchange(request)).await {
                Ok(Ok(answer)) => Ok(BytesResponse::from(answer)),
                Ok(Err(error)) => Err(failed(&reasons(&*error))),
                Err(_) => Err(failed(&format!("no answer within {REQUEST_TIMEOUT:?}"))),
            }
        })
    }
}

/// Retry-After (RFC 9110 §10.2.3): seconds, or a date.
fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match u32::from_str(text) {
        Ok(seconds) => now.checked_add(SignedDuration::from_secs(seconds.into())).ok(),
        Err(_) => rfc2822::parse(text).ok().map(|date| date.timestamp()),
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_time_to_wait_is_given_in_seconds_or_as_a_date() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let told = |text: &'static str| wait(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]), now);
        assert_eq!(told(" 120 "), Some("2026-01-01T00:02:00Z".parse().unwrap()));
        assert_eq!(told("Fri, 02 Jan 2026 23:59:59 GMT"), Some("2026-01-02T23:59:59Z".parse().unwrap()));
        assert_eq!((told("soon"), told("-5"), told("")), (None, None, None));
        assert_eq!(wait(&HeaderMap::new(), now), None);
    }
}
