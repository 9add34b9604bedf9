//! A report for people: what happened, as shares that name what they are shares of.

use std::fmt::{self, Display, Formatter};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_tallies::Counter;
use serde_json::Value;

use crate::{Report, Row};

/// Below this many, a share says nothing: it is written as "3 of 40".
const ENOUGH: u64 = 100;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        let at = |time: Timestamp| time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        writeln!(f, "Mail from {} to {} ({})\n", at(self.from), at(self.to), self.zone)?;
        totals(f, &self.totals)?;
        failures(f, &self.totals)?;
        times(f, &self.totals)?;
        if let Some(score) = &self.score {
            scored(f, score)?;
        }
        if let Some(by) = &self.by {
            rows(f, by, &self.rows, self.more)?;
        }
        Ok(())
    }
}

fn totals(f: &mut Formatter<'_>, all: &Row) -> fmt::Result {
    let mut line = |word: &str, n: u64, remark: String| writeln!(f, "  {word:<22}{:>13}  {remark}", thousands(n));
    let count = |counter| all.count(counter);
    let (finished, attempts, delivered) = (all.finished, count(Counter::Attempts), count(Counter::Delivered));
    line("accepted", count(Counter::Accepted), "recipients".into())?;
    line("rejected", count(Counter::Rejected), "refusals at the door".into())?;
    line("delivered", delivered, share(delivered, finished, "finished"))?;
    line("bounced", count(Counter::Bounced), share(count(Counter::Bounced), finished, "finished"))?;
    line("expired", count(Counter::Expired), share(count(Counter::Expired), finished, "finished"))?;
    line("deferred", count(Counter::Deferred), share(count(Counter::Deferred), attempts, "attempts"))?;
    let rare = [
        ("suppressed", Counter::Suppressed, "on the suppression list"),
        ("cancelled", Counter::Cancelled, "removed from the queue"),
        ("bounced after delivery", Counter::LateBounced, "came back later"),
    ];
    for (word, counter, remark) in rare {
        if count(counter) > 0 {
            line(word, count(counter), remark.into())?;
        }
    }
    let engaged = [
        ("complained", Counter::Complained),
        ("unsubscribed", Counter::Unsubscribed),
        ("opened", Counter::Opened),
        ("clicked", Counter::Clicked),
    ];
    for (word, counter) in engaged {
        if count(counter) > 0 {
            line(word, count(counter), share(count(counter), delivered, "delivered"))?;
        }
    }
    let tls = count(Counter::DeliveredTls);
    line("delivered under TLS", tls, share(tls, delivered, "delivered"))
}

fn failures(f: &mut Formatter<'_>, all: &Row) -> fmt::Result {
    if all.classes.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n  {:<22}{:>10}{:>10}{:>10}{:>12}", "Failures", "deferred", "bounced", "expired", "came back")?;
    let mut classes: Vec<_> = all.classes.iter().collect();
    classes.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.values().sum::<u64>()));
    for (class, counts) in classes {
        let n = |word: &str| counts.get(word).map_or_else(|| "-".into(), |n| thousands(*n));
        let cells = [n("deferred"), n("bounced"), n("expired"), n("late_bounced")];
        writeln!(f, "  {class:<22}{:>10}{:>10}{:>10}{:>12}", cells[0], cells[1], cells[2], cells[3])?;
    }
    Ok(())
}

fn times(f: &mut Formatter<'_>, all: &Row) -> fmt::Result {
    if all.times.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n  {:<22}{:>10}{:>10}{:>10}", "Took at most", "half", "95 %", "99 %")?;
    let words = [
        ("delivery", "acceptance to delivery"),
        ("wait", "before the attempt"),
        ("connect", "connecting"),
        ("tls", "TLS handshake"),
        ("dialogue", "MAIL to last reply"),
    ];
    for (key, word) in words {
        if let Some(times) = all.times.get(key) {
            let [half, most, nearly_all] = [times.p50_ms, times.p95_ms, times.p99_ms].map(duration);
            writeln!(f, "  {word:<22}{half:>10}{most:>10}{nearly_all:>10}")?;
        }
    }
    Ok(())
}

/// The relay's score and what costs it the most points.
fn scored(f: &mut Formatter<'_>, score: &Value) -> fmt::Result {
    let all = &score["all"];
    let note = all["note"].as_str().unwrap_or_default();
    match all["value"].as_u64() {
        Some(value) => {
            let trend = score["trend"].as_str().map(|arrow| format!(" {arrow}")).unwrap_or_default();
            writeln!(f, "\n  Health {value} of 100{trend}, {} ({note})", all["band"].as_str().unwrap_or_default())?;
        }
        None => writeln!(f, "\n  Health: {note}")?,
    }
    let losses = all["losses"].as_array().map(Vec::as_slice).unwrap_or_default();
    for loss in losses.iter().take(LOSSES) {
        writeln!(f, "    {}", loss["sentence"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// Of all that costs points, so much is shown.
const LOSSES: usize = 3;

fn rows(f: &mut Formatter<'_>, by: &str, rows: &[Row], more: usize) -> fmt::Result {
    let by = format!("By {}", by.replace('_', " "));
    writeln!(f, "\n  {by:<26}{:>10}{:>10}{:>10}{:>9}{:>9}", "attempts", "delivered", "deferred", "bounced", "95 %")?;
    for row in rows {
        let n = |counter| thousands(row.count(counter));
        let p95 = row.times.get("delivery").map_or_else(|| "-".into(), |times| duration(times.p95_ms));
        let key = shortened(row.key.as_deref().unwrap_or_default());
        let (attempts, delivered) = (n(Counter::Attempts), n(Counter::Delivered));
        writeln!(f, "  {key:<26}{attempts:>10}{delivered:>10}{:>10}{:>9}{p95:>9}", n(Counter::Deferred), n(Counter::Bounced))?;
    }
    if more > 0 {
        writeln!(f, "  … and {} more; --rows shows more of them", thousands(more as u64))?;
    }
    Ok(())
}

/// `98.5 % of 12,180 finished`, or `63 of 90 finished` while that says nothing.
fn share(n: u64, of: u64, noun: &str) -> String {
    match of {
        0 => String::new(),
        1..ENOUGH => format!("{} of {} {noun}", thousands(n), thousands(of)),
        _ => format!("{:.1} % of {} {noun}", 100.0 * n as f64 / of as f64, thousands(of)),
    }
}

/// `1,234,567`: a number that people can read.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// A key as long as its column.
fn shortened(key: &str) -> String {
    const WIDTH: usize = 25;
    if key.chars().count() <= WIDTH {
        return key.to_owned();
    }
    key.chars().take(WIDTH - 1).chain(['…']).collect()
}

/// `840 ms`, `12 s`, `7 min`, `3.2 h`.
fn duration(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 7_200_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms => format!("{:.1} h", ms / 3_600_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_not_a_share() {
        assert_eq!(share(3, 40, "delivered"), "3 of 40 delivered");
        assert_eq!(share(12_001, 12_180, "finished"), "98.5 % of 12,180 finished");
        assert_eq!(share(0, 0, "finished"), "");
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        assert_eq!([12.4, 1_500.0, 300_000.0, 8_000_000.0].map(duration), ["12 ms", "1.5 s", "5 min", "2.2 h"]);
    }
}
