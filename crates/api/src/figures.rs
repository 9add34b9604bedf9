//! `/v1/report` and `/v1/tallies`: what the delivery log comes to.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use jiff::{SignedDuration, Timestamp};
use posthaste_access::users::Right;
use posthaste_host::clock;
use posthaste_tallies::{Dimension, Grain, Span, Tallies, TalliesError};
use posthaste_watch::{Report, ReportRequest, Row};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::{
    answer,
    auth::Principal,
    problem::{BoxedRefusal, Problem, Refusal, broken},
    state::Api,
    suppressions::{Asked, Of, bad_query},
};

/// The most rows of a report, and cells of a series.
const ROWS_MAX: usize = 1000;
const ROWS: usize = 20;
const CELLS_MAX: usize = 10_000;
/// What a row takes at most, in memory and written.
const ROW_MEMORY: u64 = 8 << 10;

/// A span of time, and by what its figures are told apart.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asks {
    /// The begin of the span. Default: 24 hours before its end.
    #[param(format = DateTime, value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Its end. Default: now.
    #[param(format = DateTime, value_type = Option<String>)]
    until: Option<Timestamp>,
    /// By what: `all`, `provider`, `source`, `stream`, `user`, `from_domain`, `domain`, `tag`, `class`, `stream_provider`, `source_provider`,
    /// `rule_provider` or `reason`.
    by: Option<String>,
    /// The most rows, the largest first.
    #[param(minimum = 1, maximum = 1000, default = 20)]
    rows: Option<usize>,
    /// How fine a series is: `minute`, `hour` or `day` of the configured time zone.
    grain: Option<String>,
    /// Only this key, for a series. A pair's halves stand in it with a blank between them.
    key: Option<String>,
}

/// A series: the figures of each minute, hour or day in which there were any.
#[derive(Debug, Serialize)]
struct Series {
    by: &'static str,
    grain: &'static str,
    steps: Vec<Step>,
    /// Whether there was more than fits into an answer.
    cut: bool,
}

#[derive(Debug, Serialize)]
struct Step {
    from: Timestamp,
    rows: Vec<Row>,
}

