//! A report for people: what happened, as shares that name what they are shares of. It fits 80 columns.

mod tables;
pub(crate) mod words;

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_tallies::Counter;
use serde_json::Value;

use self::words::{bytes, duration, sentence, share, thousands};
use crate::{Report, Row};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let zone = TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC);
        writeln!(f, "Mail from {} to {} ({})\n", at(self.from, &zone), at(self.to, &zone), self.zone)?;
        if self.is_empty() {
            writeln!(f, "  No mail: nothing was accepted, tried or refused in this time.")?;
            match self.newest {
                Some(newest) => writeln!(f, "  The newest event that is counted is of {}.", at(newest, &zone))?,
                None => writeln!(f, "  Nothing has been counted yet.")?,
            }
        } else {
            totals(f, &self.totals)?;
            failures(f, &self.totals)?;
            times(f, &self.totals)?;
        }
        if self.lines_uncounted > 0 {
            let lines = thousands(self.lines_uncounted);
            sentence(
                f,
                2,
                &format!("{lines} lines of the delivery log are in no figure, because posthaste fails on them: posthaste alarms."),
            )?;
        }
        if let Some(score) = &self.score {
            scored(f, score, &zone)?;
        }
        if let Some(incidents) = &self.incidents {
            troubles(f, incidents, &zone)?;
        }
        if let Some(by) = &self.by {
            tables::table(f, by, &self.rows, self.more, &zone)?;
        }
        for part in &self.parts {
            tables::table(f, &part.by, &part.rows, part.more, &zone)?;
        }
        tables::legend(f, self.by.iter().chain(self.parts.iter().map(|part| &part.by)).map(String::as_str))
    }
}

impl Report {
    /// The news in one line, for a mail's subject: `posthaste mx1: 98.1 % of 120,431 delivered, score 91, 1 incident open`. The share is that of
    /// finished recipients.
    pub fn headline(&self, node: &str) -> String {
        let delivered = self.totals.count(Counter::Delivered);
        let mail = match (self.is_empty(), self.totals.finished) {
            (true, _) => "no mail".to_owned(),
            (false, 0) => format!("{} accepted, none finished", thousands(self.totals.count(Counter::Accepted))),
            (false, finished) => share(delivered, finished, "delivered"),
        };
        let score = self.score.as_ref().and_then(|score| score["all"]["value"].as_u64());
        let score = score.map_or_else(|| "no score yet".to_owned(), |score| format!("score {score}"));
        let open = self.incidents.iter().flatten().filter(|incident| incident["state"] == "open").count();
        let open = match open {
            0 => "no incident open".to_owned(),
            1 => "1 incident open".to_owned(),
            n => format!("{n} incidents open"),
        };
        format!("posthaste {node}: {mail}, {score}, {open}")
    }

    /// Whether there was no mail at all.
    pub fn is_empty(&self) -> bool {
        self.totals.finished == 0 && self.totals.counts.values().all(|count| *count == 0)
    }
}

