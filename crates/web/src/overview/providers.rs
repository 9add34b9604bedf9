//! The largest providers: how mail to each of them fares, and what happens next.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};
use posthaste_governor::warmup::LaneStatus;
use posthaste_mail::Class;
use posthaste_queue::LaneRow;
use posthaste_tallies::{ByClass, Cell, Counter, Time};
use serde_json::{Value, json};

use crate::{
    chart::Sparkline,
    sight::Sight,
    snapshot::Snapshot,
    words::{At, age, foreign, milliseconds, rate, short},
};

/// Providers with a row of their own; the others share one.
const SHOWN_MAX: usize = 8;
/// Characters of a receiver's reply.
const ERROR_MAX: usize = 240;
/// What a receiver refuses because of us, because of the sender's list, and because of what a message says.
const FOR_US: [Class; 4] = [Class::IpReputation, Class::PolicyAuth, Class::RateLimited, Class::RelayingDenied];
const FOR_LIST: [Class; 4] = [Class::InvalidRecipient, Class::InactiveMailbox, Class::BadDomain, Class::MailboxFull];
const FOR_CONTENT: [Class; 2] = [Class::SpamContent, Class::MessageTooLarge];

/// A row of the table.
struct Row<'s> {
    name: String,
    day: Cell,
    queue: Option<&'s LaneRow>,
    queued: usize,
    oldest: Option<Timestamp>,
    state: State,
    hours: Vec<u64>,
}

/// How mail to a provider fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// As a word: flowing, slowed, stopped, warming, unreachable, idle.
    pub(crate) word: &'static str,
    /// What happens next, and when.
    pub(crate) next: String,
}

/// How mail to this provider fares. Sources that send there freely are not among the lanes that warm up or were pushed back: the queue knows them, as
/// long as mail waits for the provider. Without any, nobody knows that all of them are stopped.
pub(crate) fn state_of(snapshot: &Snapshot, provider: &str) -> State {
    let row = snapshot.queue.lanes.iter().find(|row| row.provider == provider);
    let lanes: Vec<&LaneStatus> = snapshot.lanes.iter().filter(|lane| *lane.provider == *provider).collect();
    let until = |time: Timestamp| At { time, now: snapshot.now, zone: &snapshot.zone }.text();
    let is_paused = |source: &str| lanes.iter().any(|lane| *lane.source == *source && lane.paused.is_some());
    let first = lanes
        .iter()
        .filter_map(|lane| Some((lane, lane.paused.as_ref()?)))
        .min_by_key(|(_, paused)| paused.until.unwrap_or(Timestamp::MAX));
    let sends_nowhere =
        lanes.iter().all(|lane| lane.paused.is_some()) && row.is_none_or(|row| row.sources.iter().all(|source| is_paused(source.as_str())));
    if let Some((lane, paused)) = first {
        let next = match paused.until {
            Some(at) => format!("{} tries again at {}", lane.source, until(at)),
            None => format!("{} waits until somebody resumes it", lane.source),
        };
        return State { word: if sends_nowhere { "stopped" } else { "slowed" }, next };
    }
    let next = row.filter(|row| row.due + row.in_flight == 0).and_then(|row| row.next);
    if let Some(at) = row.and_then(|row| row.down_until) {
        return State { word: "unreachable", next: format!("tried again at {}", until(next.map_or(at, |next| next.max(at)))) };
    }
    if row.is_some_and(|row| row.queued > 0 && row.held == row.queued) {
        return State { word: "stopped", next: "an operator holds all of its mail until it is released".into() };
    }
    let in_words = |next: Option<Timestamp>| next.map_or_else(String::new, |at| format!("next attempt at {}", until(at)));
    if snapshot.found.contains(&format!("mail_stands/provider:{provider}")) {
        return State { word: "stopped", next: in_words(next) };
    }
    if let Some((lane, pace)) = lanes.iter().find_map(|lane| Some((lane, lane.slowed_to?))) {
        return State { word: "slowed", next: format!("{} sends {} an hour and climbs", lane.source, short(pace.into())) };
    }
    if let Some(lane) = lanes.iter().find(|lane| lane.stage.is_some()) {
        let next = match (lane.remaining, lane.next_release) {
            (Some(0), Some(at)) => format!("today's cap is used; {} goes on at {}", lane.source, until(at)),
            _ => format!("stage {} of {}", lane.stage.unwrap_or_default(), lane.stages),
        };
        return State { word: "warming", next };
    }
    State { word: "flowing", next: in_words(next) }
}

