//! The lines of each section.

use jiff::Timestamp;
use posthaste_mail::Foreign;
use posthaste_relay::top::{Flow, LaneNow, LaneState, ProviderNow, Warming};
use posthaste_watch::{Shown, thousands};
use ratatui::{
    style::Color,
    text::{Line, Span},
};

use super::{app::App, look::Look};
use crate::commands::table::span;

/// Text of others in so many columns, without anything that a terminal obeys.
pub(super) fn fitting(text: &str, width: usize) -> String {
    let shown = Foreign::new(text).to_string();
    if shown.chars().count() <= width {
        return shown;
    }
    shown.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// For how long something has been so: `2h10m`.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since).as_secs())
}

/// `98.5 %`, or `3/40` of few, or `-` of none.
fn share(n: u64, of: u64) -> String {
    match of {
        0 => "-".to_owned(),
        1..100 => format!("{n}/{of}"),
        _ => format!("{:.1} %", 100.0 * n as f64 / of as f64),
    }
}

pub(super) const RATES_HEAD: &str = "Per second        now      1 min  last 30 minutes";

/// The line of a rate.
pub(super) fn rate(app: &App, word: &str, of: fn(&Flow) -> u64, look: Look) -> Line<'static> {
    let number = |rate: Option<f64>| {
        rate.map_or_else(|| "-".to_owned(), |rate| if rate < 100.0 { format!("{rate:.1}") } else { thousands(rate as u64) })
    };
    let minutes = &app.minutes;
    let last = minutes.last().map(|flow| of(flow) as f64 / 60.0);
    let minute = app.rates.minute(of).or(last);
    let most = minutes.iter().map(of).max().unwrap_or(0);
    let bars: String = minutes.iter().map(|flow| bar(of(flow), most)).collect();
    let most = if most > 0 { format!("  max {}/min", thousands(most)) } else { String::new() };
    Line::from(vec![
        Span::raw(format!("{word:<11}{:>10}{:>11}  ", number(app.rates.now(of)), number(minute))),
        Span::styled(bars, look.colour(Color::Cyan)),
        Span::raw(most),
    ])
}

/// A bar as high as its part of the highest: a little of something is seen, and nothing is nothing.
fn bar(n: u64, most: u64) -> char {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    match n {
        0 => ' ',
        _ => BARS[usize::try_from((n - 1).saturating_mul(8) / most.max(1)).unwrap_or(7).min(7)],
    }
}

pub(super) fn incident(incident: &Shown, now: Timestamp, width: usize, look: Look) -> Line<'static> {
    let (word, style) = match (incident.state.as_str(), incident.told.severity.as_str()) {
        ("open", "critical") => ("CRITICAL", look.alarm()),
        ("open", _) => ("warning", look.colour(Color::Yellow)),
        _ => ("muted", look.plain()),
    };
    let begin = format!(" {:>7}  ", age(incident.since, now));
    let detail = fitting(&incident.told.detail, width.saturating_sub(9 + begin.len()));
    Line::from(vec![Span::styled(format!("{word:<9}"), style), Span::raw(begin + &detail)])
}

pub(super) fn providers_head(width: usize) -> String {
    let extra = extra(width);
    format!("{:<w$}{:>9}{:>8}{:>8}{:>10}{:>9}  mostly", "", "queued", "due", "oldest", "tried 1 h", "refused", w = 20 + extra / 2)
}

pub(super) fn provider(row: &ProviderNow, now: Timestamp, width: usize, look: Look) -> Line<'static> {
    let extra = extra(width);
    let (queued, due, tried) = (thousands(row.queued as u64), thousands(row.due as u64), thousands(row.attempts));
    let oldest = row.oldest.map_or_else(|| "-".to_owned(), |oldest| age(oldest, now));
    let name = 20 + extra / 2;
    let begin = format!("{:<name$}{queued:>9}{due:>8}{oldest:>8}{tried:>10}", fitting(&row.provider, name - 1));
    let is_bad = row.attempts >= 20 && row.refused * 10 >= row.attempts;
    let refused = Span::styled(format!("{:>9}", share(row.refused, row.attempts)), if is_bad { look.alarm() } else { look.plain() });
    let mostly = row.class.as_deref().or(row.last_error.as_deref()).unwrap_or_default();
    let rest = width.saturating_sub(begin.chars().count() + 9 + 2);
    Line::from(vec![Span::raw(begin), refused, Span::raw(format!("  {}", fitting(mostly, rest)))])
}

pub(super) fn lanes_head(width: usize) -> String {
    format!("{:<w$}{:>10}{:>10}{:>8}  {:<8}until", "", "used", "cap", "of cap", "state", w = 24 + extra(width) / 2)
}

pub(super) fn lane(lane: &LaneNow, now: Timestamp, width: usize, look: Look) -> Line<'static> {
    let name = 24 + extra(width) / 2;
    let cap = lane.cap.map_or_else(|| "any".to_owned(), |cap| thousands(cap.into()));
    let part = lane.cap.map_or_else(|| "-".to_owned(), |cap| share(lane.used.into(), u64::from(cap).max(1)));
    let begin = fitting(&format!("{}/{}", lane.source, lane.provider), name - 1);
    let begin = format!("{begin:<name$}{:>10}{cap:>10}{part:>8}  ", thousands(lane.used.into()));
    let style = match lane.state {
        LaneState::Sends => look.colour(Color::Green),
        LaneState::Full => look.plain(),
        LaneState::Slowed | LaneState::Waits => look.colour(Color::Yellow),
        LaneState::Stopped => look.alarm(),
    };
    let until = lane.until.map(|until| format!("in {}", span(until.duration_since(now).as_secs()))).unwrap_or_default();
    let why = lane.why.as_deref().unwrap_or_default();
    let rest = format!("{until}{}{why}", if until.is_empty() || why.is_empty() { "" } else { ": " });
    let rest = fitting(&rest, width.saturating_sub(begin.chars().count() + 8));
    Line::from(vec![Span::raw(begin), Span::styled(format!("{:<8}", lane.state.as_str()), style), Span::raw(rest)])
}

pub(super) fn warming(warming: &Warming, width: usize) -> Line<'static> {
    let days = match warming.from_stage == warming.to_stage {
        true => warming.from_stage.to_string(),
        false => format!("{} to {}", warming.from_stage, warming.to_stage),
    };
    let part = share(warming.used, warming.cap.max(1));
    let text = format!(
        "{:<20} day {days} of {}: {} of {} used ({part}), {}",
        fitting(&warming.source, 20),
        warming.stages,
        thousands(warming.used),
        thousands(warming.cap),
        crate::commands::count(warming.lanes, "lane"),
    );
    Line::raw(fitting(&text, width))
}

/// The columns beyond 80.
fn extra(width: usize) -> usize {
    width.saturating_sub(80)
}
