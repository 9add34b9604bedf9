//! Import and export of the list.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::channel::Channel;
use posthaste_host::clock;
use posthaste_http::UnderWay;
use posthaste_suppression::{
    EntryFilter, ListRequest, Over, Reason,
    transfer::{self, Defaults, Format, Importer},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Asked, CHANGE, ENTRY_MEMORY, Of, READ, bad_query};
use crate::{
    auth::Principal,
    body::{media_type, unsupported},
    problem::{BoxedRefusal, Problem, Refusal, broken},
    state::Api,
};

/// The most bad lines reported.
const BAD_TOLD: usize = 100;
/// A file is read and added in pieces of this many bytes.
const PIECE: usize = 64 << 10;
/// The memory of an import, however long the file: a piece, the entries in it at four bytes a line, and their way to the spool.
const IMPORT_MEMORY: u64 = 8 << 20;
/// Pages buffered for a client that reads slowly, and the entries of one.
const PAGES: usize = 2;
const EXPORTED: usize = 1000;

/// The options of an import.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct How {
    /// The scope of lines that name none; default: `global` for those who may change it, otherwise `user:` and the token's user. Lines with
    /// scopes that the token may not change are invalid.
    scope: Option<String>,
    /// The reason of lines that give none; default: `manual`.
    reason: Option<String>,
    /// Whether entries replace existing ones that expire later.
    replace: bool,
}

/// The format of an export, and a filter of entries.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct What {
    /// `csv` (the default) or `jsonl`.
    format: Option<String>,
    /// Only entries of this scope.
    scope: Option<String>,
    /// Only entries with this reason.
    reason: Option<String>,
    /// Only addresses at this domain.
    domain: Option<String>,
}

/// The result of an import.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Imported {
    /// Entries that were added or replaced others.
    added: usize,
    /// Entries not added because an existing one expires later.
    kept: usize,
    /// The number of invalid lines.
    bad: usize,
    /// The first invalid lines.
    bad_lines: Vec<BadLine>,
    /// Unknown columns, which were ignored.
    ignored: Vec<String>,
}

/// An invalid line.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BadLine {
    /// Its number, from 1.
    line: usize,
    /// What is wrong with it.
    why: String,
}

