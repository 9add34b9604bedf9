//! The warm-up as markup.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use posthaste_governor::warmup::{DayAhead, DayStatus, DaysAhead, Demand, LaneStatus, RateStatus};

use super::lane::{Hour, path, stage};
use crate::{
    chart::{Columns, bar},
    layout::form_token,
    words::{At, foreign, number, rate},
};

/// Days of the past that are drawn.
const DAYS: usize = 60;

/// A table of lanes.
pub(super) fn lanes(lanes: &[LaneStatus], now: Timestamp, zone: &TimeZone) -> Markup {
    html! {
        @if lanes.is_empty() {
            p .quiet { "No lane warms up: no source with a curve has sent mail yet, or none matches. "
                code { "[source.NAME] warmup = \"standard\"" } " gives a source a curve." }
        } @else { div .scroll tabindex="0" role="region" aria-label="Lanes" { table {
            thead { tr {
                th scope="col" { "Lane" } th scope="col" { "State" } th scope="col" { "Stage" } th scope="col" { "Used of today's cap" }
                th .n scope="col" { "Bounced" } th .n scope="col" { "Put off" } th .n scope="col" { "Complaints" }
                th .n scope="col" { "Tomorrow" } th scope="col" { "As it stands" }
            } }
            tbody { @for lane in lanes { tr {
                th scope="row" { a href=(path(&lane.source, &lane.provider)) { (lane.source) "/" (lane.provider) } }
                td { (state_word(lane)) @if let Some(hold) = &lane.hold { br; small { (foreign(hold)) } }
                    @if let Some(at) = lane.next_release.filter(|at| lane.hold.is_some() && *at > now) { br; small { "until " (At { time: at, now, zone }) } } }
                td { (stage(lane)) }
                td { @match lane.cap {
                    Some(cap) => { (bar(lane.used.into(), cap.into())) " " (number(lane.used.into())) " of " (number(cap.into())) }
                    None => { (number(lane.used.into())) " (no cap)" }
                } }
                (share(lane, &lane.health.hard_bounces)) (share(lane, &lane.health.deferrals)) (share(lane, &lane.health.complaints))
                td .n { (lane.next_cap.map_or_else(|| "any".to_owned(), |cap| number(cap.into()))) }
                td { (foreign(&lane.verdict)) }
            } } }
        } } }
    }
}

fn share(lane: &LaneStatus, of: &RateStatus) -> Markup {
    let sample = u64::from(lane.health.sample);
    html! { td .n { span .wrong[of.now >= of.hold && sample > 0] { (rate((of.now * sample as f64).round() as u64, sample)) } } }
}

fn state_word(lane: &LaneStatus) -> Markup {
    let (class, word) = match (&lane.hold, lane.next_release, lane.slowed_to) {
        (Some(_), None, _) => ("stopped", "stopped"),
        (Some(_), Some(_), _) if lane.remaining == Some(0) => ("warming", "cap used"),
        (Some(_), Some(_), _) => ("slowed", "waits"),
        (None, _, Some(_)) => ("slowed", "slowed"),
        (None, ..) => ("flowing", "sends"),
    };
    html! { span .state .(class) { (word) } }
}

