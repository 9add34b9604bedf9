//! Questions to the provider, over HTTP. No redirect is followed: codes, secrets and tokens must reach no other server.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use oauth2::{
    AccessToken, AsyncHttpClient, CodeTokenRequest, ExtraTokenFields, HttpRequest, HttpResponse, RequestTokenError, StandardTokenResponse,
    TokenResponse,
    basic::{BasicErrorResponse, BasicErrorResponseType, BasicTokenType},
};
use posthaste_host::https::{self, Plain, reasons};
use posthaste_mail::Foreign;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::error::OidcError;

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 256 * 1024;
/// Idle connections that stay open.
const IDLE_MAX: usize = 2;
/// The most characters of an answer that are told.
const TOLD_MAX: usize = 300;

/// What a code was exchanged for.
pub(super) struct Exchanged {
    pub(super) id_token: String,
    pub(super) access_token: AccessToken,
}

/// Asks the provider.
pub(super) struct Client {
    http: https::Client<Full<Bytes>>,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoAnswer(String);

impl Client {
    pub(super) fn new(tls: &ClientConfig, timeout: Duration) -> Self {
        Self { http: https::client(tls, Plain::Taken, IDLE_MAX), timeout }
    }

    /// Reads JSON from an address; with a token, as whom it was given to.
    pub(super) async fn read<T: DeserializeOwned>(&self, address: &Uri, token: Option<&AccessToken>) -> Result<T, String> {
        let mut request = Request::get(address.clone()).header(ACCEPT, "application/json");
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret())).map_err(|_| "its access token is none")?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Vec::new()).map_err(|error| error.to_string())?;
        let answer = self.ask(request).await.map_err(|NoAnswer(why)| format!("{address}: {why}"))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("{address} answers with status {}", answer.status().as_u16()));
        }
        serde_json::from_slice(answer.body()).map_err(|error| format!("{address} does not answer as an OpenID provider does: {error}"))
    }

    /// Exchanges a code. The error is shown to the operator and contains nothing of code, secret or token.
    pub(super) async fn exchange(&self, request: CodeTokenRequest<'_, BasicErrorResponse, Tokens>) -> Result<Exchanged, OidcError> {
        let tokens = request.request_async(self).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => match said.error() {
                BasicErrorResponseType::InvalidGrant => OidcError::Code(told(&said)),
                BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => OidcError::Client(told(&said)),
                _ => OidcError::Provider(told(&said)),
            },
            RequestTokenError::Request(NoAnswer(why)) => OidcError::Provider(format!("of its token endpoint: {why}")),
            // Neither the answer nor what is wrong in it: both may contain a token.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                OidcError::Provider("its token endpoint does not answer as one of an OpenID provider does".into())
            }
        })?;
        let Some(id_token) = tokens.extra_fields().id_token.clone() else {
            return Err(OidcError::Provider("it gives no ID token: is \"openid\" in http.oidc.scopes?".into()));
        };
        Ok(Exchanged { id_token, access_token: tokens.access_token().clone() })
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
        let asked = async {
            let answer = self.http.request(request.map(Full::from)).await.map_err(|error| NoAnswer(reasons(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| NoAnswer(reasons(&*error)))?;
            Ok(HttpResponse::from_parts(head, body.to_bytes().into()))
        };
        timeout(self.timeout, asked).await.unwrap_or_else(|_| Err(NoAnswer(format!("no answer within {:?}", self.timeout))))
    }
}

impl<'c> AsyncHttpClient<'c> for Client {
    type Error = NoAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, NoAnswer>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

/// What a token endpoint gives (OpenID Connect Core §3.1.3.3).
pub(super) type Tokens = StandardTokenResponse<IdToken, BasicTokenType>;

/// What it gives besides what OAuth knows.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

fn told(said: &BasicErrorResponse) -> String {
    Foreign::new(&said.to_string()).first(TOLD_MAX)
}
