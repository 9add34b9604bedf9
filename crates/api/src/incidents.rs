//! `/v1/incidents` and `/v1/findings`: what is wrong with the mail. Offers what `posthaste incidents` does.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use jiff::{SignedDuration, Timestamp};
use posthaste_access::users::Right;
use posthaste_findings::{IncidentState, Mute, Rule, Severity, UnknownIncident, without_users};
use posthaste_host::clock;
use posthaste_smtp::server::Answer as Said;
use posthaste_watch::{Incidents, Shown, ShownFinding, Told};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    answer,
    auth::Principal,
    problem::{BoxedRefusal, Problem, Refusal, broken, json},
    sight::Sight,
    state::{Api, Segment},
    suppressions::{Asked, Of, bad_query},
};

/// The most incidents or findings of an answer.
const ROWS_MAX: usize = 1000;
const ROWS: usize = 100;
/// What one of them takes at most, in memory and written.
const ROW_MEMORY: u64 = 6 << 10;
/// How long a mute lasts that names no end.
const MUTED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// The longest reason of a mute, in bytes.
const REASON_MAX: usize = 512;

/// A filter of incidents or findings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only in this state. Incidents: `open`, `muted` or `closed`; findings: `open` or `fixed`.
    state: Option<String>,
    /// Only what this rule found: `provider_refuses`, `mail_stands`, …; findings also of the `score`.
    rule: Option<String>,
    /// Only of this severity: `warn` or `critical`.
    severity: Option<String>,
    /// Only what is about this: `provider:google`, `stream:news`, `lane:ip1/google`, …
    key: Option<String>,
    /// The most that are listed.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    rows: Option<usize>,
}

/// Incidents, the open ones first, then the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IncidentList {
    incidents: Vec<Shown>,
    /// How many more there are.
    more: usize,
}

/// Findings, the open ones first, then the worst first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FindingList {
    findings: Vec<ShownFinding>,
    /// How many more there are.
    more: usize,
}

/// Why and until when nobody is to be told of an incident.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMute {
    /// Why, for the log.
    #[schema(min_length = 1, max_length = 512)]
    reason: String,
    /// Its end; default: in 24 hours.
    #[serde(default)]
    #[schema(format = DateTime, value_type = Option<String>)]
    until: Option<Timestamp>,
}

/// List the incidents.
///
/// Without the right to "monitor" or "admin", only what is about the token's user and the streams listed for it.
#[utoipa::path(
    get,
    path = "/v1/incidents",
    tag = "figures",
    security(("token" = ["read"])),
    params(Which),
    responses(
        (status = 200, description = "The incidents.", body = IncidentList),
        (status = 400, description = "The query is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Monitoring is off, or there is no room at present: come back after `Retry-After` seconds.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>, who: Principal, which: Asked<Which>) -> Result<Response, Refusal> {
    let listed = async {
        let sight = who.sight()?;
        let which = which.of()?;
        api.watched()?;
        which.valid(&[IncidentState::Open, IncidentState::Muted, IncidentState::Closed].map(IncidentState::as_str))?;
        let share = api.bodies.for_answer(&who.0.name, &api.settings.get(), which.most() as u64 * ROW_MEMORY).await?;
        let mut incidents = api.incidents.list();
        incidents.retain(|i| which.wants([&i.state, &i.told.rule, &i.told.severity, &i.told.key], &sight));
        let more = which.cut(&mut incidents);
        incidents.iter_mut().for_each(|incident| hide_others(&mut incident.told, &sight));
        Ok(answer::json(&IncidentList { incidents, more }, share))
    };
    listed.await.map_err(|refused: BoxedRefusal| *refused)
}

/// Show one incident.
#[utoipa::path(
    get,
    path = "/v1/incidents/{id}",
    tag = "figures",
    security(("token" = ["read"])),
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The incident.", body = Shown),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn find(State(api): State<Arc<Api>>, who: Principal, Segment(id): Segment) -> Result<Json<Shown>, Refusal> {
    who.sight().and_then(|sight| seen(&api.incidents, &id, &sight)).map(Json).map_err(|refused| *refused)
}