/// How a lane stands.
pub(super) fn state(lane: &LaneStatus, now: Timestamp, zone: &TimeZone) -> Markup {
    let health = &lane.health;
    let at = |time| At { time, now, zone };
    html! {
        h1 { "Lane " (lane.source) "/" (lane.provider) }
        p { (state_word(lane)) @if let Some(hold) = &lane.hold { " " (foreign(hold)) }
            @if let Some(time) = lane.next_release.filter(|time| lane.hold.is_some() && *time > now) { "; goes on at " (at(time)) } }
        dl .facts {
            dt { "Curve" } dd { (lane.curve.as_deref().unwrap_or("none")) ", stage " (stage(lane)) }
            @if let Some(day) = lane.day { dt { "Day" } dd { (day) } }
            dt { "As it stands" } dd { (foreign(&lane.verdict)) "; tomorrow's cap: " (lane.next_cap.map_or_else(|| "any".to_owned(), |cap| number(cap.into()))) }
            @if let Some(why) = &lane.kept_by_operator { dt { "Kept on its stage" } dd { (foreign(why)) } }
            @if let Some(why) = &lane.slowed_why {
                dt { "Slowed" } dd { @if let Some(pace) = lane.slowed_to { "to " (number(pace.into())) " recipients an hour: " } (foreign(why)) }
            }
            @if let Some(back) = &lane.stepped_back { dt { "Stepped back" } dd { (at(back.at)) ", from stage " (back.from) " to " (back.to) ": " (foreign(&back.why)) } }
            @if lane.lost > 0 { dt { "Lost in a crash" } dd { (number(lane.lost.into())) " recipients of today's cap count as used" } }
        }
        h2 { "Health" small { " today, of " (crate::words::counted(health.sample.into(), "answer", "answers")) "; it takes " (health.min_sample) " to step back" } }
        div .scroll tabindex="0" role="region" aria-label="Health" { table {
            thead { tr { th scope="col" { "" } th .n scope="col" { "Now" } th .n scope="col" { "Holds from" } th .n scope="col" { "Steps back from" } } }
            tbody {
                @for (name, of) in [("No such mailbox", &health.hard_bounces), ("Put off for rate or reputation", &health.deferrals), ("Complaints", &health.complaints)] {
                    tr { th scope="row" { (name) } (share(lane, of)) td .n { (percent(of.hold)) } td .n { (percent(of.step_back)) } }
                }
            }
        } }
        @if lane.counts.blocked > 0 {
            p { "Refused today because the address is blocked there: " (crate::words::share(lane.counts.blocked.into(), lane.counts.spent.into())) " answers. "
                "That stops a lane at once, whatever the shares above." }
        }
        p { a href=(format!("{}?as=json", path(&lane.source, &lane.provider))) { "JSON" } " · "
            a href=(format!("/messages?since=24h&source={}&provider={}", lane.source, lane.provider)) { "The messages" } }
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// What an operator can do.
pub(super) fn steer(lane: &LaneStatus, token: &str, steers: &[(&str, &str, &str)]) -> Markup {
    html! {
        h2 { "Steer" }
        form .inline method="post" action=(format!("{}/steer", path(&lane.source, &lane.provider))) {
            (form_token(token))
            label for="steer-word" { "Do" }
            select #steer-word name="steer" { @for (word, name, what) in steers { option value=(word) { (name) ": " (what) } } }
            label for="steer-reason" { "because" }
            input #steer-reason name="reason" required maxlength="512" placeholder="Reason, for the log";
            button { "Do it" }
        }
    }
}

/// The last 24 hours.
pub(super) fn today(lane: &LaneStatus, hours: &[Hour]) -> Markup {
    let steps: Vec<(String, Vec<u64>)> =
        hours.iter().map(|hour| (hour.from.strftime("%H:%M").to_string(), vec![hour.delivered, hour.refused])).collect();
    html! {
        h2 { "By hour" small { " the last 24 hours (UTC); " (number(lane.used.into())) @match lane.cap { Some(cap) => { " of today's " (number(cap.into())) " are used" } None => { " used today, no cap" } } } }
        @if steps.is_empty() { p .quiet { "Nothing was sent." } }
        @else { (Columns { kinds: &["delivered", "refused or put off"], steps: &steps, bars: &[],
            label: format!("Recipients by hour of lane {}/{}", lane.source, lane.provider) }.draw()) }
    }
}

/// The days behind and those to come.
pub(super) fn days(lane: &LaneStatus, days: &[DayStatus], ahead: &DaysAhead) -> Markup {
    let days = &days[days.len().saturating_sub(DAYS)..];
    let to_come = &ahead.days[..];
    html! {
        h2 { "Curve and days" }
        @if days.iter().any(|day| day.cap.is_some() || day.counts.spent > 0) { (curve(lane, days, to_come)) }
        @else { p .quiet { "Without a curve a lane's days are not counted: the chart above and " a href="/messages" { "the messages" } " say what it sent." } }
        @if !to_come.is_empty() { details id="ahead" { summary { "The next " (to_come.len()) " days: " (outlook(lane, ahead)) } (table_ahead(to_come)) } }
        div .scroll tabindex="0" role="region" aria-label="Days" { table {
            thead { tr { th scope="col" { "Day" } th .n scope="col" { "Stage" } th .n scope="col" { "Cap" } th .n scope="col" { "Answered" }
                th .n scope="col" { "Accepted" } th .n scope="col" { "Unknown" } th .n scope="col" { "Refused" } th .n scope="col" { "Put off" } th scope="col" { "Verdict" } } }
            tbody {
                @for day in days.iter().rev() { tr {
                    th scope="row" { (day.date) } td .n { (any(day.stage)) } td .n { (any(day.cap)) } td .n { (number(day.counts.spent.into())) }
                    td .n { (number(day.counts.accepted.into())) } td .n { (number(day.counts.hard_bounces.into())) }
                    td .n { (number(u64::from(day.counts.refused) + u64::from(day.counts.blocked))) }
                    td .n { (number(u64::from(day.counts.throttled) + u64::from(day.counts.deferred))) }
                    td { (foreign(day.verdict.as_deref().unwrap_or("not over yet"))) }
                } }
            }
        } }
    }
}

fn table_ahead(ahead: &[DayAhead]) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Days to come" { table {
            thead { tr { th scope="col" { "Day" } th .n scope="col" { "Stage" } th .n scope="col" { "Cap" } th .n scope="col" { "Will send" } } }
            tbody { @for day in ahead { tr { th scope="row" { (day.date) } td .n { (any(day.stage)) } td .n { (any(day.cap)) } td .n { (day.sent.map_or_else(|| "all that comes".into(), |sent| number(sent.into()))) } } } }
        } }
    }
}

