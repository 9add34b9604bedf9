//! The introspection request (RFC 7662 §2.1) over HTTP. No redirect is followed: the token must reach no other server.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use posthaste_host::https::{self, Plain, reasons};
use rustls::ClientConfig;

use super::{Endpoint, judge::Unreadable};

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// Why the endpoint gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The request failed.
    #[error("{0}")]
    Request(String),
    /// The endpoint refused the relay's own credentials.
    #[error("it does not know the client, or another secret (401)")]
    Client,
    /// Another status than 200.
    #[error("it answers with status {0}")]
    Status(u16),
    /// The answer could not be received or understood.
    #[error("of its answer: {0}")]
    Answer(String),
    /// No answer came within this time.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

impl From<Unreadable> for NoAnswer {
    fn from(Unreadable(why): Unreadable) -> Self {
        Self::Answer(why)
    }
}

/// Asks the endpoint, over connections that stay open between requests.
pub(super) struct Client {
    http: https::Client<Full<Bytes>>,
    endpoint: Uri,
    authorization: HeaderValue,
}

impl Client {
    pub(super) fn new(endpoint: &Endpoint, tls: &ClientConfig) -> Self {
        let http = https::client(tls, Plain::Taken, endpoint.questions);
        Self { http, endpoint: endpoint.uri.clone(), authorization: basic(&endpoint.client, endpoint.secret.reveal()) }
    }

    /// The answer, or why there is none. The error is shown to the operator and contains nothing of the token.
    pub(super) async fn ask(&self, token: &str) -> Result<Vec<u8>, NoAnswer> {
        let form = Serializer::new(String::new()).append_pair("token", token).append_pair("token_type_hint", "access_token").finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(Full::from(form))
            .expect("its parts are those of a request");
        let response = self.http.request(request).await.map_err(|error| NoAnswer::Request(reasons(&error)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(NoAnswer::Client),
            other => return Err(NoAnswer::Status(other.as_u16())),
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        body.map(|body| body.to_bytes().into()).map_err(|error| NoAnswer::Answer(reasons(&*error)))
    }
}

/// RFC 6749 §2.3.1: both are form-urlencoded before they are joined, so that a colon in either is not taken for the separator.
fn basic(client: &str, secret: &str) -> HeaderValue {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = BASE64_STANDARD.encode(format!("{}:{}", encoded(client), encoded(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {credentials}")).expect("base64 fits into a header");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(client: &str, secret: &str) -> String {
        let value = basic(client, secret);
        let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn special_characters_in_the_credentials_are_encoded_before_they_are_joined() {
        assert_eq!(plain("s6BhdRkqt3", "gX1fBat3bV"), "s6BhdRkqt3:gX1fBat3bV");
        assert_eq!(plain("https://mail.test", "a:b c+d%&="), "https%3A%2F%2Fmail.test:a%3Ab+c%2Bd%25%26%3D");
        // RFC 6749, appendix B.
        assert_eq!(plain("x", " %&+£€"), "x:+%25%26%2B%C2%A3%E2%82%AC");
        assert!(!format!("{:?}", basic("client", "secret")).contains("Basic"));
    }
}
