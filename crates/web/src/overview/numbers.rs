//! Four numbers, for the last hour, the last 24 hours and the same hour a week ago.

use maud::{Markup, html};
use posthaste_tallies::{Cell, Counter, Time};
use posthaste_watch::OFF;
use serde_json::{Value, json};

use crate::{
    snapshot::Snapshot,
    words::{age, lasting, milliseconds, number, share},
};

pub(super) fn draw(snapshot: &Snapshot) -> Markup {
    let Some(counted) = &snapshot.counted else {
        return html! { h2 { "Numbers" } p .quiet {
            @if snapshot.is_off { (crate::words::sentence(OFF)) } @else { "There are no figures: what is counted of the delivery log cannot be read." }
        } };
    };
    let spans = [
        ("Last hour", "1h", Some(&counted.hour)),
        ("24 h", "24h", Some(&counted.hours.day)),
        ("Same hour a week ago", "", Some(&counted.hours.week_ago)),
    ];
    html! {
        h2 { "Numbers" }
        div .scroll tabindex="0" role="region" aria-label="Numbers" { table .numbers {
            thead { tr { th scope="col" { "Recipients" } @for (name, ..) in &spans { th .n scope="col" { (name) } } } }
            tbody {
                tr { th scope="row" { "Accepted" } @for (_, since, cell) in &spans { (figure(*cell, since, "accepted", |cell| number(cell.get(Counter::Accepted)))) } }
                tr { th scope="row" { "Delivered of finished" } @for (_, since, cell) in &spans {
                    (figure(*cell, since, "delivered", |cell| share(cell.get(Counter::Delivered), cell.finished()))) } }
                tr { th scope="row" { "Time to deliver: half · 95 % · 99 %" } @for (_, since, cell) in &spans { (figure(*cell, since, "delivered", times)) } }
            }
        } }
        p { (waiting(snapshot)) }
    }
}

fn figure(cell: Option<&Cell>, since: &str, event: &str, text: impl Fn(&Cell) -> String) -> Markup {
    let text = cell.map_or_else(|| "–".into(), text);
    html! { td .n { @if since.is_empty() { (text) } @else { a href=(format!("/messages?event={event}&since={since}")) { (text) } } } }
}

fn times(cell: &Cell) -> String {
    let Some(times) = cell.times().filter(|times| times.count(Time::Delivery) > 0) else { return "–".into() };
    let at = |share| times.quantile(Time::Delivery, share).map_or_else(|| "–".into(), milliseconds);
    format!("{} · {} · {}", at(0.5), at(0.95), at(0.99))
}

fn waiting(snapshot: &Snapshot) -> Markup {
    let counts = snapshot.queue.counts;
    let mut streams: Vec<_> = snapshot
        .facts
        .iter()
        .flat_map(|facts| &facts.streams)
        .filter_map(|stream| {
            let oldest = snapshot
                .facts
                .as_ref()?
                .waiting
                .iter()
                .filter(|waits| waits.stream == stream.name)
                .filter_map(|waits| waits.oldest)
                .min()?;
            Some((&stream.name, oldest, stream.aim))
        })
        .collect();
    streams.sort_by_key(|(_, oldest, _)| *oldest);
    let oldest = snapshot.queue.lanes.iter().filter_map(|row| row.oldest).min();
    html! {
        strong { a href="/queue" { (number(counts.recipients as u64)) " waiting" } } ": "
        (number(counts.due as u64)) " due, " (number(counts.later as u64)) " later, " (number(counts.in_flight as u64)) " in flight, " (number(counts.held as u64)) " held"
        @if let Some(oldest) = oldest { "; the oldest for " (age(oldest, snapshot.now)) } "."
        @for (name, oldest, aim) in streams.into_iter().take(4) {
            " " span .late[snapshot.now.duration_since(oldest).as_secs() > aim.as_secs() as i64] {
                a href=(format!("/queue?stream={name}")) { (name) } ": oldest " (age(oldest, snapshot.now)) ", aim "
                (lasting(jiff::SignedDuration::try_from(aim).unwrap_or_default()))
            } "."
        }
    }
}

/// The same for machines.
pub(super) fn data(snapshot: &Snapshot) -> Value {
    let of = |cell: &Cell| {
        let at = |share| cell.times().and_then(|times| times.quantile(Time::Delivery, share));
        json!({ "accepted": cell.get(Counter::Accepted), "delivered": cell.get(Counter::Delivered), "finished": cell.finished(),
            "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99) })
    };
    let Some(counted) = &snapshot.counted else { return Value::Null };
    json!({ "hour": of(&counted.hour), "day": of(&counted.hours.day), "week_ago": of(&counted.hours.week_ago) })
}