/// Report what became of the mail.
///
/// The same as `posthaste report --json`: totals at the top (`accepted`, `delivered`, `deferred`, `bounced`, …), failures by class, times in
/// milliseconds, and a row for each key of `by`. `finished` is delivered + bounced + expired.
#[utoipa::path(
    get,
    path = "/v1/report",
    tag = "figures",
    security(("token" = ["monitor"])),
    params(Asks),
    responses(
        (status = 200, description = "The report.", body = Object),
        (status = 400, description = "The query is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"monitor\".", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are no figures at present.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn report(State(api): State<Arc<Api>>, who: Principal, asks: Asked<Asks>) -> Result<Response, Refusal> {
    let reported = async {
        who.may(Right::Monitor)?;
        let asks = asks.of()?;
        let (span, by) = (asks.span()?, asks.by()?);
        let most = asks.rows.unwrap_or(ROWS).clamp(1, ROWS_MAX);
        let share = api.bodies.for_answer(&who.0.name, &api.settings.get().http, most as u64 * ROW_MEMORY).await?;
        let request = ReportRequest { from: span.from, to: span.to, by: None, most };
        let score = api.settings.get().score.clone();
        let report = api.figures(move |tallies| Report::read(tallies, &request, by)?.scored(tallies, clock::now(), &score)).await?;
        Ok(answer::json(&report, share))
    };
    reported.await.map_err(|refused: BoxedRefusal| *refused)
}

/// The figures of each minute, hour or day.
///
/// At most 10,000 rows: `cut` says whether there are more.
#[utoipa::path(
    get,
    path = "/v1/tallies",
    tag = "figures",
    security(("token" = ["monitor"])),
    params(Asks),
    responses(
        (status = 200, description = "The series.", body = Object),
        (status = 400, description = "The query is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"monitor\".", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are no figures at present.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tallies(State(api): State<Arc<Api>>, who: Principal, asks: Asked<Asks>) -> Result<Response, Refusal> {
    let read = async {
        who.may(Right::Monitor)?;
        let asks = asks.of()?;
        let (span, by, (word, grain)) = (asks.span()?, asks.by()?.unwrap_or(Dimension::All), asks.grain()?);
        let most = (asks.rows.unwrap_or(ROWS).clamp(1, ROWS_MAX), asks.key);
        let share = api.bodies.for_answer(&who.0.name, &api.settings.get().http, CELLS_MAX as u64 * ROW_MEMORY / 4).await?;
        let (steps, cut) = api.figures(move |tallies| steps(tallies, by, span, grain, &most)).await?;
        Ok(answer::json(&Series { by: by.as_str(), grain: word, steps, cut }, share))
    };
    read.await.map_err(|refused: BoxedRefusal| *refused)
}

fn steps(
    tallies: &Tallies,
    by: Dimension,
    span: Span,
    grain: Grain,
    (most, only): &(usize, Option<String>),
) -> Result<(Vec<Step>, bool), TalliesError> {
    let (mut steps, mut left) = (Vec::new(), CELLS_MAX);
    for (from, block) in tallies.series(by, span, grain)? {
        let mut rows = Row::all(&block);
        rows.retain(|row| only.is_none() || row.key == *only);
        rows.truncate(*most);
        match left.checked_sub(rows.len()) {
            Some(rest) => left = rest,
            None => return Ok((steps, true)),
        }
        if !rows.is_empty() {
            steps.push(Step { from, rows });
        }
    }
    Ok((steps, false))
}

impl Asks {
    fn span(&self) -> Result<Span, BoxedRefusal> {
        // The minute that is not over yet counts too.
        let to = self.until.unwrap_or_else(|| clock::now() + SignedDuration::from_mins(1));
        let from = self.since.or_else(|| to.checked_sub(SignedDuration::from_hours(24)).ok()).unwrap_or(to);
        if from < to { Ok(Span { from, to }) } else { Err(bad_query(&"the span ends before it begins")) }
    }

    fn by(&self) -> Result<Option<Dimension>, BoxedRefusal> {
        self.by.as_deref().map(str::parse).transpose().map_err(|error: String| bad_query(&error))
    }

    fn grain(&self) -> Result<(&'static str, Grain), BoxedRefusal> {
        match self.grain.as_deref() {
            Some("minute") => Ok(("minute", Grain::Minute)),
            None | Some("hour") => Ok(("hour", Grain::Hour)),
            Some("day") => Ok(("day", Grain::Day)),
            Some(other) => Err(bad_query(&format!("{other:?} is none of: minute, hour, day"))),
        }
    }
}

impl Api {
    /// Reads figures on a thread that may block.
    pub(crate) async fn figures<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Tallies) -> Result<T, TalliesError> + Send + 'static,
    ) -> Result<T, BoxedRefusal> {
        let none = |why: String| Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "no_figures", why);
        let figures = self.figures.clone().ok_or_else(|| none("the delivery log is not counted: monitor.enabled is false".into()))?;
        let _turn = self.turn().await;
        let read = tokio::task::spawn_blocking(move || figures.read(ask)).await.map_err(|error| broken(&error))?;
        read.map_err(|error| none(error.to_string()))
    }
}

/// Whether the relay can do its work.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "relay",
    responses(
        (status = 200, description = "It takes mail and delivers.", body = Object),
        (status = 503, description = "It takes no mail at present; the text says why.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<Response, Refusal> {
    if let Some(refused) = api.intake.closed() {
        return Err(*Refusal::http(StatusCode::SERVICE_UNAVAILABLE, refused.reason, refused.answer.text));
    }
    let table = api.queue.table().await;
    let table = table.map_err(|_| *Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the relay is stopping"))?;
    if let Some(why) = table.halted {
        return Err(*Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "halted", format!("deliveries are halted: {why}")));
    }
    Ok(axum::Json(serde_json::json!({ "status": "ok" })).into_response())
}
