//! Who asks: a bearer token (RFC 6750), and what may be done with it.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use posthaste_smtp::server::Answer;

use super::{
    Api,
    problem::{Refusal, Refused},
};
use crate::users::{Right, User};

/// The longest token, in bytes.
const TOKEN_MAX: usize = 512;

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Principal(pub(super) Arc<User>);

impl Principal {
    /// A refusal unless this may be done.
    pub(super) fn may(&self, right: Right) -> Result<(), Refused> {
        if self.0.rights.contains(&right) {
            return Ok(());
        }
        let word = Right::ALL.iter().find(|(_, r)| *r == right).map_or("", |(word, _)| word);
        Err(Refusal::mail((
            Answer::not_allowed(format!("user {} does not have the right to {word:?} over HTTP", self.0.name)),
            "not_allowed",
        )))
    }

    fn of(api: &Api, parts: &Parts) -> Option<Self> {
        let given = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = given.split_once(' ')?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > TOKEN_MAX {
            return None;
        }
        api.intake.live.load().users.by_token(token).cloned().map(Self)
    }
}

impl FromRequestParts<Arc<Api>> for Principal {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let unknown = || *Refusal::mail((Answer::new(535, 7, 8, "no such token: give one as `Authorization: Bearer TOKEN`"), "bad_token"));
        Self::of(api, parts).ok_or_else(unknown)
    }
}
