//! Logging in by an OpenID provider: the way there, and the way back.
//!
//! `under_way` keeps what has begun, `said` says what went wrong; the provider itself is asked by `posthaste_access::oidc`.

mod said;
pub(crate) mod under_way;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use posthaste_access::oidc::{Identity, OidcError, OidcSettings, Provider};
use posthaste_host::clock;
use posthaste_http::{Peer, Place, Secure};

use self::{
    said::{Ended, Told},
    under_way::Begun,
};
use crate::{
    answer::Shared,
    sessions::{Who, hash, secret},
    site::Site,
    viewer::{Fields, Query, cookie, go_on, is_here, logged_in},
};

/// The longest path that somebody is led back to, in bytes.
const THEN_MAX: usize = 1024;

/// Writes why a login ended to the diagnostics. Nothing of it names the person.
fn tell(site: &Site, ended: &Ended, ip: IpAddr) {
    match ended.for_operators() {
        None => {}
        Some(Told::Refused(why)) => tracing::info!("the page: a login from {ip} was refused: {why}"),
        Some(Told::Trouble(why)) if site.under_way.lock().warns(clock::instant()) => {
            tracing::warn!("the page: nobody can log in by the OpenID provider: {why}");
        }
        Some(Told::Trouble(_)) => {}
    }
}

/// The address at which such a login begins. It is the one that the provider leads back to, whichever address the page was opened by.
pub(crate) fn door(settings: &OidcSettings, then: &str) -> String {
    let then: String = form_urlencoded::byte_serialize(then.as_bytes()).collect();
    format!("{}/login/oidc?then={then}", settings.base_url)
}

/// Sends a browser to the provider.
pub(crate) async fn begin(State(site): Shared, Peer(ip): Peer, headers: HeaderMap, Query(query): Query) -> Response {
    let Some(provider) = site.provider() else { return Ended::Off.into_response() };
    let now = clock::instant();
    let begun = match provider.begin(now).await {
        Ok(begun) => begun,
        Err(error) => {
            let ended = Ended::Undone(error, provider.settings().clone());
            tell(&site, &ended, ip);
            return ended.into_response();
        }
    };
    let (name, more) = names(provider.settings());
    // Another tab's login may have begun: both are this browser's.
    let browser = cookie(&headers, name).filter(|given| is_secret(given)).unwrap_or_else(secret);
    let then = query.get("then").filter(|then| is_here(then) && then.len() <= THEN_MAX).unwrap_or("/").to_owned();
    let login = Begun { browser: hash(&browser), from: ip, then, proof: begun.proof, by: provider.settings().clone(), begun: now };
    site.under_way.lock().begin(hash(&begun.state), login);
    let mut answer = go_on(&begun.to);
    let lasts = under_way::LASTS.as_secs();
    // Lax: a Strict cookie would not come back from the provider's page.
    let cookie = format!("{name}={browser}; Path=/; HttpOnly; SameSite=Lax; Max-Age={lasts}{more}");
    answer.headers_mut().insert(header::SET_COOKIE, cookie.parse().expect("a cookie of ours is plain ASCII"));
    answer
}

/// Takes a browser back from the provider.
pub(crate) async fn back(
    State(site): Shared,
    Peer(ip): Peer,
    Secure(secure): Secure,
    Extension(place): Extension<Arc<Place>>,
    headers: HeaderMap,
    Query(query): Query,
) -> Response {
    let Some(provider) = site.provider() else { return Ended::Off.into_response() };
    let settings = provider.settings();
    let guess = match site.desk.lockout.guess(ip).await {
        Ok(guess) => guess,
        Err(shut_out) => return Ended::ShutOut(shut_out.answer.text).into_response(),
    };
    let begun = site.under_way.lock().take(&hash(query.get("state").unwrap_or_default()), clock::instant());
    let browser = begun.as_ref().and_then(|begun| cookie(&headers, names(&begun.by).0)).map(|browser| hash(&browser));
    match answered(&provider, begun, browser, Said::of(&query)).await {
        Ok((identity, then)) => {
            drop(guess);
            place.known(&identity.name);
            logged_in(&site.begin(Who::Known(identity, settings.clone())), secure, &then)
        }
        Err(ended) => {
            tell(&site, &ended, ip);
            if ended.is_a_guess() {
                let wait = guess.wrong().wait;
                let most = site.desk.settings.load().http.http.max_connections;
                place.wait_without(most, wait).await;
            }
            ended.into_response()
        }
    }
}

/// What the provider has the browser say.
struct Said {
    /// The code; or, in its words, why there is none.
    code: Result<String, Option<String>>,
    issuer: Option<String>,
}

impl Said {
    fn of(query: &Fields) -> Self {
        let text = |name| query.get(name).map(str::to_owned);
        let why = |error: &str| format!("{error} {}", query.get("error_description").unwrap_or_default()).trim_end().to_owned();
        let code = match query.get("error") {
            Some(error) => Err(Some(why(error))),
            None => text("code").ok_or(None),
        };
        Self { code, issuer: text("iss") }
    }
}

/// Who came back, and where they wanted to go. `browser`: the hash of the cookie that came with the answer.
async fn answered(provider: &Provider, begun: Option<Begun>, browser: Option<[u8; 32]>, said: Said) -> Result<(Identity, String), Ended> {
    let settings = provider.settings();
    let begun = begun.ok_or(Ended::Over)?;
    if browser != Some(begun.browser) {
        return Err(Ended::Elsewhere);
    }
    if !settings.vouches_as(&begun.by) {
        return Err(Ended::Changed);
    }
    let undone = |error| Ended::Undone(error, settings.clone());
    let code = said.code.map_err(|words| match words {
        Some(words) => Ended::Declined(settings.label.clone(), words),
        None => undone(OidcError::Code("there is none".into())),
    })?;
    let clock = || (clock::instant(), clock::now());
    let identity = provider.finish(&code, said.issuer.as_deref(), begun.proof, clock).await.map_err(undone)?;
    Ok((identity, begun.then))
}

/// The name of the cookie that binds a login to a browser, and what else stands in it.
fn names(settings: &OidcSettings) -> (&'static str, &'static str) {
    match settings.base_url.starts_with("https:") {
        true => ("__Host-posthaste-login", "; Secure"),
        false => ("posthaste-login", ""),
    }
}

/// Whether a text may be a secret of ours.
fn is_secret(text: &str) -> bool {
    text.len() == secret().len() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