/// Put many addresses onto the list.
///
/// As CSV with a line of column names (or a list of addresses, one per line), or as JSON lines. Good lines are imported even if others are
/// bad, and as they come, even if the file breaks off; a file may safely be sent again.
#[utoipa::path(
    post,
    path = "/v1/suppressions/import",
    tag = "suppressions",
    security(("token" = ["suppress"])),
    params(How),
    request_body(content((String = "text/csv"), (String = "application/x-ndjson")), description = "The file."),
    responses(
        (status = 200, description = "What became of it.", body = Imported),
        (status = 400, description = "A query that means nothing here.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or one that nobody has.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token has no right to this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The scope belongs to others.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The file is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A body of another kind.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The change could not be made durable at present.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn import(
    State(api): State<Arc<Api>>,
    who: Principal,
    how: Asked<How>,
    request: Request,
) -> Result<Json<Imported>, Refusal> {
    let imported = async {
        who.may_by(&CHANGE)?;
        let how = how.of()?;
        let form = match media_type(request.headers()).as_str() {
            "text/csv" => Format::Csv,
            "application/x-ndjson" | "application/jsonl" => Format::Jsonl,
            other => return Err(unsupported(other, "text/csv or application/x-ndjson")),
        };
        let defaults = Defaults {
            scope: who.changes(how.scope.as_deref().map(|s| s.parse().map_err(|e| bad_query(&e))).transpose()?)?,
            within: who.changeable(),
            reason: how.reason.as_deref().map_or(Ok(Reason::Manual), |r| r.parse().map_err(|e| bad_query(&e)))?,
            now: clock::now(),
            by: who.0.name.to_string(),
        };
        let within = defaults.within.clone();
        let over = if how.replace { Over::Any } else { Over::Stronger };
        let under_way = request.extensions().get::<UnderWay>().cloned();
        let mut body = api.bodies.pieces(request, &who.0.name, &api.settings.get(), IMPORT_MEMORY).await?;
        let mut importer = Some(Importer::new(form, defaults));
        let mut all = Imported { added: 0, kept: 0, bad: 0, bad_lines: Vec::new(), ignored: Vec::new() };
        while let Some(mut reading) = importer.take() {
            let piece = body.next(PIECE).await.map_err(|refused| refused.after(all.added))?;
            // What the token may change is decided before the body comes: it must still be so.
            if who.clone().still(&api)?.changeable() != within {
                return Err(Refusal::not_found("scope").after(all.added));
            }
            let read = tokio::task::spawn_blocking(move || match piece.is_empty() {
                true => (reading.finish(), None),
                false => (reading.push(&piece), Some(reading)),
            });
            let (part, reading) = read.await.map_err(|e| broken(&e))?;
            importer = reading;
            all.add(part, api.as_ref(), over).await?;
            under_way.iter().for_each(UnderWay::goes_on);
        }
        Ok(Json(all))
    };
    imported.await.map_err(|refused: BoxedRefusal| *refused)
}

impl Imported {
    /// Adds the entries of a part to the list.
    async fn add(&mut self, part: transfer::Import, api: &Api, over: Over) -> Result<(), BoxedRefusal> {
        if !part.entries.is_empty() {
            let (added, kept) =
                api.change(ListRequest::Add { entries: part.entries, over }).await.map_err(|refused| refused.after(self.added))?;
            (self.added, self.kept) = (self.added + added, self.kept + kept);
        }
        self.bad += part.bad.len();
        let told = |line: transfer::BadLine| BadLine { line: line.line, why: line.why };
        self.bad_lines.extend(part.bad.into_iter().map(told).take(BAD_TOLD - self.bad_lines.len()));
        self.ignored.extend(part.ignored.into_iter().map(|name| name.chars().take(80).collect()).take(BAD_TOLD));
        Ok(())
    }
}

/// Export the list.
#[utoipa::path(
    get,
    path = "/v1/suppressions/export",
    tag = "suppressions",
    security(("token" = ["read"])),
    params(What),
    responses(
        (status = 200, description = "The file, fit for `import`.", content((String = "text/csv"), (String = "application/x-ndjson"))),
        (status = 400, description = "A query that means nothing here.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or one that nobody has.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token has no right to this.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No room at present: come back after `Retry-After` seconds.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn export(State(api): State<Arc<Api>>, who: Principal, what: Asked<What>) -> Result<Response, Refusal> {
    let (form, filter) = wanted(&who, what).map_err(|refused| *refused)?;
    let memory = EXPORTED as u64 * ENTRY_MEMORY * (PAGES as u64 + 1);
    let share = api.bodies.for_answer(&who.0.name, &api.settings.get(), memory).await.map_err(|refused| *refused)?;
    let (mut pages, body) = Channel::<Bytes, std::io::Error>::new(PAGES);
    tokio::spawn(async move {
        let (mut after, _share) = (None, share);
        let mut text = transfer::head(form);
        loop {
            // Without the last chunk the client sees that the file is incomplete.
            let Ok((entries, next)) = api.list(ListRequest::List { filter: filter.clone(), after, limit: EXPORTED }).await else {
                return pages.abort(std::io::Error::other("the list cannot be read"));
            };
            entries.iter().for_each(|entry| text += &transfer::line(entry, form));
            if !text.is_empty() && pages.send_data(Bytes::from(std::mem::take(&mut text))).await.is_err() {
                return;
            }
            match next {
                Some(next) => after = Some(next),
                None => return,
            }
        }
    });
    let kind = match form {
        Format::Csv => "text/csv; charset=utf-8",
        Format::Jsonl => "application/x-ndjson",
    };
    Ok(([(header::CONTENT_TYPE, kind)], Body::new(body)).into_response())
}

fn wanted(who: &Principal, what: Asked<What>) -> Result<(Format, EntryFilter), BoxedRefusal> {
    who.may_by(&READ)?;
    let what = what.of()?;
    let form = match what.format.as_deref() {
        None | Some("csv") => Format::Csv,
        Some("jsonl") => Format::Jsonl,
        Some(other) => return Err(bad_query(&format!("format is csv or jsonl, not {other:?}"))),
    };
    let filter = super::Which { scope: what.scope, reason: what.reason, domain: what.domain, ..super::Which::default() }.filter(who)?;
    Ok((form, filter))
}
