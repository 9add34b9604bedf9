//! The OAuth 2.0 server that is asked, as the configuration describes it.

use std::time::Duration;

use hyper::Uri;
use posthaste_host::{Roots, Secret};

use super::Rules;

/// Where and how it is asked whose tokens are, and what the answer must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub uri: Uri,
    /// What the relay is called there.
    pub client: String,
    /// How it proves that.
    pub secret: Secret,
    /// Whom the endpoint's certificate is checked against.
    pub roots: Roots,
    /// What an answer must say.
    pub rules: Rules,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long a right token is right without another question; None: not at all.
    pub remember: Option<Duration>,
    /// Questions at once.
    pub questions: usize,
}
