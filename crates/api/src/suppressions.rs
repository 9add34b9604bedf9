//! `/v1/suppressions`: the list of addresses to which no mail is sent. Offers what `posthaste suppress` does; changes are answered once
//! durable.

pub(crate) mod transfer;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, Request, State},
    http::StatusCode,
    response::Response,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use posthaste_access::users::Right;
use posthaste_host::clock;
use posthaste_mail::Address;
use posthaste_smtp::server::Answer as Said;
use posthaste_suppression::{
    Breadth, EntryFilter, EntrySource, ListAnswer, ListRequest, Over, Reason, SuppressionEntry, answer as perform,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    answer,
    auth::Principal,
    problem::{BoxedRefusal, Problem, Refusal, json},
    state::{Api, Segment},
};

/// The rights by which the list may be read, and changed. [`Principal`] says which scopes of it.
const READ: [Right; 3] = [Right::Read, Right::Monitor, Right::Admin];
const CHANGE: [Right; 2] = [Right::Suppress, Right::Admin];

/// The most entries of one page.
const PAGE_MAX: usize = 1000;
const PAGE: usize = 100;
/// What an entry of a page takes at most, read and written.
const ENTRY_MEMORY: u64 = 4 << 10;

/// One entry of the list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Suppression {
    /// The address to which no mail is sent.
    #[schema(example = "ann@example.org")]
    address: String,
    /// Whose mail it stops: `global`, `stream:NAME` or `user:NAME`.
    #[schema(example = "global")]
    scope: String,
    /// Why: `hard_bounce`, `complaint`, `unsubscribe` or `manual`.
    #[schema(example = "manual")]
    reason: &'static str,
    /// Since when.
    #[schema(format = DateTime, value_type = String)]
    since: Timestamp,
    /// When it expires; absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, value_type = Option<String>)]
    until: Option<Timestamp>,
    /// What the bounce meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// The message that bounced.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// The classifier's rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// The receiver's reply, or a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Who made the entry, if it was made by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// A page of the list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Suppressions {
    /// The entries.
    suppressions: Vec<Suppression>,
    /// The cursor of the next page, if there may be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A new entry of the list.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NewSuppression {
    /// Whose mail it stops: `global`, `stream:NAME` or `user:NAME`. Default: `global` for the relay's only user and for tokens with the right
    /// to "admin", `user:` and the token's user for others, who can give only that and streams that are listed for them.
    scope: Option<String>,
    /// Why: `hard_bounce`, `complaint`, `unsubscribe` or `manual` (the default).
    reason: Option<String>,
    /// When it expires; default: never.
    #[schema(format = DateTime, value_type = Option<String>)]
    until: Option<Timestamp>,
    /// A remark.
    #[schema(max_length = 512)]
    text: Option<String>,
}

/// A filter of entries, and the page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only entries of this scope: `global`, `stream:NAME` or `user:NAME`.
    scope: Option<String>,
    /// Only entries with this reason.
    reason: Option<String>,
    /// Only addresses at this domain.
    domain: Option<String>,
    /// The cursor: `next` of the previous page.
    cursor: Option<String>,
    /// The most entries on the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

/// One scope of an address.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Where {
    /// Only in this scope; default: in all that the token may change.
    scope: Option<String>,
}