/// Mute an incident.
///
/// Nobody is told of it, nor of what the same rule finds about the same key, until the mute ends. It goes on, and stays in the list. Since that
/// silences everybody's alarms, it takes the right to "admin": tokens that only read lie about in dashboards and scrapers.
#[utoipa::path(
    post,
    path = "/v1/incidents/{id}/mute",
    tag = "figures",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "Its id.")),
    request_body(content = NewMute, content_type = "application/json", description = "Why, and until when."),
    responses(
        (status = 200, description = "It is muted.", body = Shown),
        (status = 400, description = "Not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"admin\".", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no reason, or the end is over.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn mute(
    State(api): State<Arc<Api>>,
    who: Principal,
    Segment(id): Segment,
    request: Request,
) -> Result<Json<Shown>, Refusal> {
    let muted = async {
        who.may(Right::Admin)?;
        let body = api.bodies.read(request, &who.0.name, &api.settings.get()).await?;
        let who = who.still(&api)?;
        who.may(Right::Admin)?;
        let now = clock::now();
        let mute = json::<NewMute>(&body.bytes)?.checked(&who, now)?;
        api.change_incident(id, move |incidents, api, id| incidents.mute(id, mute, &api.intake.journal, now)).await
    };
    muted.await.map_err(|refused: BoxedRefusal| *refused)
}

/// Close an incident.
///
/// If it lasts, it opens again once it gets worse, was gone for a while, or after a day. It takes the right to "admin", as muting does.
#[utoipa::path(
    post,
    path = "/v1/incidents/{id}/close",
    tag = "figures",
    security(("token" = ["admin"])),
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "It is closed.", body = Shown),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"admin\".", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is closed already, or it is about mail that the guard holds.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn close(State(api): State<Arc<Api>>, who: Principal, Segment(id): Segment) -> Result<Json<Shown>, Refusal> {
    let closed = async {
        who.may(Right::Admin)?;
        let (by, settings) = (who.0.name.clone(), api.settings.get().incidents.clone());
        let now = clock::now();
        api.change_incident(id, move |incidents, api, id| incidents.close(id, &by, &settings, &api.intake.journal, now)).await
    };
    closed.await.map_err(|refused: BoxedRefusal| *refused)
}

/// List the findings.
///
/// All that the rules found and each point that the health score lost, also what is too small for an incident. Without the right to "monitor"
/// or "admin", only what is about the token's user and the streams listed for it.
#[utoipa::path(
    get,
    path = "/v1/findings",
    tag = "figures",
    security(("token" = ["read"])),
    params(Which),
    responses(
        (status = 200, description = "The findings.", body = FindingList),
        (status = 400, description = "The query is not valid.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Monitoring is off, or there is no room at present: come back after `Retry-After` seconds.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn findings(State(api): State<Arc<Api>>, who: Principal, which: Asked<Which>) -> Result<Response, Refusal> {
    let listed = async {
        let sight = who.sight()?;
        let which = which.of()?;
        api.watched()?;
        which.valid(&["open", "fixed"])?;
        let share = api.bodies.for_answer(&who.0.name, &api.settings.get(), which.most() as u64 * ROW_MEMORY).await?;
        let mut findings = api.incidents.findings();
        findings.retain(|f| which.wants([&f.state, &f.told.rule, &f.told.severity, &f.told.key], &sight));
        let more = which.cut(&mut findings);
        findings.iter_mut().for_each(|finding| hide_others(&mut finding.told, &sight));
        Ok(answer::json(&FindingList { findings, more }, share))
    };
    listed.await.map_err(|refused: BoxedRefusal| *refused)
}

/// The incident, if the user sees it.
fn seen(incidents: &Incidents, id: &str, sight: &Sight) -> Result<Shown, BoxedRefusal> {
    let found = incidents.list().into_iter().find(|incident| incident.id == id && sight.sees(&incident.told.key));
    let mut found = found.ok_or_else(|| Refusal::not_found("incident"))?;
    hide_others(&mut found.told, sight);
    Ok(found)
}

/// Who does not see everything does not learn whose mail a stream has.
fn hide_others(told: &mut Told, sight: &Sight) {
    if !sight.is_all() {
        told.detail = without_users(&told.detail);
    }
}

impl Api {
    /// Changes an incident, and shows it as it is then. The change is in the file of the incidents, and its line is on its way to the log.
    async fn change_incident(
        self: &Arc<Self>,
        id: String,
        change: impl FnOnce(&Incidents, &Self, &str) -> Result<(), UnknownIncident> + Send + 'static,
    ) -> Result<Json<Shown>, BoxedRefusal> {
        let api = self.clone();
        let changed = tokio::task::spawn_blocking(move || {
            change(&api.incidents, &api, &id).map_err(|unknown| match unknown {
                UnknownIncident::Unknown(_) => Refusal::not_found("incident"),
                UnknownIncident::Closed(_) => Refusal::http(StatusCode::CONFLICT, "closed", unknown.to_string()),
                UnknownIncident::Holds { .. } => Refusal::http(StatusCode::CONFLICT, "guard_holds", unknown.to_string()),
            })?;
            seen(&api.incidents, &id, &Sight::All).map(Json)
        });
        changed.await.map_err(|error| broken(&error))?
    }
}

impl NewMute {
    fn checked(self, who: &Principal, now: Timestamp) -> Result<Mute, BoxedRefusal> {
        let bad = |why: &str| Refusal::mail(Said::new(554, 6, 0, why), "bad_field");
        let until = self.until.or_else(|| now.checked_add(MUTED_FOR).ok()).filter(|until| *until > now);
        let until = until.ok_or_else(|| bad("until: the end of the mute is over already"))?;
        match self.reason.trim() {
            "" => Err(bad("reason: say why it is muted; the log and `posthaste incidents` show it")),
            reason if reason.len() > REASON_MAX => Err(bad("reason: at most 512 bytes go here")),
            reason => Ok(Mute { by: who.0.name.to_string(), reason: reason.to_owned(), until }),
        }
    }
}

impl Which {
    /// Refuses words that there are not, which would find nothing for ever.
    fn valid(&self, states: &[&str]) -> Result<(), BoxedRefusal> {
        let rules: Vec<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        let severities: Vec<&str> = Severity::ALL.iter().map(|severity| severity.as_str()).collect();
        for (given, words) in [(&self.state, states), (&self.rule, &rules), (&self.severity, &severities)] {
            if let Some(word) = given.as_deref().filter(|word| !words.contains(word)) {
                return Err(bad_query(&format!("{word:?} is none of: {}", words.join(", "))));
            }
        }
        Ok(())
    }

    /// Whether it wants what has this state, rule, severity and key, and may have it.
    fn wants(&self, [state, rule, severity, key]: [&String; 4], sight: &Sight) -> bool {
        let asked = [(&self.state, state), (&self.rule, rule), (&self.severity, severity), (&self.key, key)];
        sight.sees(key) && asked.into_iter().all(|(asked, is)| asked.as_ref().is_none_or(|asked| asked == is))
    }

    fn most(&self) -> usize {
        self.rows.unwrap_or(ROWS).clamp(1, ROWS_MAX)
    }

    /// Cuts a list to what is asked for. Returns how many were cut off.
    fn cut<T>(&self, list: &mut Vec<T>) -> usize {
        let more = list.len().saturating_sub(self.most());
        list.truncate(self.most());
        more
    }
}
