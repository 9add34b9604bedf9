//! What a span of time comes to, for people and programs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use posthaste_findings::score::Settings;
use posthaste_mail::Class;
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension, PAIR, Span, Tallies, TalliesError, Time};
use serde::{Deserialize, Serialize};

use crate::{Scored, StoppedLanes};

/// What is reported.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportRequest {
    /// The begin of the span.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// By what the figures are told apart; none: only totals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The most rows.
    pub most: usize,
}

/// What a span of time comes to: its totals, and a row for each key, the largest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The begin of the span.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// The zone of its days.
    pub zone: String,
    /// The newest event that is counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub newest: Option<Timestamp>,
    /// The totals.
    #[serde(flatten)]
    pub totals: Row,
    /// By what the rows are told apart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// The rows.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rows: Vec<Row>,
    /// Keys beyond those rows.
    #[serde(default)]
    pub more: usize,
    /// The health scores as of now, whatever the span ([`crate::Scored`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<serde_json::Value>,
}

/// The figures of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The key; none for totals. That of a pair has both halves, with a blank between them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// Recipients that were delivered, bounced or expired.
    pub finished: u64,
    /// What was counted, by its word: `accepted`, `delivered`, …; zeros too.
    #[serde(flatten)]
    pub counts: BTreeMap<String, u64>,
    /// Failures by class: what happened, and how often.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub classes: BTreeMap<String, BTreeMap<String, u64>>,
    /// How long things took.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub times: BTreeMap<String, Quantiles>,
}

/// How long something took, in milliseconds, with an error of 2 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many were measured.
    pub n: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

impl Report {
    /// Reads the report. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn read(tallies: &Tallies, request: &ReportRequest, by: Option<Dimension>) -> Result<Self, TalliesError> {
        let span = Span { from: request.from, to: request.to };
        let totals = tallies.sum(Dimension::All, span)?.iter().next().map(|(_, cell)| Row::of(None, cell));
        let mut rows = by.map(|dimension| tallies.sum(dimension, span)).transpose()?.map(|block| Row::all(&block)).unwrap_or_default();
        let more = rows.len().saturating_sub(request.most);
        rows.truncate(request.most);
        Ok(Self {
            from: request.from,
            to: request.to,
            zone: tallies.zone().iana_name().unwrap_or("UTC").to_owned(),
            newest: tallies.newest()?,
            totals: totals.unwrap_or_else(|| Row::of(None, &Cell::default())),
            by: by.map(|dimension| dimension.as_str().to_owned()),
            rows,
            more,
            score: None,
        })
    }

    /// The report with the health scores as of `now`, while these lanes are stopped. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn scored(self, tallies: &Tallies, now: Timestamp, settings: &Settings, stopped: &StoppedLanes) -> Result<Self, TalliesError> {
        let scored = Scored::read(tallies, now, settings, stopped)?;
        let score = serde_json::to_value(Scored { scores: scored.scores.in_brief(), ..scored }).ok();
        Ok(Self { score, ..self })
    }
}

impl Row {
    /// A row for each key of a block, the largest first.
    pub fn all(block: &Block) -> Vec<Self> {
        let mut rows: Vec<Self> = block.iter().map(|(key, cell)| Self::of(Some(key), cell)).collect();
        rows.sort_by(|a, b| b.size().cmp(&a.size()).then_with(|| a.key.cmp(&b.key)));
        rows
    }

    fn of(key: Option<&str>, cell: &Cell) -> Self {
        let counts = Counter::ALL.iter().map(|counter| (counter.as_str().to_owned(), cell.get(*counter))).collect();
        let mut classes: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (by, class) in ByClass::ALL.iter().flat_map(|by| Class::ALL.iter().map(move |class| (*by, *class))) {
            let count = cell.get((by, class));
            if count > 0 {
                classes.entry(class.as_str().to_owned()).or_default().insert(by.as_str().to_owned(), count);
            }
        }
        let times = cell.times().into_iter().flat_map(|times| {
            Time::ALL.into_iter().filter_map(|time| {
                // More digits would say nothing.
                let at = |share| times.quantile(time, share).map(|ms| (ms * 10.0).round() / 10.0);
                let quantiles = Quantiles { n: times.count(time), p50_ms: at(0.5)?, p95_ms: at(0.95)?, p99_ms: at(0.99)? };
                Some((time.as_str().to_owned(), quantiles))
            })
        });
        Self { key: key.map(|key| key.replace(PAIR, " ")), finished: cell.finished(), counts, classes, times: times.collect() }
    }

    /// What was counted under this word.
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts.get(counter.as_str()).copied().unwrap_or(0)
    }

    fn size(&self) -> u64 {
        self.count(Counter::Accepted).max(self.count(Counter::Attempts)).max(self.count(Counter::Rejected)).max(self.failures())
    }

    fn failures(&self) -> u64 {
        self.classes.values().flat_map(BTreeMap::values).sum()
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use posthaste_tallies::{Delta, Limits, Seen};

    use super::*;

    #[test]
    fn a_report_reads_back_as_json_with_its_totals_at_the_top() {
        let dir = tempfile::tempdir().unwrap();
        let mut tallies = Tallies::open(&dir.path().join("tallies.db"), TimeZone::UTC, Limits::default()).unwrap();
        let mut delta = Delta::new(TimeZone::UTC);
        for (minute, event) in [(0, "accepted"), (1, "delivered"), (2, "deferred"), (59, "bounced")] {
            let line = format!(
                r#"{{"time":"2026-11-29T00:{minute:02}:10.000Z","event":"{event}","stream":"news","provider":"google","attempt":1,"class":"mailbox_full","age_ms":10}}"#
            );
            delta.take(&Seen::parse(line.as_bytes()).unwrap());
        }
        tallies.add(&mut delta, None).unwrap();
        let at = |text: &str| text.parse().unwrap();
        let request = ReportRequest { from: at("2026-11-29T00:00:00Z"), to: at("2026-11-29T00:59:00Z"), by: None, most: 10 };
        let report = Report::read(&tallies, &request, Some(Dimension::StreamProvider)).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(
            (&json["delivered"], &json["deferred"], &json["bounced"], &json["finished"]),
            (&1.into(), &1.into(), &0.into(), &1.into())
        );
        assert_eq!((&json["rows"][0]["key"], &json["classes"]["mailbox_full"]["deferred"]), (&"news google".into(), &1.into()));
        assert!(json["times"]["delivery"]["p95_ms"].as_f64().is_some_and(|ms| (9.8..=10.2).contains(&ms)), "{json}");
        let back: Report = serde_json::from_value(json).unwrap();
        assert_eq!((back.totals, back.rows), (report.totals, report.rows));
    }
}
