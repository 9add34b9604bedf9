//! The numbers of the lanes' days, counted again from the delivery log.

use std::{collections::BTreeMap, path::Path};

use jiff::{Timestamp, civil::Date};
use posthaste_feedback::{AttemptEnd, outcome};
use posthaste_governor::{Counts, LaneKey, Outcome};
use posthaste_mail::Stage;
use posthaste_monitor::{Lines, LogError, LogRecord};

/// A fold over the log's lines. Only attempts from a day's budget count; their lines have a `lane_day`.
///
/// Complaints and permits that were given back are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    lanes: BTreeMap<LaneKey, BTreeMap<Date, Counts>>,
    /// The time of the first line; days that began before it may be incomplete.
    first: Option<Timestamp>,
}

/// Counts the log, beginning with the file that was current at `since`; days that began before are incomplete.
pub fn recount(log: &Path, since: Option<Timestamp>) -> Result<Recount, LogError> {
    let mut lines = since.map_or_else(|| Lines::all(log), |since| Lines::since(log, since));
    let mut recount = Recount::default();
    recount.read(&mut lines)?;
    Ok(recount)
}

impl Recount {
    /// Counts all lines that are there by now.
    pub fn read(&mut self, lines: &mut Lines) -> Result<(), LogError> {
        while let Some(line) = lines.next_line()? {
            if let Some(record) = LogRecord::parse(line.bytes) {
                self.take(&record);
            }
        }
        Ok(())
    }

    /// Counts one line.
    pub fn take(&mut self, record: &LogRecord<'_>) {
        if self.first.is_none() {
            self.first = record.time();
        }
        for (lane, date, outcome) in spent_elsewhere(record).chain(spent(record)) {
            if outcome != Outcome::GivenBack {
                self.lanes.entry(lane).or_default().entry(date).or_default().answer(outcome, 1);
            }
        }
    }

    /// Every lane's days, in order.
    pub fn days(&self) -> impl Iterator<Item = (&LaneKey, Date, Counts)> {
        self.lanes.iter().flat_map(|(lane, days)| days.iter().map(move |(date, counts)| (lane, *date, *counts)))
    }

    /// The numbers of a lane's day; all zero if the log has no lines for it.
    pub fn day(&self, lane: &LaneKey, date: Date) -> Counts {
        self.lanes.get(lane).and_then(|days| days.get(&date)).copied().unwrap_or_default()
    }

    /// The time at which the log that was read begins.
    pub fn first(&self) -> Option<Timestamp> {
        self.first
    }
}

/// The lane, the day and the outcome of the attempt that a line reports.
fn spent(record: &LogRecord<'_>) -> Option<(LaneKey, Date, Outcome)> {
    let date = record.lane_day.as_deref()?.parse().ok()?;
    let lane = LaneKey::new(record.source.as_deref()?, record.provider.as_deref()?);
    let failed = |permanent| {
        let stage: Stage = record.smtp_stage.as_deref()?.parse().ok()?;
        let (class, action) = (record.class.as_deref()?.parse().ok()?, record.action.as_deref()?.parse().ok()?);
        Some(AttemptEnd::Failed { stage, class, action, permanent })
    };
    let ending = match &*record.event {
        "delivered" => AttemptEnd::Delivered,
        "bounced" => failed(true)?,
        "deferred" | "expired" => failed(false)?,
        _ => return None,
    };
    Some((lane, date, outcome(ending)))
}

/// The same for the other hosts that the attempt was offered to: each took its part of the budget.
fn spent_elsewhere(record: &LogRecord<'_>) -> impl Iterator<Item = (LaneKey, Date, Outcome)> {
    record.other_hosts.iter().filter_map(|other| {
        let lane = LaneKey::new(record.source.as_deref()?, record.provider.as_deref()?);
        let stage: Stage = other.smtp_stage.as_deref()?.parse().ok()?;
        let (class, action) = (other.class.as_deref()?.parse().ok()?, other.action.as_deref()?.parse().ok()?);
        let ending = AttemptEnd::Failed { stage, class, action, permanent: false };
        Some((lane, other.lane_day.as_deref()?.parse().ok()?, outcome(ending)))
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use serde_json::{Value, json};

    use super::*;

    fn line(event: &str, more: &Value) -> String {
        let mut line = json!({
            "time": "2026-11-23T10:00:00.000Z", "event": event, "source": "ip1", "provider": "google", "lane_day": "2026-11-23",
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line.to_string()
    }

    fn failure(stage: &str, class: &str, action: &str) -> Value {
        json!({ "smtp_stage": stage, "class": class, "action": action })
    }

    fn count(lines: &[String]) -> Recount {
        let mut recount = Recount::default();
        lines.iter().for_each(|line| recount.take(&LogRecord::parse(line.as_bytes()).unwrap()));
        recount
    }

    #[test]
    fn every_attempt_that_the_provider_saw_is_counted_once() {
        let recount = count(&[
            line("accepted", &json!({})),
            line("delivered", &json!({})),
            line("delivered", &json!({ "lane_day": "2026-11-24" })),
            line("delivered", &json!({ "source": "ip2" })),
            line("bounced", &failure("rcpt", "invalid_recipient", "suppress")),
            line("bounced", &failure("dot", "spam_content", "fix_message")),
            line("deferred", &failure("mail", "rate_limited", "slow_down")),
            line("deferred", &failure("rcpt", "greylisting", "retry")),
            line("deferred", &failure("connect", "connection_failure", "retry")),
            line("expired", &failure("dot", "transient_other", "retry")),
            line("bounced", &failure("mail", "ip_reputation", "pause_lane")),
            line("held", &json!({})),
        ]);
        let lane = LaneKey::new("ip1", "google");
        let expected =
            Counts { spent: 7, accepted: 1, hard_bounces: 1, refused: 1, throttled: 1, deferred: 2, blocked: 1, ..Counts::default() };
        assert_eq!(recount.day(&lane, date(2026, 11, 23)), expected);
        assert_eq!(recount.day(&lane, date(2026, 11, 24)).accepted, 1);
        assert_eq!(recount.day(&LaneKey::new("ip2", "google"), date(2026, 11, 23)).spent, 1);
        assert_eq!(recount.days().count(), 3);
    }

    #[test]
    fn each_host_that_a_recipient_was_offered_to_is_counted() {
        let first = json!({ "lane_day": "2026-11-22", "smtp_stage": "mail", "class": "rate_limited", "action": "slow_down" });
        let recount = count(&[line("delivered", &json!({ "other_hosts": [first] }))]);
        let lane = LaneKey::new("ip1", "google");
        assert_eq!((recount.day(&lane, date(2026, 11, 22)).throttled, recount.day(&lane, date(2026, 11, 23)).accepted), (1, 1));
    }

    #[test]
    fn what_had_no_budget_is_not_counted() {
        let free = line("delivered", &json!({})).replace("lane_day", "other");
        assert_eq!(count(&[free]).days().count(), 0);
    }
}
