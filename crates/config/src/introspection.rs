//! `[introspection]`: the OAuth 2.0 server that checks bearer tokens.

use std::time::Duration;

use hyper::Uri;
use posthaste_access::introspection::{Endpoint, TokenRules, UserField};
use posthaste_host::https::is_loopback;

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    tls::roots,
    value::{duration, line, number, one_of, string, zero_is_none},
};

/// None if no endpoint is given: then only users' own tokens are accepted.
pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> Option<Endpoint> {
    let uri = t.given("endpoint", endpoint);
    let client = t.given("client", line(255));
    let secret = t.given("client_secret_file", |item| environment.secret(item));
    let seconds = Duration::from_secs;
    let roots = t.get("roots", |item| roots(item, environment));
    let rules = TokenRules {
        username: t.get("username", one_of(&UserField::ALL)),
        scope: t.given("scope", word),
        audience: t.given("audience", audience),
    };
    let timeout = t.get("timeout", duration(Duration::from_millis(100)..=seconds(60)));
    let remember = t.get("remember", zero_is_none(duration(seconds(1)..=Duration::from_hours(1))));
    let questions = t.get("questions", number(1..=1000));
    if t.has("endpoint") {
        for key in ["client", "client_secret_file"].into_iter().filter(|key| !t.has(key)) {
            t.object(key, "missing: an endpoint answers only clients that it knows (RFC 7662 §2.1)");
        }
    } else if let Some(key) = KEYS.into_iter().find(|key| t.has(key)) {
        t.object(key, "there is no server to ask: add endpoint = \"https://…\"");
    }
    Some(Endpoint { uri: uri?, client: client?, secret: secret?, roots, rules, timeout, remember, questions })
}

/// Keys that make no sense without an endpoint. The other keys have defaults and may be given without one.
const KEYS: [&str; 4] = ["client", "client_secret_file", "scope", "audience"];

fn endpoint(item: Item<'_>) -> Parsed<Uri> {
    const WANTED: &str = r#"expected the address of an endpoint, such as "https://login.example.com/oauth2/introspect""#;
    let text = string(item)?;
    let Ok(uri) = text.parse::<Uri>() else { return fault(item, WANTED) };
    // A fragment cannot be requested, and the part before an '@' would be a password.
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return fault(item, WANTED) };
    if authority.as_str().contains('@') || authority.host().is_empty() || text.contains('#') {
        return fault(item, WANTED);
    }
    match scheme {
        "https" => Ok(uri),
        "http" if is_loopback(authority.host()) => Ok(uri),
        "http" => fault(item, "anybody on the network path could read tokens: use https:// (http:// is for endpoints on this machine)"),
        _ => fault(item, WANTED),
    }
}

/// A single scope (RFC 6749 §3.3); the answer may contain several.
fn word(item: Item<'_>) -> Parsed<String> {
    match line(255)(item)? {
        text if text.is_empty() || text.contains([' ', '"', '\\']) => fault(item, "expected one scope, such as \"smtp.send\""),
        text => Ok(text),
    }
}

fn audience(item: Item<'_>) -> Parsed<String> {
    match line(255)(item)? {
        text if text.is_empty() => fault(item, "must not be empty"),
        text => Ok(text),
    }
}
