//! `/v1/report` and `/v1/tallies`: what the delivery log comes to.

use std::sync::Arc;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use jiff::{SignedDuration, Timestamp, civil::Date};
use posthaste_access::users::Right;
use posthaste_host::clock;
use posthaste_tallies::{Dimension, Grain, Span, Tallies, TalliesError};
use posthaste_watch::{Figures, OFF, Report, ReportRequest, Row};
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
/// What the scores of a report take: some hundred of them.
const SCORES_MEMORY: u64 = 1 << 20;
/// How long a day's cohort still changes: most late bounces and complaints have come by then.
const MOVING: SignedDuration = SignedDuration::from_hours(72);

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
    /// `rule_provider`, `reason` or `user_stream`.
    by: Option<String>,
    /// The most rows, the largest first.
    #[param(minimum = 1, maximum = 1000, default = 20)]
    rows: Option<usize>,
    /// How fine a series is: `minute`, `hour` (the default) or `day` of the configured time zone.
    grain: Option<String>,
    /// By which day a series counts: `event` (the default), when something happened; or `cohort`, when the message was accepted, in whole days.
    view: Option<String>,
    /// Only this key, for a series. A pair's halves stand in it with a blank between them.
    key: Option<String>,
}

/// A series: the figures of each minute, hour or day in which there were any.
#[derive(Debug, Serialize)]
struct Series {
    by: &'static str,
    view: &'static str,
    grain: &'static str,
    /// The zone of the days.
    zone: String,
    steps: Vec<Step>,
    /// Whether there was more than fits into an answer.
    cut: bool,
}

/// What a series tells of each step: what happened in it, or what became of the messages that were accepted in it.
#[derive(Clone, Copy, Debug)]
enum View {
    Events(&'static str, Grain),
    Cohorts,
}

#[derive(Debug, Serialize)]
struct Step {
    from: Timestamp,
    /// Late bounces and complaints still come in for the messages of this day.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    moving: bool,
    rows: Vec<Row>,
}

/// Report what became of the mail.
///
/// The same as `posthaste report --json`: totals at the top (`accepted`, `delivered`, `deferred`, `bounced`, …), failures by class, times in
/// milliseconds, and a row for each key of `by`. `finished` is delivered + bounced + expired: each recipient counts when it was finished, and once. A
/// late bounce counts when it comes back, as `late_bounced` and in no other total.
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
    let (score, stopped, incidents) = (api.settings.get().score.clone(), api.incidents.stopped_lanes(), api.incidents.list());
    let told = api.told(&who, asks, |asks| {
        let (span, by, most) = (asks.span()?, asks.by()?, asks.most());
        let request = ReportRequest { from: span.from, to: span.to, by: None, most };
        let read =
            move |tallies: &Tallies| Report::read(tallies, &request, by)?.scored(tallies, clock::now(), &score, (&stopped, &incidents));
        Ok((SCORES_MEMORY + most as u64 * ROW_MEMORY, read))
    });
    told.await.map_err(|refused: BoxedRefusal| *refused)
}

/// The figures of each minute, hour or day.
///
/// At most 10,000 rows: `cut` says whether there are more. With `view=cohort` a day's figures are those of the messages that were accepted on
/// it, whenever it happened: days younger than 72 hours are still `moving`. There a late bounce takes the place of its delivery, so that `delivered` has one
/// fewer, `bounced` (and its class) one more, and `finished` is the same; `late_bounced` says how many. `taken` counts what receivers took, those included: it
/// is what `delivered_tls`, `dkim_aligned` and the like are shares of.
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
    let told = api.told(&who, asks, |asks| {
        let (span, by, view, most) = (asks.span()?, asks.by()?.unwrap_or(Dimension::All), asks.view()?, asks.most());
        Ok((CELLS_MAX as u64 * ROW_MEMORY / 4, move |tallies: &Tallies| Series::read(tallies, by, span, view, most, asks.key.as_deref())))
    });
    told.await.map_err(|refused: BoxedRefusal| *refused)
}

