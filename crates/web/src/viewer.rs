//! Who looks at a page, and what a form says.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse as _, Redirect, Response},
};
use bytes::Bytes;
use posthaste_access::users::Role;
use posthaste_http::Secure;

use crate::{
    layout::{FORM_TOKEN, Whom},
    sight::Sight,
    site::Site,
    trouble::Trouble,
};

/// The cookie of a session; over TLS with the prefix that binds it to this host and to TLS.
pub(crate) const COOKIE: &str = "posthaste";
pub(crate) const COOKIE_TLS: &str = "__Host-posthaste";
/// The header by which the page's script asks for news.
pub(crate) const NEWS: &str = "x-posthaste-news";

/// Who looks at a page.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    /// The user's name.
    pub(crate) name: Arc<str>,
    /// What the user may do.
    pub(crate) role: Role,
    /// What forms carry.
    pub(crate) form_token: Arc<str>,
    /// The cookie.
    pub(crate) cookie: String,
    /// How much of people's addresses is shown.
    pub(crate) sight: Sight,
}

impl Viewer {
    /// For whom pages are made then.
    pub(crate) fn whom(&self) -> Whom<'_> {
        Whom { name: &self.name, steers: self.steers(), form_token: &self.form_token }
    }

    /// Whether this viewer steers.
    pub(crate) fn steers(&self) -> bool {
        self.role == Role::Operator
    }
}

impl FromRequestParts<Arc<Site>> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        let asks = !parts.headers.contains_key(NEWS);
        let cookie = cookie(&parts.headers, if is_secure(parts) { COOKIE_TLS } else { COOKIE });
        let found = cookie.and_then(|cookie| Some((site.session(&cookie, asks)?, cookie)));
        let Some(((session, name, role), cookie)) = found else { return Err(to_login(parts)) };
        if let Some(place) = parts.extensions.get::<Arc<posthaste_http::Place>>() {
            place.known(&name);
        }
        let sight = Sight { masks: site.desk.settings.load().config.page.privacy.hides_from(role) };
        Ok(Self { name, role, form_token: session.form_token, cookie, sight })
    }
}

/// Who has no session is sent to the login, and comes back to what was asked for; a script or a form is told.
fn to_login(parts: &Parts) -> Response {
    if parts.headers.contains_key(NEWS) || parts.method != axum::http::Method::GET {
        return Trouble::LoggedOut.into_response();
    }
    let then: String = form_urlencoded::byte_serialize(parts.uri.path_and_query().map_or("/", |asked| asked.as_str()).as_bytes()).collect();
    Redirect::to(&if then == "%2F" { "/login".into() } else { format!("/login?then={then}") }).into_response()
}

/// Whether a request came over TLS.
pub(crate) fn is_secure(parts: &Parts) -> bool {
    parts.extensions.get::<Secure>().is_some_and(|secure| secure.0)
}

/// A cookie.
pub(crate) fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

/// Whether a browser says that another site made it send this (Fetch Metadata, which no site can forge; without it, as over plain HTTP, RFC 6454
/// §7). Programs say nothing. A proxy that changes Host is in nobody's way as long as browsers send the former.
pub(crate) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return !matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text("origin") else { return false };
    let host = origin.parse::<Uri>().ok().and_then(|origin| origin.authority().map(ToString::to_string));
    host.is_none() || host.as_deref() != text("host")
}

/// A form's fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Reads a form's body or a query.
    pub(crate) fn read(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A field without the blanks around it; None: it is empty or not there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A field as it was given; empty if it is not there.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A field that must be there.
    pub(crate) fn need(&self, name: &'static str) -> Result<&str, Trouble> {
        self.get(name).ok_or_else(|| Trouble::Bad(format!("the field {name:?} is empty")))
    }
}

/// What stands behind the "?" of an address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(pub(crate) Fields);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Fields::read(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// A form that was sent from a page of ours.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Who sent it.
    pub(crate) by: Viewer,
    /// What it says.
    pub(crate) form: Fields,
}

impl FromRequest<Arc<Site>> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let viewer = Viewer::from_request_parts(&mut parts, site).await?;
        let elsewhere = is_from_elsewhere(&parts.headers);
        let body =
            Bytes::from_request(Request::from_parts(parts, body), site).await.map_err(axum::response::IntoResponse::into_response)?;
        let form = Fields::read(&body);
        let given = form.get(FORM_TOKEN).unwrap_or_default();
        if elsewhere || aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), viewer.form_token.as_bytes()).is_err() {
            return Err(Trouble::Forged.into_response());
        }
        Ok(Self { by: viewer, form })
    }
}

/// A form that changes something, sent by an operator from a page of ours.
#[derive(Debug)]
pub(crate) struct Steering {
    /// Who sent it.
    pub(crate) by: Viewer,
    /// What it says.
    pub(crate) form: Fields,
}

impl FromRequest<Arc<Site>> for Steering {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Self, Response> {
        let Sent { by, form } = Sent::from_request(request, site).await?;
        if !by.steers() {
            return Err(Trouble::Forbidden.into_response());
        }
        Ok(Self { by, form })
    }
}

/// An answer to a form: the browser goes on to a page, so that a reload sends nothing again.
pub(crate) fn go_on(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// The answer to a login: on to where somebody wanted to go, with the session's cookie.
pub(crate) fn logged_in(cookie: &str, secure: bool, then: &str) -> Response {
    with_cookie(go_on(then), cookie, secure, "")
}

/// An answer that sets the session's cookie.
pub(crate) fn with_cookie(mut answer: Response, value: &str, secure: bool, more: &str) -> Response {
    let (name, tls) = if secure { (COOKIE_TLS, "; Secure") } else { (COOKIE, "") };
    // Lax: the provider's page leads back here, and so do links in mails about incidents.
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{tls}{more}");
    answer.headers_mut().insert(header::SET_COOKIE, cookie.parse().expect("a cookie of ours is plain ASCII"));
    answer
}

/// Whether an address is one of ours: a path, and no way to another host.
pub(crate) fn is_here(then: &str) -> bool {
    then.starts_with('/')
        && !then.starts_with("//")
        && !then.contains(['\\', '\r', '\n'])
        && then.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_nobody_is_sent_to_another_host() {
        let here = |then: &&str| is_here(then);
        assert!(["/", "/queue?provider=google", "/messages?tag=a%20b"].iter().all(here));
        assert!(!["//evil.test", "/\\evil.test", "https://evil.test", "evil", "", "/a\r\nb", "/a b"].iter().any(here));
    }

    #[test]
    fn browsers_say_which_site_made_them_send_something() {
        let elsewhere = |fields: &[(&'static str, &'static str)]| {
            let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            is_from_elsewhere(&fields.collect::<HeaderMap>())
        };
        let (host, origin) = (("host", "mx.test:8025"), ("origin", "https://mx.test:8025"));
        for own in [
            vec![],
            vec![host],
            vec![host, origin],
            vec![("sec-fetch-site", "same-origin"), ("host", "inner"), origin],
            vec![("sec-fetch-site", "none")],
        ] {
            assert!(!elsewhere(&own), "{own:?}");
        }
        let evil = ("origin", "https://evil.test");
        for other in [
            vec![host, evil],
            vec![host, ("origin", "null")],
            vec![("sec-fetch-site", "cross-site"), host, origin],
            vec![("sec-fetch-site", "same-site")],
            vec![evil],
        ] {
            assert!(elsewhere(&other), "{other:?}");
        }
    }
}
