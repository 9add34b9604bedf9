//! The OAuth 2.0 server that checks tokens, as configured.

use std::time::Duration;

use hyper::Uri;
use posthaste_host::Roots;
use posthaste_mail::Secret;

use super::TokenRules;

/// The server, how to ask it about tokens, and what its answer must contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The introspection endpoint.
    pub uri: Uri,
    /// The relay's client name there.
    pub client: String,
    /// The relay's client secret there.
    pub secret: Secret,
    /// What the endpoint's certificate is verified against.
    pub roots: Roots,
    /// What an answer must contain.
    pub rules: TokenRules,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long a valid token is accepted without asking again; None: not at all.
    pub remember: Option<Duration>,
    /// Concurrent requests.
    pub questions: usize,
}
