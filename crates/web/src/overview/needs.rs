//! What needs an operator now: open incidents, the worst first, and alarms that stand.

use maud::{Markup, html};
use posthaste_relay::desk::Queue;
use posthaste_watch::{OFF, Shown};

use crate::{
    events::events_of,
    layout::form_token,
    snapshot::Snapshot,
    viewer::Viewer,
    words::{At, age, counted, foreign, headline, place, provider_of, sentence, whose},
};

/// Incidents that are shown; the page of incidents has all.
const SHOWN_MAX: usize = 8;

pub(super) fn draw(snapshot: &Snapshot, viewer: &Viewer) -> Markup {
    let groups = grouped(snapshot.open().collect());
    let alarms = &snapshot.queue.standing;
    html! {
        h2 { "Needs you now" }
        @if snapshot.is_off { p .quiet { (sentence(OFF)) } }
        @else if groups.is_empty() && alarms.alarms.is_empty() { p .quiet { "Nothing." } }
        @for group in groups.iter().take(SHOWN_MAX) { (card(snapshot, group, viewer)) }
        @if groups.len() > SHOWN_MAX {
            p { a href="/incidents" { (counted((groups.len() - SHOWN_MAX) as u64, "more incident", "more incidents")) } }
        }
        @for alarm in alarms.alarms.iter().take(SHOWN_MAX) {
            article .incident .warn {
                h3 { (viewer.sight.line(&alarm.what)) }
                p .meta { "since " (At { time: alarm.since, now: snapshot.now, zone: &snapshot.zone }) " · alarm " (alarm.id) }
                p { (sentence(&viewer.sight.line(&alarm.remedy))) }
                p { "Stays until somebody says that it is seen: " code { "posthaste alarms acknowledge " (alarm.id) } }
            }
        }
    }
}

/// Incidents, the worst first; what is about the same provider is one card, with what is about the provider itself before its lanes.
fn grouped(mut open: Vec<&Shown>) -> Vec<Vec<&Shown>> {
    open.sort_by_key(|incident| (incident.told.severity != "critical", !incident.told.key.starts_with("provider:"), incident.since));
    let mut groups: Vec<Vec<&Shown>> = Vec::new();
    for incident in open {
        let provider = provider_of(&incident.told.key);
        let same = |group: &&mut Vec<&Shown>| provider.is_some() && provider_of(&group[0].told.key) == provider;
        match groups.iter_mut().find(same) {
            Some(group) => group.push(incident),
            None => groups.push(vec![incident]),
        }
    }
    groups
}

fn card(snapshot: &Snapshot, group: &[&Shown], viewer: &Viewer) -> Markup {
    let incident = group[0];
    let told = &incident.told;
    let id = format!("why-{}", incident.id);
    html! {
        article .incident .(if told.severity == "critical" { "bad" } else { "warn" }) {
            h3 { a href=(format!("/incidents/{}", incident.id)) { (viewer.sight.line(&headline(&told.rule, &told.key))) } }
            p .detail { (sentence(&viewer.sight.line(&told.detail))) }
            p .meta {
                (told.severity) " · since " (At { time: incident.since, now: snapshot.now, zone: &snapshot.zone })
                " (" (age(incident.since, snapshot.now)) ") · " (whose(&told.problem_of)) (waiting(&snapshot.queue, &told.key))
            }
            dl {
                @if !told.done.is_empty() { dt { "Done already" } dd { (sentence(&viewer.sight.line(&told.done))) } }
                dt { "Next" } dd { (sentence(&viewer.sight.line(&told.next_step))) @if let Some((name, path)) = place(&told.key) { " " a .go href=(path) { (name) } } }
            }
            @if group.len() > 1 {
                ul .also { @for other in &group[1..] {
                    li { a href=(format!("/incidents/{}", other.id)) { (viewer.sight.line(&headline(&other.told.rule, &other.told.key))) } " since "
                        (At { time: other.since, now: snapshot.now, zone: &snapshot.zone }) }
                } }
            }
            details id=(id) {
                summary { "Figures, events" @if viewer.steers() { ", mute" } }
                p { (share_of(told.n, told.of)) " " (foreign(&told.measure)) "; limit " (told.limit) " (" (told.limit_from) ")" }
                @if !told.query.is_empty() { pre { (viewer.sight.line(&told.query)) } }
                p { (events_of(&told.key, &told.query, viewer)) }
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
    let Some(provider) = provider_of(key) else { return String::new() };
    let waits = queue.lanes.iter().find(|row| row.provider == provider).map_or(0, |row| row.queued);
    format!(" · {} there", counted(waits as u64, "recipient waits", "recipients wait"))
}
