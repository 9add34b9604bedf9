//! What a provider says of itself (OpenID Connect Discovery 1.0 §3).

use hyper::Uri;
use posthaste_host::https::is_private;
use posthaste_mail::Foreign;
use serde::Deserialize;

/// Where the provider is asked for what.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: String,
    pub(super) authorization_endpoint: Uri,
    pub(super) token_endpoint: Uri,
    pub(super) jwks_uri: Uri,
    pub(super) userinfo_endpoint: Option<Uri>,
    methods: Option<Vec<String>>,
    names_itself: bool,
}

/// The document.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl Discovery {
    /// What was said, if it is about this issuer and names addresses that can be used.
    pub(super) fn of(said: Said, issuer: &str) -> Result<Self, String> {
        if said.issuer != issuer {
            return Err(format!(
                "it calls itself {:?}: if that is right, write it in http.oidc.issuer",
                Foreign::new(&said.issuer).first(300)
            ));
        }
        let address = |key: &str, text: &str| match text.parse::<Uri>() {
            Ok(address) if is_private(&address) => Ok(address),
            _ => Err(format!("its {key} is no https:// address: {:?}", Foreign::new(text).first(300))),
        };
        Ok(Self {
            authorization_endpoint: address("authorization_endpoint", &said.authorization_endpoint)?,
            token_endpoint: address("token_endpoint", &said.token_endpoint)?,
            jwks_uri: address("jwks_uri", &said.jwks_uri)?,
            userinfo_endpoint: said.userinfo_endpoint.as_deref().map(|text| address("userinfo_endpoint", text)).transpose()?,
            methods: said.token_endpoint_auth_methods_supported,
            names_itself: said.authorization_response_iss_parameter_supported,
            issuer: said.issuer,
        })
    }

    /// Whether the client's secret may stand in the header. That is the default (§3), and what is preferred (RFC 6749 §2.3.1).
    pub(super) fn takes_basic(&self) -> bool {
        let has = |method: &str| self.methods.as_ref().is_some_and(|all| all.iter().any(|other| other == method));
        !has("client_secret_post") || has("client_secret_basic")
    }

    /// Whether a code is of this provider, by whom the browser says that it has it from (RFC 9207 §2.4).
    pub(super) fn gave(&self, issuer: Option<&str>) -> Result<(), String> {
        match issuer {
            Some(issuer) if issuer == self.issuer => Ok(()),
            None if !self.names_itself => Ok(()),
            Some(_) => Err("it is another provider's".into()),
            None => Err("it does not say whose it is, and this provider says so".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://login.example.com/";

    fn discovery(more: &Value) -> Result<Discovery, String> {
        let mut said = json!({
            "issuer": ISSUER, "authorization_endpoint": "https://login.example.com/auth", "token_endpoint": "https://login.example.com/token",
            "jwks_uri": "https://keys.example.com/", "response_types_supported": ["code"],
        });
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Discovery::of(serde_json::from_value(said).unwrap(), ISSUER)
    }

    #[test]
    fn a_provider_that_is_another_or_sends_secrets_in_the_clear_is_none() {
        assert!(discovery(&json!({})).is_ok());
        assert!(discovery(&json!({ "issuer": "https://login.example.com" })).unwrap_err().contains("http.oidc.issuer"));
        for key in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
            for bad in ["http://login.example.com/x", "/x", "", "javascript:alert(1)"] {
                assert!(discovery(&json!({ key: bad })).unwrap_err().contains(key), "{key} {bad}");
            }
            assert!(discovery(&json!({ key: "http://127.0.0.1:9/x" })).is_ok(), "{key}");
        }
    }

    #[test]
    fn the_secret_stands_in_the_header_unless_the_provider_takes_it_in_the_body_alone() {
        let basic = |methods: Value| discovery(&json!({ "token_endpoint_auth_methods_supported": methods })).unwrap().takes_basic();
        assert!(discovery(&json!({})).unwrap().takes_basic() && basic(json!(["client_secret_post", "client_secret_basic"])));
        assert!(!basic(json!(["client_secret_post"])) && basic(json!(["none"])));
    }

    #[test]
    fn a_code_that_another_provider_gave_is_refused() {
        let (silent, named) =
            (discovery(&json!({})).unwrap(), discovery(&json!({ "authorization_response_iss_parameter_supported": true })).unwrap());
        assert!(silent.gave(None).is_ok() && silent.gave(Some(ISSUER)).is_ok() && named.gave(Some(ISSUER)).is_ok());
        assert!(silent.gave(Some("https://evil.test")).is_err() && named.gave(None).is_err());
    }
}