impl Series {
    fn read(tallies: &Tallies, by: Dimension, span: Span, view: View, most: usize, only: Option<&str>) -> Result<Self, TalliesError> {
        let zone = tallies.zone();
        let (word, grain, blocks) = match view {
            View::Events(word, grain) => ("event", word, tallies.series(by, span, grain)?),
            View::Cohorts => {
                let day = |time: Timestamp| time.to_zoned_datetime(zone.clone()).date();
                // The end of a span is not in it.
                let last = span.to.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(span.to);
                let begin = |day: Date| day.to_zoned_datetime(zone.clone()).map(|begin| begin.timestamp()).unwrap_or(span.from);
                let cohorts = tallies.cohorts(by, day(span.from), day(last))?;
                ("cohort", "day", cohorts.into_iter().map(|(day, block)| (begin(day), block)).collect::<Vec<_>>())
            }
        };
        let moving_from = match view {
            View::Events(..) => Timestamp::MAX,
            View::Cohorts => clock::now().checked_sub(MOVING).unwrap_or(Timestamp::MIN),
        };
        let zone = zone.iana_name().unwrap_or("UTC").to_owned();
        let mut series = Self { by: by.as_str(), view: word, grain, zone, steps: Vec::new(), cut: false };
        let mut left = CELLS_MAX;
        for (from, block) in blocks {
            let mut rows = match view {
                View::Events(..) => Row::all(&block),
                View::Cohorts => Row::all_settled(&block),
            };
            rows.retain(|row| only.is_none() || row.key.as_deref() == only);
            rows.truncate(most);
            match left.checked_sub(rows.len()) {
                Some(rest) => left = rest,
                None => return Ok(Self { cut: true, ..series }),
            }
            if !rows.is_empty() {
                series.steps.push(Step { from, moving: from >= moving_from, rows });
            }
        }
        Ok(series)
    }
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

    fn most(&self) -> usize {
        self.rows.unwrap_or(ROWS).clamp(1, ROWS_MAX)
    }

    fn view(&self) -> Result<View, BoxedRefusal> {
        let grain = self.grain.as_deref();
        match self.view.as_deref() {
            Some("cohort") if matches!(grain, None | Some("day")) => return Ok(View::Cohorts),
            Some("cohort") => return Err(bad_query(&"cohorts are days: leave grain out, or give grain=day")),
            None | Some("event") => {}
            Some(other) => return Err(bad_query(&format!("{other:?} is none of: event, cohort"))),
        }
        match grain {
            Some("minute") => Ok(View::Events("minute", Grain::Minute)),
            None | Some("hour") => Ok(View::Events("hour", Grain::Hour)),
            Some("day") => Ok(View::Events("day", Grain::Day)),
            Some(other) => Err(bad_query(&format!("{other:?} is none of: minute, hour, day"))),
        }
    }
}

impl Api {
    /// Answers a question about the figures with what the tallies say. `plan` reads the query, and says what the answer takes at most, in bytes,
    /// and how to read it.
    async fn told<T: Serialize + Send + 'static, R: FnOnce(&Tallies) -> Result<T, TalliesError> + Send + 'static>(
        &self,
        who: &Principal,
        asks: Asked<Asks>,
        plan: impl FnOnce(Asks) -> Result<(u64, R), BoxedRefusal>,
    ) -> Result<Response, BoxedRefusal> {
        who.may(Right::Monitor)?;
        let (memory, read) = plan(asks.of()?)?;
        let share = self.bodies.for_answer(&who.0.name, &self.settings.get(), memory).await?;
        Ok(answer::json(&self.figures(read).await?, share))
    }

    /// Reads figures on a thread that may block.
    pub(crate) async fn figures<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Tallies) -> Result<T, TalliesError> + Send + 'static,
    ) -> Result<T, BoxedRefusal> {
        let figures = self.watched()?.clone();
        let _turn = self.turn().await;
        let read = tokio::task::spawn_blocking(move || figures.read(ask)).await.map_err(|error| broken(&error))?;
        read.map_err(|error| no_figures(&error.to_string()))
    }

    /// The figures, where monitoring is on.
    pub(crate) fn watched(&self) -> Result<&Figures, BoxedRefusal> {
        self.figures.as_ref().ok_or_else(|| no_figures(OFF))
    }
}

fn no_figures(why: &str) -> BoxedRefusal {
    Refusal::http(StatusCode::SERVICE_UNAVAILABLE, "no_figures", why)
}

/// Whether the relay can do its work.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "relay",
    responses(
        (status = 200, description = "It takes mail and delivers. `figures` is `ok`, or says why the delivery log is not counted.", body = Object),
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
    // Mail goes on without figures: the relay is ready, and says that nothing is judged by them.
    let figures = match api.figures.as_ref().map(Figures::trouble) {
        None => OFF.to_owned(),
        // Who asks need not show who he is, so why is told elsewhere.
        Some(Some(_)) => "the delivery log is not counted at present, and figures stand still: posthaste alarms says why".to_owned(),
        Some(None) => "ok".to_owned(),
    };
    Ok(axum::Json(serde_json::json!({ "status": "ok", "figures": figures })).into_response())
}