fn at(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

fn totals(f: &mut Formatter<'_>, all: &Row) -> fmt::Result {
    let mut line = |word: &str, n: u64, remark: String| {
        let text = format!("  {word:<22}{:>13}  {remark}", thousands(n));
        writeln!(f, "{}", text.trim_end())
    };
    let count = |counter| all.count(counter);
    let (finished, attempts, delivered) = (all.finished, count(Counter::Attempts), count(Counter::Delivered));
    line("accepted", count(Counter::Accepted), "recipients".into())?;
    line("rejected", count(Counter::Rejected), "refusals at the door".into())?;
    line("delivered", delivered, share(delivered, finished, "finished"))?;
    line("bounced", count(Counter::Bounced), share(count(Counter::Bounced), finished, "finished"))?;
    line("expired", count(Counter::Expired), share(count(Counter::Expired), finished, "finished"))?;
    let deferred = match count(Counter::Deferred) {
        // While hosts are out of reach, most mail for them is put off without an attempt.
        deferred if deferred > attempts => format!("by {} attempts, and untried while hosts are left alone", thousands(attempts)),
        deferred => share(deferred, attempts, "attempts"),
    };
    line("deferred", count(Counter::Deferred), deferred)?;
    let rare = [
        ("suppressed", Counter::Suppressed, "on the suppression list: not sent"),
        ("cancelled", Counter::Cancelled, "removed from the queue"),
        ("held", Counter::Held, "times that mail began to wait for budget or an operator"),
        ("unknown replies", Counter::UnknownReplies, "no rule knows: posthaste bounce unknown"),
        ("bounces unmatched", Counter::BouncesUnmatched, "came back and belong to no message"),
        ("complaints unmatched", Counter::ComplaintsUnmatched, "came back and belong to no message"),
    ];
    for (word, counter, remark) in rare.into_iter().filter(|(_, counter, _)| count(*counter) > 0) {
        line(word, count(counter), remark.into())?;
    }
    let late = count(Counter::LateBounced);
    if late > 0 {
        line("bounced after delivery", late, "came back, of mail delivered now or before".into())?;
    }
    let came_back = [
        ("complained", Counter::Complained),
        ("unsubscribed", Counter::Unsubscribed),
        ("opened", Counter::Opened),
        ("clicked", Counter::Clicked),
    ];
    for (word, counter) in came_back.into_iter().filter(|(_, counter)| count(*counter) > 0) {
        // What came back in this time may be about mail of before.
        let remark =
            if count(counter) > delivered { "of mail delivered before, too".into() } else { share(count(counter), delivered, "delivered") };
        line(word, count(counter), remark)?;
    }
    let tls = count(Counter::DeliveredTls);
    line("delivered under TLS", tls, share(tls, delivered, "delivered"))?;
    writeln!(f, "  {:<22}{:>13}  that receivers took", "size", bytes(count(Counter::BytesDelivered)))
}

fn failures(f: &mut Formatter<'_>, all: &Row) -> fmt::Result {
    if all.classes.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n  {:<36}{:>10}{:>10}{:>10}{:>12}", "Failures", "deferred", "bounced", "expired", "came back")?;
    let mut classes: Vec<_> = all.classes.iter().collect();
    classes.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.values().sum::<u64>()));
    for (class, counts) in classes {
        let row = Row { classes: BTreeMap::from([(class.clone(), counts.clone())]), ..Row::default() };
        tables::failed(f, class, &row)?;
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
fn scored(f: &mut Formatter<'_>, score: &Value, zone: &TimeZone) -> fmt::Result {
    let all = &score["all"];
    let note = all["note"].as_str().unwrap_or_default();
    match all["value"].as_u64() {
        Some(value) => {
            let trend = score["trend"].as_str().map(|arrow| format!(" {arrow}")).unwrap_or_default();
            let band = all["band"].as_str().unwrap_or_default();
            writeln!(f, "\n  Health now: {value} of 100{trend}, {band} ({note})")?;
        }
        None => writeln!(f, "\n  Health now: {note}")?,
    }
    // What stands is not finished, and no score knows of it.
    for incident in all["beside"].as_array().into_iter().flatten().take(BESIDE) {
        let text = |key: &str| incident[key].as_str().unwrap_or_default();
        let since = text("since").parse().map_or_else(|_| text("since").to_owned(), |time| at(time, zone));
        sentence(f, 4, &format!("But: {} ({}) since {since}.", text("rule").replace('_', " "), text("key")))?;
    }
    let losses = all["losses"].as_array().map(Vec::as_slice).unwrap_or_default();
    for loss in losses.iter().take(LOSSES) {
        sentence(f, 4, loss["sentence"].as_str().unwrap_or_default())?;
        sentence(f, 6, loss["next_step"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

/// Of what is wrong beside a score, so much is shown with it; all incidents follow.
const BESIDE: usize = 2;

/// Of all that costs points, so much is shown.
const LOSSES: usize = 3;

/// The incidents, the open ones first.
fn troubles(f: &mut Formatter<'_>, incidents: &[Value], zone: &TimeZone) -> fmt::Result {
    let of = |state: &str| incidents.iter().filter(|incident| incident["state"] == state).count();
    let counts = [(of("open"), "open"), (of("muted"), "muted"), (of("closed"), "closed since")];
    let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, state)| format!("{n} {state}")).collect();
    if counts.is_empty() {
        return writeln!(f, "\n  Incidents: none");
    }
    writeln!(f, "\n  Incidents: {}", counts.join(", "))?;
    for incident in incidents.iter().take(INCIDENTS) {
        let text = |key: &str| incident[key].as_str().unwrap_or_default();
        let time = |key: &str| text(key).parse().map_or_else(|_| text(key).to_owned(), |time| at(time, zone));
        let (state, until) = match text("state") {
            "open" => (text("severity").to_uppercase(), String::new()),
            "closed" => ("closed".to_owned(), format!(" to {}", time("closed"))),
            other => (other.to_owned(), String::new()),
        };
        sentence(f, 4, &format!("{state} {}{until}: {}", time("since"), text("detail")))?;
        if text("state") != "closed" {
            sentence(f, 6, text("next_step"))?;
        }
    }
    match incidents.len().saturating_sub(INCIDENTS) {
        0 => Ok(()),
        more => writeln!(f, "    … and {more} more: posthaste incidents list --all"),
    }
}

/// Of all incidents, so many are shown.
const INCIDENTS: usize = 10;
