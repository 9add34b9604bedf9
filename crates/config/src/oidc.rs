//! `[http.oidc]`: the OpenID provider that people may log in to the page by.

use std::time::Duration;

use hyper::Uri;
use posthaste_access::oidc::{ClaimRules, OidcSettings};
use posthaste_host::https::is_private;

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    tls::roots,
    value::{duration, list, some, string},
};

/// The longest word of this table, in bytes.
const WORD_MAX: usize = 255;

/// None if no provider is given: then people log in by passwords alone.
pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> Option<OidcSettings> {
    let issuer = t.given("issuer", issuer);
    let client = t.given("client_id", word);
    let secret = t.given("client_secret_file", |item| environment.secret(item));
    let base_url = t.given("base_url", base_url);
    let rules = ClaimRules {
        role: t.get("role_claim", word),
        operators: t.given("operators", list(word)).unwrap_or_default(),
        viewers: t.given("viewers", list(word)).unwrap_or_default(),
        names: t.get("name_claim", some(word)),
    };
    let (label, scopes) = (t.get("name", label), t.get("scopes", some(scope)));
    let roots = t.get("roots", |item| roots(item, environment));
    let timeout = t.get("timeout", duration(Duration::from_millis(100)..=Duration::from_secs(60)));
    if t.has("issuer") {
        for (key, why) in NEEDED.into_iter().filter(|(key, _)| !t.has(key)) {
            t.object(key, format!("missing: {why}"));
        }
        if rules.operators.is_empty() && rules.viewers.is_empty() {
            let why = format!("nobody could log in: name values of the claim {:?} here, or in viewers", rules.role);
            t.object_to(&["operators", "viewers"], why);
        }
        if let Some(both) = rules.operators.iter().find(|value| rules.viewers.contains(value)) {
            t.object("viewers", format!("{both:?} stands in operators, too, and operators see everything: leave it out here"));
        }
        if !scopes.iter().any(|scope| scope == "openid") {
            t.object("scopes", "without \"openid\" a provider does not say who somebody is");
        }
    } else if let Some(key) = KEYS.into_iter().find(|key| t.has(key)) {
        t.object(key, "there is no provider to log in by: add issuer = \"https://…\"");
    }
    Some(OidcSettings { issuer: issuer?, client: client?, secret, base_url: base_url?, label, scopes, rules, roots, timeout })
}

/// Keys that an issuer needs, and why.
const NEEDED: [(&str, &str); 2] = [
    ("client_id", "the name that the provider gave the relay when it was registered there"),
    ("base_url", "where people find this page, such as \"https://mail.example.com\"; the provider sends them back to it"),
];
/// Keys that make no sense without an issuer. The other keys have defaults and may be given without one.
const KEYS: [&str; 5] = ["client_id", "client_secret_file", "base_url", "operators", "viewers"];

/// An address that begins with a scheme and a host, and has neither a password, nor a query, nor a fragment.
fn address(item: Item<'_>, wanted: &str, plain: &str) -> Parsed<Uri> {
    let text = string(item)?;
    let wanted = || fault(item, format!("expected {wanted}"));
    let Ok(uri) = text.parse::<Uri>() else { return wanted() };
    let Some(authority) = uri.authority() else { return wanted() };
    if authority.as_str().contains('@') || authority.host().is_empty() || text.contains(['#', '?']) || text.len() > WORD_MAX {
        return wanted();
    }
    match uri.scheme_str() {
        _ if is_private(&uri) => Ok(uri),
        Some("http") => fault(item, format!("{plain}: use https:// (http:// is for this machine alone)")),
        _ => wanted(),
    }
}

/// As it is written: a provider is known by exactly that text (OpenID Connect Discovery 1.0 §4.3).
fn issuer(item: Item<'_>) -> Parsed<String> {
    let wanted = "the issuer identifier of a provider, such as \"https://login.example.com/realms/staff\"";
    address(item, wanted, "anybody on the network path could say who somebody is")?;
    let text = string(item)?;
    match text.strip_suffix("/.well-known/openid-configuration") {
        Some(issuer) => fault(item, format!("this is where the provider describes itself; its issuer identifier is {issuer:?}")),
        None => Ok(text.to_owned()),
    }
}

/// Scheme, host and port.
fn base_url(item: Item<'_>) -> Parsed<String> {
    let wanted = "scheme and host of the page, such as \"https://mail.example.com\"";
    let uri = address(item, wanted, "anybody on the network path could take over logins")?;
    match uri.path() {
        "" | "/" => Ok(string(item)?.trim_end_matches('/').to_owned()),
        path => fault(item, format!("expected {wanted}, without {path:?}: the page has a host of its own")),
    }
}

fn word(item: Item<'_>) -> Parsed<String> {
    match string(item)? {
        text if text.trim().is_empty() => fault(item, "must not be empty"),
        text if text.len() > WORD_MAX => fault(item, format!("too long: at most {WORD_MAX} bytes")),
        text if text.chars().any(char::is_control) => fault(item, "must be printable"),
        text => Ok(text.to_owned()),
    }
}

fn label(item: Item<'_>) -> Parsed<String> {
    const LABEL_MAX: usize = 60;
    match word(item)? {
        text if text.chars().count() > LABEL_MAX => fault(item, format!("too long for a button: at most {LABEL_MAX} characters")),
        text => Ok(text),
    }
}

/// A single scope (RFC 6749 §3.3).
fn scope(item: Item<'_>) -> Parsed<String> {
    match word(item)? {
        text if !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b)) => {
            fault(item, "expected one scope, such as \"openid\"")
        }
        text => Ok(text),
    }
}
