//! `/v1/guard`: the mail of users and streams that behave like stolen accounts. Offers what `posthaste guard` does.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use jiff::SignedDuration;
use posthaste_access::users::Right;
use posthaste_guard::{Done, EndRequest, GuardError, How, Shown};
use posthaste_host::clock;
use posthaste_queue::MailOf;
use posthaste_smtp::server::Answer as Said;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use crate::{
    auth::Principal,
    problem::{BoxedRefusal, FieldError, Problem, Refusal, json},
    state::Api,
};

/// Whoever watches over all may look; only who may change everything may send or remove what is held.
const LOOK: [Right; 2] = [Right::Monitor, Right::Admin];

/// Whose new mail is held, and who is left alone for a while.
#[derive(Debug, Serialize)]
pub(super) struct Guarded {
    guard: Vec<Shown>,
}

/// What is to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    /// Whose mail: `user:NAME` or `stream:NAME`.
    #[schema(example = "user:shop")]
    key: String,
    /// For how long it is left alone, whatever its figures, such as `24h`. Default: until the figures that made the guard hold are gone, for
    /// `guard.grace` at most.
    #[serde(rename = "for", default)]
    lasts: Option<String>,
    /// Whether new mail is still held.
    #[serde(default)]
    keep_holding: bool,
}

/// What is to be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    /// Whose mail: `user:NAME` or `stream:NAME`.
    #[schema(example = "user:shop")]
    key: String,
    /// Why, for the log.
    #[schema(example = "the password was stolen")]
    reason: String,
    /// Whether new mail is still held.
    #[serde(default)]
    keep_holding: bool,
}

/// Show whose new mail the guard holds.
///
/// `guard` has an entry for each user and stream: `key`, `state` (`holding`, or `left_alone` after a release or a drop), `since`, `rules`, `why`,
/// `messages`, `recipients`, `bytes`, what fits at most, and when the oldest expires.
#[utoipa::path(
    get,
    path = "/v1/guard",
    tag = "guard",
    security(("token" = ["monitor", "admin"])),
    responses(
        (status = 200, description = "What is held.", body = Object),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"monitor\" or \"admin\".", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>, who: Principal) -> Result<Json<Guarded>, Refusal> {
    let listed = async {
        who.may_by(&LOOK)?;
        let guard = api.intake.guard.list_now().await.map_err(|_| stopping())?;
        Ok(Json(Guarded { guard }))
    };
    listed.await.map_err(|refused: BoxedRefusal| *refused)
}

/// Send what the guard holds of a user or a stream.
///
/// New mail is held no longer, unless `keep_holding` is set, and the figures that made the guard hold are left alone for a while.
#[utoipa::path(
    post,
    path = "/v1/guard/release",
    tag = "guard",
    security(("token" = ["admin"])),
    request_body(content = Release, content_type = "application/json", description = "Whose."),
    responses(
        (status = 200, description = "It goes out: `key`, `messages`, `holding` (whether new mail is still held), `until` when the figures are left alone.", body = Object),
        (status = 400, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"admin\".", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The guard holds no mail of it.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn release(State(api): State<Arc<Api>>, who: Principal, request: Request) -> Result<Json<Done>, Refusal> {
    let released = async {
        let (asked, by): (Release, String) = asked(&api, who, request).await?;
        let lasts = asked.lasts.as_deref().map(span).transpose()?;
        end(&api, &asked.key, How::Release { lasts }, asked.keep_holding, by).await
    };
    released.await.map_err(|refused: BoxedRefusal| *refused)
}

/// Remove what the guard holds of a user or a stream.
///
/// Each recipient ends as `cancelled`, and nobody is notified. New mail is held no longer, unless `keep_holding` is set.
#[utoipa::path(
    post,
    path = "/v1/guard/drop",
    tag = "guard",
    security(("token" = ["admin"])),
    request_body(content = Removal, content_type = "application/json", description = "Whose, and why."),
    responses(
        (status = 200, description = "It is removed: `key`, `messages`, `holding` (whether new mail is still held), `until` when the figures are left alone.", body = Object),
        (status = 400, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"admin\".", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The guard holds no mail of it.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(State(api): State<Arc<Api>>, who: Principal, request: Request) -> Result<Json<Done>, Refusal> {
    let removed = async {
        let (asked, by): (Removal, String) = asked(&api, who, request).await?;
        if asked.reason.trim().is_empty() {
            return Err(wrong("/reason", "say why: it stands in the log"));
        }
        end(&api, &asked.key, How::Drop { reason: asked.reason }, asked.keep_holding, by).await
    };
    removed.await.map_err(|refused: BoxedRefusal| *refused)
}

/// The body of a request of somebody who may change everything, and who that is.
async fn asked<T: DeserializeOwned>(api: &Api, who: Principal, request: Request) -> Result<(T, String), BoxedRefusal> {
    who.may(Right::Admin)?;
    let body = api.bodies.read(request, &who.0.name, &api.settings.get()).await?;
    let who = who.still(api)?;
    who.may(Right::Admin)?;
    Ok((json(&body.bytes)?, who.0.name.to_string()))
}

async fn end(api: &Api, key: &str, how: How, keep_holding: bool, by: String) -> Result<Json<Done>, BoxedRefusal> {
    let of: MailOf = key.parse().map_err(|error: posthaste_queue::NoMailOf| wrong("/key", error.to_string()))?;
    let done = api.intake.guard.end(EndRequest { of, how, keep_holding, by }, clock::now()).await;
    done.map(Json).map_err(|error| match error {
        GuardError::NotHeld(_) => Refusal::http(StatusCode::NOT_FOUND, "not_found", error.to_string()),
        GuardError::Stopping(_) => stopping(),
    })
}

fn span(text: &str) -> Result<SignedDuration, BoxedRefusal> {
    let span = text.parse::<SignedDuration>().ok().filter(|span| !span.is_negative());
    span.ok_or_else(|| wrong("/for", format!("{text:?} is no span such as \"30m\", \"24h\" or \"72h\"")))
}

fn wrong(field: &str, detail: impl Into<String>) -> BoxedRefusal {
    let detail = detail.into();
    let error = FieldError { field: field.to_owned(), detail: detail.clone() };
    Refusal::mail(Said::new(554, 6, 0, format!("{field}: {detail}")), "bad_field").about(vec![error])
}

fn stopping() -> BoxedRefusal {
    Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the relay is stopping")
}