/// What the days to come amount to, and what they are foreseen with.
fn outlook(lane: &LaneStatus, ahead: &DaysAhead) -> String {
    let warm = ahead.days.iter().find(|day| day.stage.is_none());
    let stages = || {
        ahead.days.last().and_then(|last| last.stage).map_or_else(String::new, |last| format!("stage {last} of {} by then", lane.stages))
    };
    let outcome = match (lane.stage, warm) {
        (None, _) => "it is warm".to_owned(),
        (_, Some(day)) => format!("warm on {}", day.date),
        (now, None) if ahead.days.last().is_some_and(|last| last.stage == now) => "it stays on its stage".to_owned(),
        _ => stages(),
    };
    let with = match ahead.demand {
        Demand::FillsCap => "if mail fills each cap".to_owned(),
        Demand::ADay(n) => format!("with {} recipients a day, the most of the last week", number(n.into())),
    };
    format!("{outcome}, {with} and receivers take it")
}

fn any(n: Option<u32>) -> String {
    n.map_or_else(|| "any".into(), |n| number(n.into()))
}

/// The curve as a line and what was accepted as columns, on a logarithmic scale: equal heights are equal factors. The table below says the same.
fn curve(lane: &LaneStatus, days: &[DayStatus], ahead: &[DayAhead]) -> Markup {
    const HEIGHT: f64 = 120.0;
    let caps: Vec<Option<u32>> = days.iter().map(|day| day.cap).chain(ahead.iter().map(|day| day.cap)).collect();
    let most = caps.iter().flatten().copied().chain(days.iter().map(|day| day.counts.spent)).max().unwrap_or(1).max(1);
    let y = |n: u32| HEIGHT - f64::from(n).ln_1p() / f64::from(most).ln_1p() * (HEIGHT - 6.0);
    let width = 720.0 / caps.len().max(1) as f64;
    let points: Vec<String> = caps
        .iter()
        .enumerate()
        .filter_map(|(place, cap)| cap.map(|cap| format!("{:.1},{:.1}", (place as f64 + 0.5) * width, y(cap))))
        .collect();
    let label = format!(
        "The caps of lane {}/{} as a line and what was accepted as columns, logarithmic; the last {} days are to come",
        lane.source,
        lane.provider,
        ahead.len()
    );
    html! {
        figure .columns {
            svg viewBox="0 0 720 124" role="img" aria-label=(label) {
                @for (place, day) in days.iter().enumerate() {
                    rect .kind0 x=(format!("{:.1}", place as f64 * width + 1.0)) y=(format!("{:.1}", y(day.counts.accepted)))
                        width=(format!("{:.1}", (width - 2.0).max(1.0))) height=(format!("{:.1}", HEIGHT - y(day.counts.accepted))) {
                        title { (day.date) ": " (number(day.counts.accepted.into())) " accepted" }
                    }
                }
                polyline .line1 points=(points.join(" ")) {}
            }
            ul .key {
                li { svg .swatch viewBox="0 0 10 10" aria-hidden="true" { rect .kind0 width="10" height="10" {} } "accepted" }
                li { svg .swatch viewBox="0 0 10 10" aria-hidden="true" { rect .kind1 width="10" height="10" {} } "cap (the days to come have no column)" }
            }
        }
    }
}