fn rows(snapshot: &Snapshot) -> (Vec<Row<'_>>, Option<Row<'_>>) {
    let Some(counted) = &snapshot.counted else { return (Vec::new(), None) };
    let mut days: BTreeMap<&str, &Cell> = counted.hours.providers.iter().collect();
    let empty = Cell::default();
    for row in &snapshot.queue.lanes {
        days.entry(&row.provider).or_insert(&empty);
    }
    let queue = |name: &str| snapshot.queue.lanes.iter().find(|row| row.provider == name);
    let mut order: Vec<(&str, &Cell)> = days.into_iter().collect();
    let weight = |name: &str, cell: &Cell| {
        cell.get(Counter::Attempts).max(cell.get(Counter::Accepted)) + queue(name).map_or(0, |row| row.queued as u64)
    };
    // Where mail waits that cannot go comes first, whatever its size.
    let stands =
        |name: &str| queue(name).is_some_and(|row| row.queued > 0) && matches!(state_of(snapshot, name).word, "stopped" | "unreachable");
    order.sort_by_cached_key(|(name, cell)| std::cmp::Reverse((stands(name), weight(name, cell))));
    let hours = |name: Option<&str>, shown: &[(&str, &Cell)]| -> Vec<u64> {
        let of = |block: &posthaste_tallies::Block| match name {
            Some(name) => block.get(name).map_or(0, |cell| cell.get(Counter::Delivered)),
            None => block
                .iter()
                .filter(|(key, _)| !shown.iter().any(|(name, _)| name == key))
                .map(|(_, cell)| cell.get(Counter::Delivered))
                .sum(),
        };
        counted.hours.by_hour.iter().map(|(_, block)| of(block)).collect()
    };
    let (shown, others) = order.split_at(order.len().min(SHOWN_MAX));
    let rows = shown.iter().map(|(name, cell)| Row {
        name: (*name).to_owned(),
        day: (*cell).clone(),
        queue: queue(name),
        queued: queue(name).map_or(0, |row| row.queued),
        oldest: queue(name).and_then(|row| row.oldest),
        state: state_of(snapshot, name),
        hours: hours(Some(name), shown),
    });
    let rest = (!others.is_empty()).then(|| {
        let mut day = Cell::default();
        others.iter().for_each(|(_, cell)| day.merge(cell));
        let waits = || others.iter().filter_map(|(name, _)| queue(name));
        Row {
            name: format!("{} others", others.len()),
            day,
            queue: None,
            queued: waits().map(|row| row.queued).sum(),
            oldest: waits().filter_map(|row| row.oldest).min(),
            state: State::default(),
            hours: hours(None, shown),
        }
    });
    (rows.collect(), rest)
}

fn refused(cell: &Cell, classes: &[Class]) -> u64 {
    cell.of(ByClass::Deferred, classes) + cell.of(ByClass::Bounced, classes) + cell.of(ByClass::Expired, classes)
}

