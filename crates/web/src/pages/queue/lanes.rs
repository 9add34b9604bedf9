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
            th scope="row" {
                a href=(format!("/queue?provider={link}")) { (foreign(&row.provider)) }
                br; small { a href=(format!("/messages?provider={link}&since=24h")) { "events" } }
            }
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
            td .long { @if let Some(error) = &row.last_error {
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
    let lanes = if stands { holds().filter_map(|hold| hold.held.until).min() } else { None };
    first_to_go(row, stands, lanes, snapshot.now)
}

/// The same, from whether all its lanes stand, and until when the first of them does.
fn first_to_go(row: &LaneRow, stands: bool, lanes: Option<Timestamp>, now: Timestamp) -> Next {
    let at = match row.due {
        _ if row.queued == row.held => return Next::Nothing,
        _ if stands && lanes.is_none() => return Next::Unknown,
        0 => lanes.max(row.next),
        _ if stands => lanes,
        due if due > row.budget => row.down_until,
        _ => row.next.into_iter().chain(row.budget_until).min(),
    };
    at.map(|at| row.goes(at)).filter(|at| *at > now).map_or(Next::Now, Next::At)
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
                    td { (crate::words::sentence(&sight.line(&hold.held.why))) }
                } } }
            } }
            @if more > 0 { p .quiet { (number(more as u64)) " more." } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_787_565_600 + 60 * minute).unwrap()
    }

    fn row(due: usize, held: usize, budget: usize, next: Option<i64>) -> LaneRow {
        LaneRow {
            provider: "google".into(),
            sources: Vec::new(),
            queued: 4,
            due,
            held,
            budget,
            budget_until: None,
            in_flight: 0,
            connections: 0,
            oldest: None,
            next: next.map(at),
            down_until: None,
            down_why: None,
            last_error: None,
            last_error_at: None,
            last_class: None,
            login: 0,
            first_end: None,
            tried: None,
        }
    }

    #[test]
    fn the_next_to_go_is_told_as_far_as_it_is_known() {
        let next = |row: &LaneRow, lanes: Option<Option<i64>>| first_to_go(row, lanes.is_some(), lanes.flatten().map(at), at(0));
        assert_eq!(next(&row(0, 4, 0, Some(9)), None), Next::Nothing, "all is held");
        assert_eq!(next(&row(2, 0, 0, None), None), Next::Now);
        assert_eq!(next(&row(0, 0, 0, Some(9)), None), Next::At(at(9)));
        assert_eq!(next(&row(2, 0, 2, Some(9)), Some(Some(5))), Next::At(at(5)), "what is due goes when a lane may send");
        assert_eq!(next(&row(0, 0, 0, Some(9)), Some(Some(5))), Next::At(at(9)), "nothing is due before that");
        assert_eq!(next(&row(2, 0, 2, Some(9)), Some(None)), Next::Unknown);
        assert_eq!(next(&LaneRow { down_until: Some(at(7)), ..row(2, 0, 0, None) }, None), Next::At(at(7)), "its hosts are left alone");
    }
}
