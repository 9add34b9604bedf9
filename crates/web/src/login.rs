//! Logging in and out.

use std::sync::Arc;

use axum::extract::FromRequest as _;
use axum::{
    Extension,
    body::Bytes,
    extract::{FromRequestParts as _, Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};
use posthaste_access::users::{Credential, Login, LoginCheck};
use posthaste_host::clock;
use posthaste_http::{Peer, Place, Secure};

use crate::{
    answer::{Answered, Shared},
    layout::{self, FORM_TOKEN},
    oidc,
    sessions::Who,
    site::Site,
    trouble::{Trouble, html},
    viewer::{Fields, Query, Viewer, go_on, is_from_elsewhere, is_here, is_secure, logged_in, with_cookie},
    words::foreign,
};

/// The form to log in.
pub(crate) async fn ask(State(site): Shared, Query(query): Query) -> Response {
    html(StatusCode::OK, &form(query.get("then").unwrap_or("/"), None, &site))
}

fn form(then: &str, wrong: Option<&str>, site: &Site) -> Markup {
    let provider = site.provider();
    site.keep_link();
    layout::bare(
        "Log in",
        &html! {
            h1 { "Log in" }
            @if let Some(wrong) = wrong { p .wrong role="alert" { (wrong) } }
            @if let Some(by) = provider.as_ref().map(|provider| provider.settings()) {
                p { a .button href=(oidc::door(by, then)) { "Log in with " (foreign(&by.label)) } }
            }
            @if site.has_passwords() {
                form .login method="post" action="/login" {
                    input type="hidden" name="then" value=(then);
                    label for="user" { "User" }
                    input #user name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus;
                    label for="password" { "Password" }
                    input #password name="password" type="password" autocomplete="current-password" required;
                    button { "Log in" }
                }
            } @else if provider.is_none() {
                p { "No user may open this page yet. On the relay's host, make one:" }
                pre { "posthaste user add NAME --role operator" }
                p { "Until then, a link that logs in once stands in what " code { "posthaste run" } " printed last (under systemd: "
                    code { "journalctl -u posthaste | grep 'the page'" } ")." }
            }
        },
    )
}

/// A password.
pub(crate) async fn check(State(site): Shared, request: Request) -> Result<Response, Response> {
    let (mut parts, body) = request.into_parts();
    let Ok(Peer(ip)) = Peer::from_request_parts(&mut parts, &site).await;
    let secure = is_secure(&parts);
    if is_from_elsewhere(&parts.headers) {
        return Err(Trouble::Forged.into_response());
    }
    let place = parts.extensions.get::<Arc<Place>>().cloned();
    let body = Bytes::from_request(Request::from_parts(parts, body), &site).await.map_err(axum::response::IntoResponse::into_response)?;
    let given = Fields::read(&body);
    let (name, password) = (given.get("user").unwrap_or_default(), given.raw("password"));
    let then = given.get("then").filter(|then| is_here(then)).unwrap_or("/");
    let refuse = |status, words: &str| html(status, &form(then, Some(words), &site));
    if !site.takes_passwords() {
        return Err(refuse(StatusCode::FORBIDDEN, "Nobody logs in by a password here."));
    }
    let guess = site.desk.lockout.guess(ip).await;
    let guess = guess.map_err(|shut_out| refuse(StatusCode::TOO_MANY_REQUESTS, &shut_out.answer.text))?;
    let users = site.users();
    match site.desk.passwords.check(&users, name, password, clock::instant()).await {
        LoginCheck::Right(user) if user.role.is_some() => {
            drop(guess);
            place.inspect(|place| place.known(&user.name));
            let cookie = site.begin(Who::User(Login::new(user, Credential::Password)));
            Ok(logged_in(&cookie, secure, then))
        }
        LoginCheck::Right(user) => {
            drop(guess);
            let words = format!(
                "The password is right, but user {} has no role here. On the relay's host: posthaste user role {} viewer",
                user.name, user.name
            );
            Err(refuse(StatusCode::FORBIDDEN, &words))
        }
        LoginCheck::Busy => {
            drop(guess);
            Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "Too many passwords are being checked. Try again in a moment."))
        }
        LoginCheck::Wrong => {
            let wait = guess.wrong().wait;
            if let Some(place) = place {
                let most = site.desk.settings.load().http.http.max_connections;
                place.wait_without(most, wait).await;
            }
            Err(refuse(StatusCode::UNAUTHORIZED, "User or password is wrong."))
        }
    }
}

/// The link that a relay without users prints.
pub(crate) async fn once(
    State(site): Shared,
    Peer(ip): Peer,
    Secure(secure): Secure,
    Extension(place): Extension<Arc<Place>>,
    Query(query): Query,
) -> Response {
    let Ok(guess) = site.desk.lockout.guess(ip).await else {
        return Trouble::Unavailable("Too many wrong passwords or tokens came from your address.".into()).into_response();
    };
    if site.use_link(query.get("token").unwrap_or_default()) {
        drop(guess);
        return logged_in(&site.begin(Who::Link), secure, "/");
    }
    let wait = guess.wrong().wait;
    let most = site.desk.settings.load().http.http.max_connections;
    place.wait_without(most, wait).await;
    let words = if site.has_users() {
        "This relay has users: log in as one."
    } else {
        "This link was used, or is of an earlier start. The newest one stands in what the relay printed last."
    };
    html(StatusCode::UNAUTHORIZED, &form("/", Some(words), &site))
}

/// Logs out.
pub(crate) async fn leave(State(site): Shared, viewer: Viewer, Secure(secure): Secure, body: Bytes) -> Answered {
    if Fields::read(&body).get(FORM_TOKEN) != Some(&*viewer.form_token) {
        return Err(Trouble::Forged);
    }
    site.end(&viewer.cookie);
    Ok(with_cookie(go_on("/login"), "", secure, "; Max-Age=0"))
}
