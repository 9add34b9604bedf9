//! `posthaste warmup plot`

use std::{io::Write, process::ExitCode};

use clap::Args;
use posthaste_governor::LaneKey;
use posthaste_governor::warmup::{DayStatus, DaysAhead, LaneStatus, WarmupAnswer, WarmupQuestion};

use super::common::{ODD, asked, json, lane};
use crate::commands::At;
use crate::screen;

/// What to plot.
#[derive(Args)]
pub(super) struct Plot {
    /// The lane, such as ip1/google.
    #[arg(value_parser = lane)]
    lane: LaneKey,
    /// The number of days, up to today.
    #[arg(long, short = 'n', default_value_t = 60)]
    days: usize,
    /// Print one JSON object per day.
    #[arg(long)]
    json: bool,
}

/// The width of the bars, in characters.
const WIDTH: usize = 60;

impl Plot {
    pub(super) fn run(self, at: &At) -> anyhow::Result<ExitCode> {
        let answer = asked(at, WarmupQuestion::Days { lane: self.lane.clone() }, &self.lane)?;
        let WarmupAnswer::Days { lane, days, ahead, .. } = answer else { anyhow::bail!(ODD) };
        let days = &days[days.len().saturating_sub(self.days)..];
        let mut out = screen::out();
        match self.json {
            true => days.iter().try_for_each(|day| json(day, &mut out))?,
            false => write!(out, "{}", drawn(&lane, days, &ahead))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One line per day: accepted recipients as a bar, other answers as a lighter one, and the cap as a mark. The scale is logarithmic, as caps
/// grow by a factor: equal lengths are equal factors.
fn drawn(lane: &LaneStatus, days: &[DayStatus], ahead: &DaysAhead) -> String {
    let curve = lane.curve.as_deref().unwrap_or("no curve");
    let mut out =
        format!("{}/{} on {curve}: █ accepted, ▒ other answers, │ the day's cap (logarithmic scale)\n", lane.source, lane.provider);
    let seen = days.iter().flat_map(|day| [day.cap.unwrap_or(0), day.counts.spent]);
    let most = seen.chain(ahead.days.iter().filter_map(|day| day.cap)).max().unwrap_or(1).max(1);
    for day in days {
        let stage = day.stage.map_or_else(|| "warm".to_owned(), |stage| stage.to_string());
        let of = day.cap.map_or_else(String::new, |cap| format!(" of {cap}"));
        let bar = bar(day.counts.accepted, day.counts.spent, day.cap, most);
        let verdict = day.verdict.as_deref().unwrap_or("not over yet");
        out += &format!("{}  {stage:>4} {bar} {}{of}  {verdict}\n", day.date, day.counts.accepted);
    }
    for day in ahead.days.iter().filter(|_| lane.stage.is_some()) {
        let stage = day.stage.map_or_else(|| "warm".to_owned(), |stage| stage.to_string());
        let sent = day.sent.map_or_else(|| "all that comes".to_owned(), |sent| sent.to_string());
        let of = day.cap.map_or_else(String::new, |cap| format!(" of {cap}"));
        out += &format!("{}  {stage:>4} {} {sent}{of}  to come\n", day.date, bar(0, 0, day.cap, most));
    }
    out
}

fn bar(accepted: u32, spent: u32, cap: Option<u32>, most: u32) -> String {
    let place = |n: u32| (f64::from(n).ln_1p() / f64::from(most).ln_1p() * WIDTH as f64).round() as usize;
    let (accepted, spent, cap) = (place(accepted), place(spent), cap.map(place));
    let cell = |at: usize| match at {
        _ if cap == Some(at + 1) && at >= accepted => '│',
        _ if at < accepted => '█',
        _ if at < spent => '▒',
        _ => ' ',
    };
    let mut bar: Vec<char> = (0..WIDTH).map(cell).collect();
    if let Some(cap) = cap.filter(|cap| *cap <= accepted && *cap > 0) {
        bar[cap - 1] = '┃';
    }
    bar.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_its_cap_where_it_is_reached() {
        let full = bar(100, 100, Some(100), 100);
        assert_eq!((full.chars().count(), full.chars().filter(|c| *c == '█').count(), full.chars().last()), (60, 59, Some('┃')));
        let none = bar(0, 0, Some(100), 100);
        assert_eq!(none.trim_start(), "│");
        let some = bar(10, 60, Some(100), 100);
        let count = |wanted| some.chars().filter(|c| *c == wanted).count();
        assert_eq!((count('█'), count('▒'), count('│')), (31, 22, 1));
    }

    #[test]
    fn equal_factors_have_equal_lengths() {
        let length = |n| bar(n, n, None, 100_000).trim_end().chars().count();
        assert_eq!((length(99), length(9_999), length(99_999)), (24, 48, 60));
    }
}
