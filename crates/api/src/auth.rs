//! Authentication by bearer token (RFC 6750), and the token's rights.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use posthaste_access::users::{Right, User};
use posthaste_smtp::server::Answer;
use tokio::time::sleep;

use crate::{
    places::Place,
    problem::{BoxedRefusal, Refusal},
    state::{Api, Peer},
};

/// The longest token, in bytes.
const TOKEN_MAX: usize = 512;

/// The longest delay of the answer to a wrong token: a relay that stops has to wait for it too.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The authenticated user of a request.
#[derive(Clone, Debug)]
pub(super) struct Principal(pub(super) Arc<User>);

impl Principal {
    /// Refuses the request unless the user has this right.
    pub(super) fn may(&self, right: Right) -> Result<(), BoxedRefusal> {
        if self.0.rights.contains(&right) {
            return Ok(());
        }
        let word = Right::ALL.iter().find(|(_, r)| *r == right).map_or("", |(word, _)| word);
        Err(Refusal::mail(
            Answer::not_allowed(format!("user {} does not have the right to {word:?} over HTTP", self.0.name)),
            "not_allowed",
        ))
    }

    /// The token given in the request.
    fn token(parts: &Parts) -> Option<&str> {
        let given = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = given.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_MAX).then_some(token)
    }
}

impl FromRequestParts<Arc<Api>> for Principal {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let Ok(Peer(ip)) = Peer::from_request_parts(parts, api).await;
        if let Some(shut_out) = api.lockout.shut_out(ip) {
            return Err(*Refusal::shut_out(shut_out));
        }
        let token = Self::token(parts);
        let settings = api.settings.get();
        if let Some(user) = token.and_then(|token| settings.users.by_token(token)) {
            if let Some(place) = parts.extensions.get::<Arc<Place>>() {
                place.known();
            }
            return Ok(Self(user.clone()));
        }
        // A request without a token is not an attempt to guess one.
        let wait = if token.is_some() { api.lockout.failed(ip).wait } else { settings.bans.rules.delay };
        let most = settings.http.max_connections;
        drop(settings);
        // Whoever guesses waits without a place, and is hung up on; with too many that wait, at once.
        if parts.extensions.get::<Arc<Place>>().is_none_or(|place| place.give_up(most)) {
            sleep(wait.min(WAIT_MAX)).await;
        }
        Err(*Refusal::mail(Answer::new(535, 7, 8, "no such token: give one as `Authorization: Bearer TOKEN`"), "bad_token"))
    }
}
