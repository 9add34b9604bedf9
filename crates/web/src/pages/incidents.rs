//! Incidents: what is wrong and what was, and findings that are too small for one.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use maud::{Markup, html};
use posthaste_findings::Mute;
use posthaste_host::clock;
use posthaste_journal::StandingAlarm;
use posthaste_monitor::LineFilter;
use posthaste_watch::{Shown, ShownFinding, Told};
use serde_json::{Value, json};

use crate::{
    answer::{Answered, As, Shared},
    events::events_of,
    layout::{Here, Page, form_token, part},
    sight::Sight,
    site::Site,
    snapshot::zone,
    trouble::Trouble,
    viewer::{Query, Steering, Viewer, go_on, is_here},
    words::{At, age, foreign, headline, number, place, sentence, share, whose},
};

/// Incidents of a list.
const SHOWN_MAX: usize = 200;
/// Lines of an incident's history.
const HISTORY_MAX: usize = 50;
/// How long a mute may last, in hours.
const MUTES: [(&str, i64); 4] = [("1 hour", 1), ("24 hours", 24), ("3 days", 72), ("30 days", 720)];
/// The longest reason, in bytes.
const REASON_MAX: usize = 512;

pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/incidents", get(list))
        .route("/incidents/{id}", get(one))
        .route("/incidents/{id}/mute", post(mute))
        .route("/incidents/{id}/close", post(close))
        .route("/alarms/{id}/acknowledge", post(acknowledge))
}

/// All that are kept, by state.
async fn list(State(site): Shared, viewer: Viewer, form: As, Query(query): Query) -> Answered {
    let (now, zone, alarms) = (clock::now(), zone(&site.desk), site.desk.alarms.now());
    let sight = viewer.sight;
    let state = query.get("state").filter(|state| ["open", "muted", "closed", "findings"].contains(state)).unwrap_or("open");
    let (incidents, off) = match site.desk.incidents() {
        Ok(incidents) => (incidents, None),
        Err(off) => (Vec::new(), Some(off.to_string())),
    };
    let mut shown: Vec<&Shown> = incidents.iter().filter(|incident| incident.state == state).collect();
    if state != "closed" {
        shown.sort_by_key(|incident| (incident.told.severity != "critical", incident.since));
    }
    shown.truncate(SHOWN_MAX);
    let findings = site.desk.findings().unwrap_or_default();
    let at = |time| At { time, now, zone: &zone };
    let count = |state: &str| incidents.iter().filter(|incident| incident.state == state).count();
    let tabs = [
        ("open", "Open", count("open")),
        ("muted", "Muted", count("muted")),
        ("closed", "Closed", count("closed")),
        ("findings", "Also what is small:", findings.iter().filter(|finding| finding.state == "open").count()),
    ];
    let none = match state {
        "open" => "Nothing is wrong that the rules know of.",
        "muted" => "None is muted.",
        _ => "None has closed in the time that is kept.",
    };
    let main = html! {
        (part("incidents", &html! {
            h1 { "Incidents" }
            nav .tabs aria-label="State" { @for (word, name, n) in tabs {
                a href=(format!("/incidents?state={word}")) aria-current=[(word == state).then_some("page")] { (name) " " (n) }
            } }
            @if let Some(off) = &off { p .quiet { (sentence(off)) } }
            @else if state == "findings" { (findings_table(&findings, &at, sight)) }
            @else if shown.is_empty() { p .quiet { (none) } }
            @else { @for incident in &shown { (brief(incident, &at, now, sight)) } }
            p { a href=(format!("/incidents?state={state}&as=json")) { "JSON" } }
        }))
        @if state == "open" { (part("alarms", &alarms_list(&alarms.alarms, &at, &viewer))) }
    };
    let data = match state {
        _ if off.is_some() => json!({ "off": off, "alarms": alarms }),
        "findings" => json!({ "findings": findings }),
        _ => json!({ "incidents": shown, "alarms": alarms }),
    };
    Ok(form.answer(Page { title: "Incidents".into(), here: Here::Incidents, live: state != "closed", main, data }, &viewer))
}

fn brief<'z>(incident: &Shown, at: &impl Fn(Timestamp) -> At<'z>, now: Timestamp, sight: Sight) -> Markup {
    let told = &incident.told;
    html! {
        article .incident .(look(incident)) {
            h2 { a href=(format!("/incidents/{}", incident.id)) { (sight.line(&headline(&told.rule, &told.key))) } }
            p .detail { (sentence(&sight.line(&told.detail))) }
            p .meta {
                (told.severity) " · since " (at(incident.since))
                @match incident.closed {
                    Some(closed) => { " until " (at(closed)) " (" (age(incident.since, closed)) ")" }
                    None => { " (" (age(incident.since, now)) ")" }
                }
                " · " (whose(&told.problem_of))
                @if let Some(mute) = &incident.mute { " · muted until " (at(mute.until)) " by " (foreign(&mute.by)) ": " (foreign(&mute.reason)) }
            }
            @if incident.closed.is_none() { p { (sentence(&sight.line(&told.next_step))) } }
        }
    }
}

