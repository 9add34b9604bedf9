//! Requests by HTTP(S). No redirect is followed: what is told must reach no other server.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT},
};
use posthaste_host::https::{self, Plain, reasons};
use posthaste_mail::Foreign;
use posthaste_smtp::client::TlsConfigs;

use super::error::SendError;
use crate::SecretUrl;

/// As much of an answer is read.
const ANSWER_MAX: usize = 16 << 10;
/// As many characters of it are shown: what is wrong is said at its beginning.
const SHOWN_MAX: usize = 200;
const AGENT: &str = concat!("posthaste/", env!("CARGO_PKG_VERSION"));

/// Posts JSON. Any status of 2xx means that it was taken.
pub(super) async fn post(tls: &TlsConfigs, url: &SecretUrl, authorization: Option<HeaderValue>, body: String) -> Result<(), SendError> {
    let body = Full::from(body);
    let mut request = Request::builder().method(Method::POST).header(CONTENT_TYPE, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    ask(tls, url, request, body).await
}

/// Calls a URL. Any status of 2xx means that the call was heard.
pub(crate) async fn call(tls: &TlsConfigs, url: &SecretUrl) -> Result<(), SendError> {
    ask(tls, url, Request::builder().method(Method::GET), Full::default()).await
}

async fn ask(tls: &TlsConfigs, url: &SecretUrl, request: hyper::http::request::Builder, body: Full<Bytes>) -> Result<(), SendError> {
    let fails = |why: String| SendError::Request { host: url.host().to_owned(), why };
    let request = request.uri(url.reveal().clone()).header(USER_AGENT, AGENT).body(body);
    let request = request.map_err(|error| fails(error.to_string()))?;
    // A message is rare: no connection is kept for the next one.
    let client = https::client(&tls.strict, Plain::Taken, 0);
    let response = client.request(request).await.map_err(|error| fails(reasons(&error)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let said =
        if status.is_redirection() { ": it leads elsewhere, and redirects are not followed".to_owned() } else { answer(response).await };
    Err(SendError::Status { host: url.host().to_owned(), status: status.as_u16(), said })
}

/// The beginning of what a server says about what it does not take.
async fn answer(response: Response<Incoming>) -> String {
    let Ok(body) = Limited::new(response.into_body(), ANSWER_MAX).collect().await else { return String::new() };
    let body = body.to_bytes();
    match Foreign::new(body.trim_ascii()).first(SHOWN_MAX) {
        said if said.is_empty() => said,
        said => format!(": {said}"),
    }
}
