//! What waits for each provider, and the lanes that may not send.

use jiff::Timestamp;
use maud::{Markup, html};
use posthaste_queue::LaneRow;

use super::Which;
use crate::{
    overview::providers::state_of,
    sight::Sight,
    snapshot::Snapshot,
    words::{At, age, foreign, number},
};

/// Rows of the tables.
const SHOWN_MAX: usize = 50;
/// Characters of an error in the table.
const ERROR_MAX: usize = 160;

pub(super) fn draw(snapshot: &Snapshot, which: Option<&Which>, sight: Sight) -> Markup {
    let wanted = which.and_then(|which| which.selection.provider.as_deref());
    let mut rows: Vec<&LaneRow> =
        snapshot.queue.lanes.iter().filter(|row| wanted.is_none_or(|wanted| row.provider.eq_ignore_ascii_case(wanted))).collect();
    rows.sort_by(|a, b| b.queued.cmp(&a.queued).then_with(|| a.provider.cmp(&b.provider)));
    let more = rows.len().saturating_sub(SHOWN_MAX);
    rows.truncate(SHOWN_MAX);
    html! {
        h2 { "By provider" small { " recipients; most waiting first" } }
        @if rows.is_empty() { p .quiet { "Nothing waits" @if let Some(wanted) = wanted { " for " (foreign(wanted)) } "." } }
        @else {
            div .scroll tabindex="0" role="region" aria-label="By provider" { table {
                thead { tr {
                    th scope="col" { "Provider" } th scope="col" { "State" } th .n scope="col" { "Waiting" } th .n scope="col" { "Due" } th .n scope="col" { "Held" }
                    th .n scope="col" { "For budget" } th .n scope="col" { "Under way" } th .n scope="col" { "Oldest" } th scope="col" { "Next" } th scope="col" { "Last error" }
                } }
                tbody { @for row in rows { (draw_row(snapshot, row, sight)) } }
            } }
            @if more > 0 { p .quiet { (number(more as u64)) " more; look at one by its name above." } }
        }
        (holds(snapshot, wanted, sight))
        @if wanted.is_none() && !snapshot.queue.slow.is_empty() {
            h3 { "Under way for a while" }
            ul { @for doing in &snapshot.queue.slow { li { (sight.line(doing)) } } }
        }
    }
}

fn draw_row(snapshot: &Snapshot, row: &LaneRow, sight: Sight) -> Markup {
    let (state, n) = (state_of(snapshot, &row.provider), |n: usize| number(n as u64));
    let link: String = form_urlencoded::byte_serialize(row.provider.as_bytes()).collect();
    let at = |time: Timestamp| At { time, now: snapshot.now, zone: &snapshot.zone };
    html! {
        tr {
            th scope="row" { a href=(format!("/queue?provider={link}")) { (foreign(&row.provider)) } }
            td { span .state .(state.word) { (state.word) } @if !state.next.is_empty() { br; small { (foreign(&state.next)) } } }
            td .n { (n(row.queued)) } td .n { (n(row.due)) } td .n { (n(row.held)) }
            td .n { (n(row.budget)) } td .n { (n(row.in_flight)) }
            td .n { @if let Some(oldest) = row.oldest { (age(oldest, snapshot.now)) } }
            td { @match next(snapshot, row) {
                Next::Now => { "now" }
                Next::At(time) => { (at(time)) }
                Next::Unknown => { "not known" }
                Next::Nothing => {}
            } }
            td { @if let Some(error) = &row.last_error {
                small .error { (sight.beginning(error, ERROR_MAX)) } @if let Some(time) = row.last_error_at { br; small { (age(time, snapshot.now)) " ago" } } }
                @if let (Some(why), Some(until)) = (&row.down_why, row.down_until) { br; small { (sight.beginning(why, ERROR_MAX)) "; tried again at " (at(until)) } } }
        }
    }
}

/// When the next of a provider's mail goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Now,
    At(Timestamp),
    /// All its lanes stand, and nobody knows for how long.
    Unknown,
    Nothing,
}

fn next(snapshot: &Snapshot, row: &LaneRow) -> Next {
    let holds = || snapshot.queue.holds.iter().filter(|hold| hold.provider == row.provider);
    let stands = !row.sources.is_empty() && row.sources.iter().all(|source| holds().any(|hold| *hold.source == *source.as_str()));
    let lanes = holds().filter_map(|hold| hold.held.until).min().filter(|_| stands);
    let own = if row.due > row.budget { None } else { row.next };
    match (stands, lanes.max(own).or(row.next)) {
        _ if row.queued == row.held => Next::Nothing,
        (true, None) => Next::Unknown,
        (_, Some(at)) if at > snapshot.now => Next::At(at),
        _ => Next::Now,
    }
}

/// Lanes that may not send at present.
fn holds(snapshot: &Snapshot, wanted: Option<&str>, sight: Sight) -> Markup {
    let mut holds: Vec<_> =
        snapshot.queue.holds.iter().filter(|hold| wanted.is_none_or(|wanted| hold.provider.eq_ignore_ascii_case(wanted))).collect();
    let more = holds.len().saturating_sub(SHOWN_MAX);
    holds.truncate(SHOWN_MAX);
    html! {
        @if !holds.is_empty() {
            h3 { "Lanes that may not send" }
            div .scroll tabindex="0" role="region" aria-label="Lanes that may not send" { table {
                thead { tr { th scope="col" { "Source" } th scope="col" { "Provider" } th scope="col" { "Until" } th scope="col" { "Why" } } }
                tbody { @for hold in holds { tr {
                    th scope="row" { a href=(format!("/warmup?source={}", hold.source)) { (foreign(&hold.source)) } }
                    td { (foreign(&hold.provider)) }
                    td { @match hold.held.until { Some(time) => { (At { time, now: snapshot.now, zone: &snapshot.zone }) } None => { "somebody resumes it" } } }
                    td { (sight.line(&hold.held.why)) }
                } } }
            } }
            @if more > 0 { p .quiet { (number(more as u64)) " more." } }
        }
    }
}