fn look(incident: &Shown) -> &'static str {
    match (&*incident.state, &*incident.told.severity) {
        ("closed", _) => "closed",
        (_, "critical") => "bad",
        _ => "warn",
    }
}

fn findings_table<'z>(findings: &[ShownFinding], at: &impl Fn(Timestamp) -> At<'z>, sight: Sight) -> Markup {
    html! {
        p .quiet { "What the rules and the health score found, also what is too small for an incident." }
        @if findings.is_empty() { p .quiet { "Nothing." } }
        @else { div .scroll tabindex="0" role="region" aria-label="Findings" { table {
            thead { tr { th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Figure" } th scope="col" { "Since" } th scope="col" { "Next" } } }
            tbody { @for finding in findings.iter().take(SHOWN_MAX) { tr {
                td { @if finding.state == "open" { span .state .(finding.told.severity) { (finding.told.severity) } } @else { span .state { "fixed" } } }
                td { (sight.line(&finding.told.detail)) br; small { (finding.told.rule) " · " (sight.line(&finding.told.key)) } }
                td { (figure(&finding.told)) }
                td { (at(finding.first_seen)) }
                td { (sentence(&sight.line(&finding.told.next_step))) }
            } } }
        } } }
    }
}

fn figure(told: &Told) -> Markup {
    let n = told.of.map_or_else(|| number(told.n), |of| share(told.n, of));
    html! { (n) " " (foreign(&told.measure)) "; limit " (told.limit) @if told.limit_from == "configuration" { " (from the configuration)" } }
}

fn alarms_list<'z>(alarms: &[StandingAlarm], at: &impl Fn(Timestamp) -> At<'z>, viewer: &Viewer) -> Markup {
    let sight = viewer.sight;
    html! {
        h2 { "Alarms that stand" }
        @if alarms.is_empty() { p .quiet { "None." } }
        @for alarm in alarms {
            article .incident .warn {
                h3 { (sight.line(&alarm.what)) }
                p .meta { "since " (at(alarm.since)) " · alarm " (alarm.id) }
                p { (sentence(&sight.line(&alarm.remedy))) }
                @if viewer.steers() {
                    form .inline method="post" action=(format!("/alarms/{}/acknowledge", alarm.id)) {
                        (form_token(&viewer.form_token))
                        button { "I have seen it" }
                    }
                }
            }
        }
    }
}

/// One incident with all that is known.
async fn one(State(site): Shared, viewer: Viewer, form: As, Path(id): Path<String>) -> Answered {
    let (now, zone) = (clock::now(), zone(&site.desk));
    let (incident, sight) = (find(&site, &id)?, viewer.sight);
    let history = history(&site, &incident).await?;
    let at = |time| At { time, now, zone: &zone };
    let told = &incident.told;
    let main = html! {
        (part("incident", &html! {
            h1 { (sight.line(&headline(&told.rule, &told.key))) }
            p .detail { (sentence(&sight.line(&told.detail))) }
            p { span .state .(if incident.state == "open" { &*told.severity } else { "over" }) { (incident.state) } " " (told.severity)
                " · since " (at(incident.since)) @if let Some(closed) = incident.closed { " until " (at(closed)) } }
            dl .facts {
                dt { "Whose problem" } dd { (whose(&told.problem_of)) }
                dt { "Figure" } dd { (figure(told)) }
                dt { "About" } dd { code { (sight.line(&told.key)) } " (rule " code { (told.rule) } ")" }
                @if !told.done.is_empty() { dt { "Done already" } dd { (sentence(&sight.line(&told.done))) } }
                dt { "Next" } dd { strong { (sentence(&sight.line(&told.next_step))) } @if let Some((name, path)) = place(&told.key) { " " a .go href=(path) { (name) } } }
                @if !told.query.is_empty() { dt { "Events" } dd { (events_of(&told.key, &told.query, &viewer)) " or " code { (sight.line(&told.query)) } } }
                dt { "Found last" } dd { (at(told.last_seen)) }
                @if let Some(mute) = &incident.mute {
                    dt { "Muted" } dd { "until " (at(mute.until)) " by " (foreign(&mute.by)) ": " (foreign(&mute.reason)) }
                }
            }
            p { a href=(format!("/incidents/{}?as=json", incident.id)) { "JSON" } }
        }))
        @if viewer.steers() && incident.closed.is_none() { (part("steer", &steer(&incident, &viewer))) }
        (part("history", &html! {
            h2 { "History" }
            @if history.is_empty() { p .quiet { "The log has no lines about it any more." } }
            ol .timeline { @for line in &history { li { (exact(line.time, &zone)) " " strong { (foreign(&line.state)) } " " (sentence(&sight.line(&line.detail))) } } }
        }))
    };
    let data = json!({ "incident": incident, "history": history.iter().map(|line| &line.json).collect::<Vec<_>>() });
    let (title, live) = (sight.line(&headline(&told.rule, &told.key)), incident.closed.is_none());
    Ok(form.answer(Page { title, here: Here::Incidents, live, main, data }, &viewer))
}

fn steer(incident: &Shown, viewer: &Viewer) -> Markup {
    html! {
        h2 { "Steer" }
        form .inline method="post" action=(format!("/incidents/{}/mute", incident.id)) {
            (form_token(&viewer.form_token))
            label for="hours" { "Tell nobody for" }
            select #hours name="hours" { @for (name, hours) in MUTES { option value=(hours) selected[hours == 24] { (name) } } }
            label for="reason" { "because" }
            input #reason name="reason" required maxlength=(REASON_MAX) placeholder="Reason, for the log";
            button { "Mute" }
        }
        form .inline method="post" action=(format!("/incidents/{}/close", incident.id)) {
            (form_token(&viewer.form_token))
            button { "Close" }
            span .quiet { "If it lasts, it opens again." }
        }
    }
}

/// A change of an incident, as the log has it.
struct Change {
    time: Timestamp,
    state: String,
    detail: String,
    json: Value,
}

async fn history(site: &Site, incident: &Shown) -> Result<Vec<Change>, Trouble> {
    let since = incident.since.checked_sub(SignedDuration::from_secs(1)).ok();
    let filter = LineFilter { event: Some("incident".into()), since, ..LineFilter::default() };
    let logged = site.desk.log(filter, Some(SHOWN_MAX), None).await?;
    let of = |line: &String| {
        let json: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let by = [("by", "by "), ("until", "until "), ("reason", "because: ")].map(|(key, word)| (word, text(key)));
        let by = by.iter().filter(|(_, said)| !said.is_empty()).map(|(word, said)| format!("{word}{said}")).collect::<Vec<_>>().join(", ");
        (text("incident") == incident.id).then(|| text("time").parse().ok()).flatten().map(|time| Change {
            time,
            state: text("state"),
            detail: if by.is_empty() { text("detail") } else { by },
            json: json.clone(),
        })
    };
    let mut changes: Vec<Change> = logged.lines.iter().filter_map(of).collect();
    changes.drain(..changes.len().saturating_sub(HISTORY_MAX));
    Ok(changes)
}

/// A time with its seconds.
fn exact(time: Timestamp, zone: &TimeZone) -> Markup {
    html! { time datetime=(time.to_string()) { (time.to_zoned_datetime(zone.clone()).strftime("%-d %b %H:%M:%S").to_string()) } }
}

fn find(site: &Site, id: &str) -> Result<Shown, Trouble> {
    let found = site.desk.incidents.list().into_iter().find(|incident| incident.id == id);
    found.ok_or_else(|| Trouble::NotFound("There is no such incident, or it is too long ago and no longer kept.".into()))
}

async fn mute(State(site): Shared, Path(id): Path<String>, Steering { by, form }: Steering) -> Answered {
    find(&site, &id)?;
    let reason = form.need("reason")?;
    if reason.len() > REASON_MAX {
        return Err(Trouble::Bad(format!("A reason has at most {REASON_MAX} bytes.")));
    }
    let hours = form.get("hours").map_or(Some(24), |hours| hours.parse().ok()).filter(|hours| MUTES.iter().any(|(_, some)| some == hours));
    let hours = hours.ok_or_else(|| Trouble::Bad("The time of the mute is none of those that can be chosen.".into()))?;
    let until = clock::now().checked_add(SignedDuration::from_hours(hours)).map_err(|error| Trouble::Bad(error.to_string()))?;
    site.desk.mute_incident(id.clone(), Mute { by: by.name.to_string(), reason: reason.to_owned(), until }).await?;
    Ok(go_on(form.get("then").filter(|then| is_here(then)).unwrap_or(&format!("/incidents/{id}"))))
}

async fn close(State(site): Shared, Path(id): Path<String>, Steering { by, .. }: Steering) -> Answered {
    find(&site, &id)?;
    site.desk.close_incident(id.clone(), by.name.to_string()).await?;
    Ok(go_on(&format!("/incidents/{id}")))
}

async fn acknowledge(State(site): Shared, Path(id): Path<u64>, Steering { by, .. }: Steering) -> Answered {
    let done = site.desk.acknowledge(Some(vec![id]), by.name.to_string()).await?;
    match done.ids.is_empty() {
        true => Err(Trouble::NotFound("There is no such alarm: somebody has acknowledged it already.".into())),
        false => Ok(go_on("/incidents")),
    }
}
