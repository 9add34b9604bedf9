//! `/v1/score`: how well mail is received, from 0 to 100.

use std::{collections::BTreeMap, sync::Arc};

use axum::{extract::State, response::Response};
use posthaste_findings::score::{Score, Scores};
use posthaste_host::clock;
use posthaste_tallies::Dimension;
use posthaste_watch::Scored;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::{
    answer,
    auth::Principal,
    problem::{BoxedRefusal, Problem, Refusal},
    sight::Sight,
    state::Api,
    suppressions::{Asked, Of, bad_query},
};

/// The most scores of a kind.
const ROWS_MAX: usize = 1000;
const ROWS: usize = 100;
/// What a score takes at most, in memory and written.
const SCORE_MEMORY: u64 = 12 << 10;
/// Kinds of scores.
const KINDS: u64 = 7;

/// Which scores.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only these: `all`, `stream`, `provider`, `source`, `from_domain`, `stream_provider` or `source_provider`. Default: all kinds.
    by: Option<String>,
    /// Only this key. A pair's halves stand in it with a blank between them.
    key: Option<String>,
    /// The most scores of each kind, the worst first to be kept.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    rows: Option<usize>,
}

/// The scores that were asked for.
#[derive(Debug, Serialize)]
struct Answer {
    /// The relay's; a user sees only those of its streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<Score>,
    streams: BTreeMap<String, Score>,
    providers: BTreeMap<String, Score>,
    sources: BTreeMap<String, Score>,
    domains: BTreeMap<String, Score>,
    pairs: Vec<posthaste_findings::score::PairScore>,
    lanes: Vec<posthaste_findings::score::LaneScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    week_ago: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trend: Option<&'static str>,
    /// Scores beyond those.
    more: usize,
}

/// The health score, with its factors and what it lost.
///
/// A local estimate from 0 to 100: of the relay (`all`), of streams, providers, sources, From domains (`domains`), streams at providers (`pairs`)
/// and sources at providers (`lanes`). Each has the lower one of two views: `days` (the last 15) and `last_day` (24 hours); how many factors were
/// measured (`note`), or how much mail is missing; which incidents are open about the same (`but`, `beside`), since a score judges mail that is finished; each measure with how many of how many; and each loss with what to do about it. `posthaste
/// report --explain-score` prints the formula. Without the right to "monitor", only what is about the user's own streams.
#[utoipa::path(
    get,
    path = "/v1/score",
    tag = "figures",
    security(("token" = ["read"])),
    params(Which),
    responses(
        (status = 200, description = "The scores.", body = Object),
        (status = 400, description = "The query is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are no figures at present.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn score(State(api): State<Arc<Api>>, who: Principal, which: Asked<Which>) -> Result<Response, Refusal> {
    let told = async {
        let sight = who.sight()?;
        let which = which.of()?;
        let (by, most) = (which.by()?, which.rows.unwrap_or(ROWS).clamp(1, ROWS_MAX));
        let kinds = if by.is_some() { 1 } else { KINDS };
        let share = api.bodies.for_answer(&who.0.name, &api.settings.get(), kinds * most as u64 * SCORE_MEMORY).await?;
        let (settings, stopped, mut incidents) = (api.settings.get().score.clone(), api.incidents.stopped_lanes(), api.incidents.list());
        incidents.retain(|incident| sight.sees(&incident.told.key));
        let scored = api.figures(move |tallies| Scored::read(tallies, clock::now(), &settings, &stopped)).await?.beside(&incidents);
        Ok(answer::json(&Answer::of(scored, &sight, by, which.key.as_deref(), most), share))
    };
    told.await.map_err(|refused: BoxedRefusal| *refused)
}

impl Which {
    fn by(&self) -> Result<Option<Dimension>, BoxedRefusal> {
        let Some(word) = self.by.as_deref() else { return Ok(None) };
        match word.parse() {
            Ok(
                by @ (Dimension::All
                | Dimension::Stream
                | Dimension::Provider
                | Dimension::Source
                | Dimension::FromDomain
                | Dimension::StreamProvider
                | Dimension::SourceProvider),
            ) => Ok(Some(by)),
            _ => Err(bad_query(&format!(
                "{word:?} is none of: all, stream, provider, source, from_domain, stream_provider, source_provider"
            ))),
        }
    }
}

impl Answer {
    fn of(scored: Scored, sight: &Sight, by: Option<Dimension>, key: Option<&str>, most: usize) -> Self {
        let Scored { scores, week_ago, trend } = scored;
        let Scores { all, streams, providers, sources, domains, pairs, lanes } = scores;
        let is_asked = |dimension: Dimension| by.is_none_or(|by| by == dimension);
        let (sees_all, whole) = (sight.is_all(), sight.is_all() && is_asked(Dimension::All) && key.is_none_or(|key| key == "all"));
        let is_key = |name: &str| key.is_none_or(|key| key == name);
        let mut more = 0;
        let mut named = |scores: BTreeMap<String, Score>, dimension: Dimension| -> BTreeMap<String, Score> {
            let sees = |name: &str| sees_all || dimension == Dimension::Stream && sight.sees_stream(name);
            let scores = scores.into_iter().filter(|(name, _)| is_asked(dimension) && is_key(name) && sees(name));
            worst(scores.collect(), most, |(_, score)| score, &mut more).into_iter().collect()
        };
        let (streams, providers) = (named(streams, Dimension::Stream), named(providers, Dimension::Provider));
        let (sources, domains) = (named(sources, Dimension::Source), named(domains, Dimension::FromDomain));
        let is_pair = |one: &str, other: &str| is_key(&format!("{one} {other}"));
        let pairs = pairs
            .into_iter()
            .filter(|pair| is_asked(Dimension::StreamProvider) && is_pair(&pair.stream, &pair.provider) && sight.sees_stream(&pair.stream));
        let pairs = worst(pairs.collect(), most, |pair| &pair.score, &mut more);
        let lanes =
            lanes.into_iter().filter(|lane| sees_all && is_asked(Dimension::SourceProvider) && is_pair(&lane.source, &lane.provider));
        let lanes = worst(lanes.collect(), most, |lane| &lane.score, &mut more);
        Self {
            all: whole.then_some(all),
            streams,
            providers,
            sources,
            domains,
            pairs,
            lanes,
            week_ago: week_ago.filter(|_| whole),
            trend: trend.filter(|_| whole),
            more,
        }
    }
}

/// So many of the worst scores. What has no score comes last.
fn worst<T>(mut scores: Vec<T>, most: usize, score: impl Fn(&T) -> &Score, more: &mut usize) -> Vec<T> {
    if scores.len() > most {
        *more += scores.len() - most;
        scores.sort_by_key(|of| score(of).value.unwrap_or(u8::MAX));
        scores.truncate(most);
    }
    scores
}