/// List the suppressed addresses.
///
/// Shows the entries of the token's user and of the streams listed for it; all with the right to "monitor" or "admin".
#[utoipa::path(
    get,
    path = "/v1/suppressions",
    tag = "suppressions",
    security(("token" = ["read"])),
    params(Which),
    responses(
        (status = 200, description = "A page of the list, in a stable order.", body = Suppressions),
        (status = 400, description = "The query is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No room at present: come back after `Retry-After` seconds.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>, who: Principal, which: Asked<Which>) -> Result<Response, Refusal> {
    let listed = async {
        who.may_by(&READ)?;
        let which = which.of()?;
        let after = which.cursor.as_deref().map(cursor_key).transpose()?;
        let limit = which.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
        let filter = which.filter(&who)?;
        let share = api.bodies.for_answer(&who.0.name, &api.settings.get(), limit as u64 * ENTRY_MEMORY).await?;
        let (entries, next) = api.list(ListRequest::List { filter, after, limit }).await?;
        Ok(answer::json(&Suppressions::of(entries, next), share))
    };
    listed.await.map_err(|refused: BoxedRefusal| *refused)
}

/// Look an address up.
#[utoipa::path(
    get,
    path = "/v1/suppressions/{address}",
    tag = "suppressions",
    security(("token" = ["read"])),
    params(("address" = String, Path, description = "The address.")),
    responses(
        (status = 200, description = "Its entries.", body = Suppressions),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "It is not on the list.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The address is not valid.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn find(State(api): State<Arc<Api>>, who: Principal, Segment(address): Segment) -> Result<Json<Suppressions>, Refusal> {
    let found = async {
        who.may_by(&READ)?;
        let filter = EntryFilter { address: Some(named(&address)?), within: who.readable(), ..EntryFilter::default() };
        match api.list(ListRequest::List { filter, after: None, limit: PAGE_MAX }).await? {
            (entries, _) if entries.is_empty() => Err(Refusal::not_found("entry")),
            (entries, _) => Ok(Json(Suppressions::of(entries, None))),
        }
    };
    found.await.map_err(|refused: BoxedRefusal| *refused)
}

/// Put an address onto the list.
///
/// Replaces an existing entry of the same scope.
#[utoipa::path(
    put,
    path = "/v1/suppressions/{address}",
    tag = "suppressions",
    security(("token" = ["suppress"])),
    params(("address" = String, Path, description = "The address.")),
    request_body(content = Option<NewSuppression>, content_type = "application/json", description = "Why, for whom, how long; or nothing."),
    responses(
        (status = 200, description = "It is on the list.", body = Suppression),
        (status = 400, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The scope belongs to others.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The address or the entry is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The change could not be made durable at present.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    who: Principal,
    Segment(address): Segment,
    request: Request,
) -> Result<Json<Suppression>, Refusal> {
    let put = async {
        who.may_by(&CHANGE)?;
        let address = named(&address)?;
        let settings = api.settings.get();
        let body = api.bodies.read(request, &who.0.name, &settings).await?;
        let who = who.still(&api)?;
        who.may_by(&CHANGE)?;
        let new = if body.bytes.is_empty() { NewSuppression::default() } else { json(&body.bytes)? };
        let scope = new.scope.as_deref().map(scope).transpose()?;
        let scope = who.changes(scope)?;
        let reason = new.reason.as_deref().map(reason).transpose()?.unwrap_or(Reason::Manual);
        let source = EntrySource { text: new.text, by: Some(who.0.name.to_string()), ..EntrySource::default() };
        let entry = SuppressionEntry { until: new.until, ..SuppressionEntry::new(address, scope, reason, clock::now(), None, source) };
        api.change(ListRequest::Add { entries: vec![entry.clone()], over: Over::Any }).await?;
        Ok(Json(Suppression::of(entry)))
    };
    put.await.map_err(|refused: BoxedRefusal| *refused)
}

/// Take an address off the list.
#[utoipa::path(
    delete,
    path = "/v1/suppressions/{address}",
    tag = "suppressions",
    security(("token" = ["suppress"])),
    params(("address" = String, Path, description = "The address."), Where),
    responses(
        (status = 204, description = "The address is no longer on the list, and the bounces counted against it are forgotten."),
        (status = 400, description = "The query is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "It was not on the list.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The address is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The change could not be made durable at present.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    who: Principal,
    Segment(address): Segment,
    within: Asked<Where>,
) -> Result<StatusCode, Refusal> {
    let removed = async {
        who.may_by(&CHANGE)?;
        let address = named(&address)?;
        let scopes = match (within.of()?.scope.as_deref().map(scope).transpose()?, who.changeable()) {
            (None, None) => vec![None],
            (None, Some(own)) => own.into_iter().map(Some).collect(),
            (scope, _) => vec![Some(who.changes(scope)?)],
        };
        let mut removed = 0;
        for scope in scopes {
            removed += api.change(ListRequest::Remove { addresses: vec![address.clone()], scope }).await?.0;
        }
        if removed == 0 { Err(Refusal::not_found("entry")) } else { Ok(StatusCode::NO_CONTENT) }
    };
    removed.await.map_err(|refused: BoxedRefusal| *refused)
}

/// A query, or the error in it: the token is checked before the query.
pub(super) type Asked<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

pub(super) trait Of<T> {
    /// The query.
    fn of(self) -> Result<T, BoxedRefusal>;
}

impl<T> Of<T> for Asked<T> {
    fn of(self) -> Result<T, BoxedRefusal> {
        self.map(|Query(query)| query).map_err(|e| Refusal::http(StatusCode::BAD_REQUEST, "bad_query", e.body_text()))
    }
}

impl Api {
    async fn list(&self, request: ListRequest) -> Result<(Vec<SuppressionEntry>, Option<String>), BoxedRefusal> {
        match self.suppression(request).await? {
            ListAnswer::Entries { entries, next } => Ok((entries, next)),
            ListAnswer::Changed { .. } => unreachable!("a list is answered with entries"),
        }
    }

    /// How many entries were added or removed, and how many were not. The change is durable.
    async fn change(&self, request: ListRequest) -> Result<(usize, usize), BoxedRefusal> {
        match self.suppression(request).await? {
            ListAnswer::Changed { changed, kept } => Ok((changed, kept)),
            ListAnswer::Entries { .. } => unreachable!("a change is answered with its extent"),
        }
    }

    async fn suppression(&self, request: ListRequest) -> Result<ListAnswer, BoxedRefusal> {
        let rules = self.settings.get().suppression.clone();
        perform(&self.intake.register, rules, request, clock::now()).await.map_err(|why| {
            tracing::error!(%why, "the suppression list cannot be changed");
            Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "spool_trouble", "the relay could not store this, try again later")
        })
    }
}

impl Principal {
    /// The scope of a change: the one asked for, or without one the widest that the user may change. Scopes of others do not exist for it.
    pub(super) fn changes(&self, asked: Option<Breadth>) -> Result<Breadth, BoxedRefusal> {
        match (asked, self.changeable()) {
            (asked, None) => Ok(asked.unwrap_or(Breadth::Global)),
            (Some(asked), Some(own)) if own.contains(&asked) => Ok(asked),
            (Some(Breadth::Global), Some(_)) => Err(self.lacks(&[Right::Admin])),
            (None, Some(own)) if !own.is_empty() => Ok(own[0].clone()),
            _ => Err(Refusal::not_found("scope")),
        }
    }
}

impl Suppressions {
    fn of(entries: Vec<SuppressionEntry>, next: Option<String>) -> Self {
        let next = next.map(|key| BASE64_URL_SAFE_NO_PAD.encode(key));
        Self { suppressions: entries.into_iter().map(Suppression::of).collect(), next }
    }
}

impl Suppression {
    fn of(entry: SuppressionEntry) -> Self {
        let source = entry.source;
        Self {
            address: entry.address.to_string(),
            scope: entry.scope.to_string(),
            reason: entry.reason.as_str(),
            since: entry.since,
            until: entry.until,
            class: source.class.map(|c| c.to_string()),
            message: source.message.map(|m| m.to_string()),
            rule: source.rule.map(|r| r.to_string()),
            text: source.text,
            by: source.by,
        }
    }
}

impl Which {
    /// The filter, within what `who` may read.
    fn filter(&self, who: &Principal) -> Result<EntryFilter, BoxedRefusal> {
        Ok(EntryFilter {
            address: None,
            domain: self.domain.as_ref().map(|d| d.to_ascii_lowercase()),
            scope: self.scope.as_deref().map(|s| s.parse()).transpose().map_err(|e| bad_query(&e))?,
            reason: self.reason.as_deref().map(|r| r.parse()).transpose().map_err(|e| bad_query(&e))?,
            within: who.readable(),
        })
    }
}

fn cursor_key(cursor: &str) -> Result<String, BoxedRefusal> {
    let key = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
    key.ok_or_else(|| bad_query(&"the cursor is what the last page called `next`"))
}

pub(super) fn bad_query(why: &dyn std::fmt::Display) -> BoxedRefusal {
    Refusal::http(StatusCode::BAD_REQUEST, "bad_query", why.to_string())
}

fn named(address: &str) -> Result<Address, BoxedRefusal> {
    Address::international(address).map_err(|e| Refusal::mail(Said::new(501, 1, 3, e.to_string()), "bad_address"))
}

fn scope(text: &str) -> Result<Breadth, BoxedRefusal> {
    text.parse().map_err(|e: posthaste_suppression::WordError| Refusal::mail(Said::new(554, 6, 0, e.to_string()), "bad_field"))
}

fn reason(text: &str) -> Result<Reason, BoxedRefusal> {
    text.parse().map_err(|e: posthaste_suppression::WordError| Refusal::mail(Said::new(554, 6, 0, e.to_string()), "bad_field"))
}