pub(super) fn draw(snapshot: &Snapshot, sight: Sight) -> Markup {
    let (rows, rest) = rows(snapshot);
    html! {
        h2 { "Providers" small { " 24 h; shares are of attempts" } }
        @if rows.is_empty() { p .quiet { "No mail in the last 24 hours." } }
        @else {
            div .scroll tabindex="0" role="region" aria-label="Providers" { table .providers {
                thead {
                    tr {
                        th scope="col" rowspan="2" { "Provider" } th scope="col" rowspan="2" { "State" } th .n scope="col" rowspan="2" { "Attempts" }
                        th .n scope="col" rowspan="2" { "Delivered" } th .n scope="col" rowspan="2" { "Deferred" }
                        th .group scope="colgroup" colspan="3" { "Refused or put off because of" }
                        th .n scope="col" rowspan="2" { "Complaints" br; small { "of delivered" } } th .n scope="col" rowspan="2" { "95 % within" }
                        th .n scope="col" rowspan="2" { "Waiting" } th scope="col" rowspan="2" { "Delivered by hour" }
                    }
                    tr { th .n scope="col" { "us" } th .n scope="col" { "the list" } th .n scope="col" { "content" } }
                }
                tbody { @for row in rows.iter().chain(&rest) { (draw_row(snapshot, row, sight)) } }
            } }
        }
    }
}

fn draw_row(snapshot: &Snapshot, row: &Row<'_>, sight: Sight) -> Markup {
    let cell = &row.day;
    let attempts = cell.get(Counter::Attempts);
    let name: String = form_urlencoded::byte_serialize(row.name.as_bytes()).collect();
    let is_one = !row.state.word.is_empty();
    let of = |n: u64, more: &str| {
        html! { td .n {
            @if is_one { a href=(format!("/messages?provider={name}&since=24h{more}")) { (rate(n, attempts)) } } @else { (rate(n, attempts)) }
        } }
    };
    let bars: Vec<_> = if is_one {
        snapshot.troubles(Some(&row.name)).into_iter().map(|(from, to, how, _)| (from, to, how)).collect()
    } else {
        Vec::new()
    };
    let p95 = cell.times().and_then(|times| times.quantile(Time::Delivery, 0.95));
    html! {
        tr {
            th scope="row" { @if is_one { a href=(format!("/queue?provider={name}")) { (foreign(&row.name)) } } @else { (row.name) } }
            td { @if is_one { span .state .(row.state.word) { (row.state.word) } }
                @if !row.state.next.is_empty() { br; small { (foreign(&row.state.next)) } } }
            td .n { (short(attempts)) }
            (of(cell.get(Counter::Delivered), "&event=delivered"))
            (of(cell.get(Counter::Deferred), "&event=deferred"))
            (of(refused(cell, &FOR_US), "&event=refused"))
            (of(refused(cell, &FOR_LIST), "&event=refused"))
            (of(refused(cell, &FOR_CONTENT), "&event=refused"))
            td .n { (rate(cell.get(Counter::Complained), cell.get(Counter::Delivered))) }
            td .n { (p95.map_or_else(|| "–".into(), milliseconds)) }
            td .n { (short(row.queued as u64)) @if let Some(oldest) = row.oldest { br; small { (age(oldest, snapshot.now)) } } }
            td { (Sparkline { values: &row.hours, bars: &bars, label: format!("Delivered by hour to {}: {}", row.name, listed(&row.hours)) }.draw()) }
        }
        @if let Some(error) = row.queue.and_then(|row| row.last_error.as_ref()) {
            tr .error { td colspan="12" { small .error { (sight.beginning(error, ERROR_MAX)) } } }
        }
    }
}

fn listed(hours: &[u64]) -> String {
    hours.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// The same for machines.
pub(super) fn data(snapshot: &Snapshot) -> Value {
    let (rows, rest) = rows(snapshot);
    rows.iter()
        .chain(&rest)
        .map(|row| {
            let cell = &row.day;
            json!({
                "provider": row.name, "state": row.state.word, "next": row.state.next, "attempts": cell.get(Counter::Attempts),
                "delivered": cell.get(Counter::Delivered), "deferred": cell.get(Counter::Deferred), "refused_ours": refused(cell, &FOR_US),
                "refused_list": refused(cell, &FOR_LIST), "refused_content": refused(cell, &FOR_CONTENT),
                "complained": cell.get(Counter::Complained), "queued": row.queued, "oldest": row.oldest, "delivered_by_hour": row.hours,
            })
        })
        .collect()
}
