//! What needs an operator now: open incidents, the worst first, and alarms that stand.

use maud::{Markup, html};
use posthaste_relay::desk::Queue;
use posthaste_watch::Shown;

use crate::{
    layout::form_token,
    snapshot::Snapshot,
    viewer::Viewer,
    words::{At, age, counted, events, foreign, place, sentence, whose},
};

/// Incidents that are shown; the page of incidents has all.
const SHOWN_MAX: usize = 8;

pub(super) fn draw(snapshot: &Snapshot, viewer: &Viewer) -> Markup {
    let mut open: Vec<&Shown> = snapshot.open().collect();
    open.sort_by_key(|incident| (incident.told.severity != "critical", incident.since));
    let alarms = &snapshot.queue.standing;
    html! {
        h2 { "Needs you now" }
        @if open.is_empty() && alarms.alarms.is_empty() { p .quiet { "Nothing." } }
        @for incident in open.iter().take(SHOWN_MAX) { (card(snapshot, incident, viewer)) }
        @if open.len() > SHOWN_MAX {
            p { a href="/incidents" { (counted((open.len() - SHOWN_MAX) as u64, "more incident", "more incidents")) } }
        }
        @for alarm in alarms.alarms.iter().take(SHOWN_MAX) {
            article .incident .warn {
                h3 { (foreign(&alarm.what)) }
                p .meta { "since " (At { time: alarm.since, now: snapshot.now, zone: &snapshot.zone }) " · alarm " (alarm.id) }
                p { (sentence(&alarm.remedy)) }
                p { "Stays until somebody says that it is seen: " code { "posthaste alarms ack " (alarm.id) } }
            }
        }
    }
}

fn card(snapshot: &Snapshot, incident: &Shown, viewer: &Viewer) -> Markup {
    let told = &incident.told;
    let id = format!("why-{}", incident.id);
    html! {
        article .incident .(if told.severity == "critical" { "bad" } else { "warn" }) {
            h3 { a href=(format!("/incidents/{}", incident.id)) { (foreign(&told.detail)) } }
            p .meta {
                (told.severity) " · since " (At { time: incident.since, now: snapshot.now, zone: &snapshot.zone })
                " (" (age(incident.since, snapshot.now)) ") · " (whose(&told.problem_of)) (waiting(&snapshot.queue, &told.key))
            }
            dl {
                @if !told.done.is_empty() { dt { "Done already" } dd { (sentence(&told.done)) } }
                dt { "Next" } dd { (sentence(&told.next_step)) @if let Some((name, path)) = place(&told.key) { " " a .go href=(path) { (name) } } }
            }
            details id=(id) {
                summary { "Figures, events" @if viewer.steers() { ", mute" } }
                p { (share_of(told.n, told.of)) " " (foreign(&told.measure)) "; limit " (told.limit) " (" (told.limit_from) ")" }
                @if !told.query.is_empty() { pre { (foreign(&told.query)) } }
                p { a href=(events(&told.key)) { "The messages" } }
            @if viewer.steers() {
                form .inline method="post" action=(format!("/incidents/{}/mute", incident.id)) {
                    (form_token(&viewer.form_token))
                    input type="hidden" name="then" value="/";
                    label .hidden for=(format!("r-{}", incident.id)) { "Reason" }
                    input id=(format!("r-{}", incident.id)) name="reason" placeholder="Reason" required maxlength="512";
                    button { "Mute for 24 h" }
                }
            }
            }
        }
    }
}

fn share_of(n: u64, of: Option<u64>) -> String {
    of.map_or_else(|| crate::words::number(n), |of| crate::words::share(n, of))
}

/// How much mail waits for what an incident is about.
fn waiting(queue: &Queue, key: &str) -> String {
    let provider = match key.split_once(':') {
        Some(("provider", provider)) => provider,
        Some(("lane" | "stream_provider", pair)) => pair.rsplit_once('/').map_or("", |(_, provider)| provider),
        _ => return String::new(),
    };
    let waits = queue.lanes.iter().find(|row| row.provider == provider).map_or(0, |row| row.queued);
    format!(" · {} there", counted(waits as u64, "recipient waits", "recipients wait"))
}
