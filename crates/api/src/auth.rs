//! Authentication by bearer token (RFC 6750), and the token's rights.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use posthaste_access::users::{Credential, Login, Right, TokenHash, User};
use posthaste_http::{Peer, Place};
use posthaste_smtp::server::Answer;
use posthaste_suppression::{Breadth, UserScope};

use crate::{
    problem::{BoxedRefusal, Refusal},
    state::Api,
};

/// The longest token, in bytes.
const TOKEN_MAX: usize = 512;

/// The authenticated user of a request, and its login, which may end while the request's body is on its way.
#[derive(Clone, Debug)]
pub(super) struct Principal(pub(super) Arc<User>, Login);

impl Principal {
    /// Refuses the request unless the user has this right.
    pub(super) fn may(&self, right: Right) -> Result<(), BoxedRefusal> {
        self.may_by(&[right])
    }

    /// Refuses the request unless the user has one of these rights.
    pub(super) fn may_by(&self, rights: &[Right]) -> Result<(), BoxedRefusal> {
        if rights.iter().any(|right| self.0.has(*right)) {
            return Ok(());
        }
        Err(self.lacks(rights))
    }

    /// The refusal of a user who has none of these rights, with what an operator does about it.
    pub(super) fn lacks(&self, rights: &[Right]) -> BoxedRefusal {
        let words: Vec<&str> = Right::ALL.iter().filter(|(_, right)| rights.contains(right)).map(|(word, _)| *word).collect();
        let quoted = words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
        let has = Right::ALL.iter().filter(|(_, right)| self.0.has(*right)).map(|(word, _)| *word);
        let wanted = has.chain(words.first().copied()).collect::<Vec<_>>().join(",");
        let name = &self.0.name;
        let text = format!(
            "user {name} does not have the right to {quoted}: `posthaste user token {name} --rights {wanted}` makes a token that has it"
        );
        Refusal::mail(Answer::not_allowed(text), "not_allowed")
    }

    /// The user as it is now, after the body has come. An error: it was taken away meanwhile, or its token was.
    pub(super) fn still(self, api: &Api) -> Result<Self, BoxedRefusal> {
        let settings = api.settings.get();
        let user = settings.users.still(&self.1).cloned();
        user.map(|user| Self(user, self.1)).ok_or_else(no_such_token)
    }

    /// Whether it may see a message: it is the user's own, or the user watches over all. `owner`: the user who submitted it; Some(None): nobody
    /// logged in; None: that is not known any more.
    pub(super) fn may_see(&self, owner: Option<Option<&str>>) -> bool {
        self.0.has(Right::Monitor)
            || match owner {
                Some(Some(owner)) => owner == &*self.0.name,
                // The only user is taken for the one behind the listeners too.
                Some(None) | None => self.0.alone,
            }
    }

    /// The scopes of the suppression list whose entries it may read; None: all.
    pub(super) fn readable(&self) -> Option<Vec<Breadth>> {
        if self.0.has(Right::Monitor) { None } else { self.changeable() }
    }

    /// The scopes of the suppression list that it may change, its own first; None: all.
    pub(super) fn changeable(&self) -> Option<Vec<Breadth>> {
        if self.0.has(Right::Admin) || self.0.alone {
            return None;
        }
        let own = UserScope::new(&self.0.name).map(Breadth::User);
        Some(own.into_iter().chain(self.0.own_streams().cloned().map(Breadth::Stream)).collect())
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
        let guess = api.lockout.guess(ip).await.map_err(|shut_out| *Refusal::shut_out(shut_out))?;
        let token = Self::token(parts);
        let settings = api.settings.get();
        if let Some((token, user)) = token.and_then(|token| Some((token, settings.users.by_token(token)?))) {
            let login = Login::new(user.clone(), Credential::Token(TokenHash::of(token)));
            if let Some(place) = parts.extensions.get::<Arc<Place>>() {
                place.known(&user.name);
            }
            return Ok(Self(user.clone(), login));
        }
        // A request without a token is not an attempt to guess one.
        let wait = match token {
            Some(_) => guess.wrong().wait,
            None => {
                drop(guess);
                settings.bans.rules.delay
            }
        };
        let most = settings.http.max_connections;
        drop(settings);
        if let Some(place) = parts.extensions.get::<Arc<Place>>() {
            place.wait_without(most, wait).await;
        }
        Err(*no_such_token())
    }
}

fn no_such_token() -> BoxedRefusal {
    Refusal::mail(Answer::new(535, 7, 8, "no such token: give one as `Authorization: Bearer TOKEN`"), "bad_token")
}
