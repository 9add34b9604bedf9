//! The provider, as configured.

use std::time::Duration;

use posthaste_host::Roots;
use posthaste_mail::Secret;

use super::claims::ClaimRules;

/// The path at which the provider sends people back. Part of the address that it knows the relay by.
const BACK: &str = "/login/oidc/back";

/// An OpenID provider, and who of those whom it knows may open the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// Its issuer identifier.
    pub issuer: String,
    /// The relay's client name there.
    pub client: String,
    /// The relay's client secret there; None: it is a public client.
    pub secret: Option<Secret>,
    /// Where people find the page: scheme, host and port.
    pub base_url: String,
    /// What people call the provider.
    pub label: String,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Who somebody is here.
    pub rules: ClaimRules,
    /// What the provider's certificate is verified against.
    pub roots: Roots,
    /// How long each answer of it may take.
    pub timeout: Duration,
}

impl OidcSettings {
    /// Where the provider sends people back.
    pub fn redirect(&self) -> String {
        format!("{}{BACK}", self.base_url)
    }

    /// Whether whoever logged in under other settings is the same here: by the same provider and the same rules.
    pub fn vouches_as(&self, other: &Self) -> bool {
        (&self.issuer, &self.client, &self.rules) == (&other.issuer, &other.client, &other.rules)
    }

    /// Where the provider describes itself (OpenID Connect Discovery 1.0 §4.1).
    pub(super) fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'))
    }
}
