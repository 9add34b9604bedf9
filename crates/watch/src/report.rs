//! What a span of time comes to, for people and programs.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use posthaste_findings::score::Settings;
use posthaste_mail::Class;
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension, Grain, PAIR, Span, Tallies, TalliesError, Time};
use serde::{Deserialize, Serialize};

use crate::{By, Scored, Shown, StoppedLanes};

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
    /// Lines of the log that posthaste failed on since all counting began: they are in no figure.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lines_uncounted: u64,
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
    /// The same mail, told apart in other ways.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<Breakdown>,
    /// The health scores as of now, whatever the span ([`crate::Scored`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<serde_json::Value>,
    /// The incidents that were open in the span, as `posthaste incidents --json` shows them; None: they are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incidents: Option<Vec<serde_json::Value>>,
}

/// A report's mail, told apart in one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// By what ([`By::as_str`]).
    pub by: String,
    /// The rows, the largest first; those of hours and days in their order.
    pub rows: Vec<Row>,
    /// Keys beyond those rows.
    #[serde(default)]
    pub more: usize,
}

/// The figures of one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The key; none for totals. That of a pair has both halves, with a blank between them; that of an hour or a day is its begin.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// Recipients that were delivered, bounced or expired. Each counts once: late bounces are not among them, unless they stand in the place of their
    /// delivery ([`Row::all_settled`]).
    pub finished: u64,
    /// Recipients whose receiver took the message, those that bounced later included: what deliveries under TLS are a share of.
    #[serde(default)]
    pub taken: u64,
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

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Report {
    /// Reads the report. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn read(tallies: &Tallies, request: &ReportRequest, by: Option<impl Into<By>>) -> Result<Self, TalliesError> {
        let by = by.map(Into::into);
        let span = Span { from: request.from, to: request.to };
        let totals = tallies.sum(Dimension::All, span)?.iter().next().map(|(_, cell)| Row::of(None, cell));
        let rows = by.map(|by| Breakdown::read(tallies, span, by, request.most)).transpose()?;
        let (rows, more) = rows.map_or((Vec::new(), 0), |rows| (rows.rows, rows.more));
        Ok(Self {
            from: request.from,
            to: request.to,
            zone: tallies.zone().iana_name().unwrap_or("UTC").to_owned(),
            newest: tallies.newest()?,
            lines_uncounted: tallies.skipped()?,
            totals: totals.unwrap_or_else(|| Row::of(None, &Cell::default())),
            by: by.map(|by| by.as_str().to_owned()),
            rows,
            more,
            parts: Vec::new(),
            score: None,
            incidents: None,
        })
    }

    /// The report told apart in all ways that say something, with so many rows of each. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn in_full(self, tallies: &Tallies, most: usize) -> Result<Self, TalliesError> {
        let span = Span { from: self.from, to: self.to };
        let is_short = span.to.duration_since(span.from) <= HOURS_SHOWN;
        let by_time = if is_short { By::Hour } else { By::Day };
        let mut parts = vec![Breakdown::read(tallies, span, by_time, usize::MAX)?];
        for dimension in IN_FULL {
            parts.push(Breakdown::read(tallies, span, By::Of(dimension), most)?);
        }
        // The relay's only stream says nothing that the totals do not say.
        parts.retain(|part| part.rows.len() > usize::from(ONE_IS_NONE.iter().any(|one| one.as_str() == part.by)));
        Ok(Self { parts, ..self })
    }

    /// The report with the health scores as of `now`, while these lanes are stopped and there are these incidents. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub fn scored(
        self,
        tallies: &Tallies,
        now: Timestamp,
        settings: &Settings,
        (stopped, incidents): (&StoppedLanes, &[Shown]),
    ) -> Result<Self, TalliesError> {
        let scored = Scored::read(tallies, now, settings, stopped)?.beside(incidents);
        let score = serde_json::to_value(Scored { scores: scored.scores.in_brief(), ..scored }).ok();
        Ok(Self { score, ..self })
    }
}

impl Breakdown {
    fn read(tallies: &Tallies, span: Span, by: By, most: usize) -> Result<Self, TalliesError> {
        let mut rows = match by {
            By::Of(dimension) => Row::all(&tallies.sum(dimension, span)?),
            By::Hour => steps(tallies, span, Grain::Hour)?,
            By::Day => steps(tallies, span, Grain::Day)?,
        };
        let more = rows.len().saturating_sub(most);
        rows.truncate(most);
        Ok(Self { by: by.as_str().to_owned(), rows, more })
    }
}

/// A row for each hour or day of a span in which there was something. The first and the last may be parts: the rows add up to the totals.
fn steps(tallies: &Tallies, span: Span, grain: Grain) -> Result<Vec<Row>, TalliesError> {
    let steps = tallies.series(Dimension::All, span, grain)?;
    let mut rows = Vec::new();
    for (place, (begin, block)) in steps.iter().enumerate() {
        let of = Span { from: span.from.max(*begin), to: steps.get(place + 1).map_or(span.to, |(next, _)| *next) };
        let is_whole = of.from == *begin && place + 1 < steps.len();
        let part = if is_whole { None } else { Some(tallies.sum(Dimension::All, of)?) };
        rows.extend(part.as_ref().unwrap_or(block).iter().map(|(_, cell)| Row::of(Some(&begin.to_string()), cell)));
    }
    Ok(rows)
}

/// A full report has a row for each hour of so long a span, and for each day of a longer one.
const HOURS_SHOWN: SignedDuration = SignedDuration::from_hours(49);
/// In which ways a full report tells mail apart.
const IN_FULL: [Dimension; 10] = [
    Dimension::Provider,
    Dimension::Domain,
    Dimension::FromDomain,
    Dimension::User,
    Dimension::Stream,
    Dimension::Source,
    Dimension::Tag,
    Dimension::SourceProvider,
    Dimension::RuleProvider,
    Dimension::Reason,
];
/// In these, a single row is the total again.
const ONE_IS_NONE: [Dimension; 2] = [Dimension::Stream, Dimension::Source];

impl Row {
    /// A row for each key of a block, the largest first.
    pub fn all(block: &Block) -> Vec<Self> {
        Self::largest_first(block.iter().map(|(key, cell)| Self::of(Some(key), cell)).collect())
    }

    /// The same of messages by the day of their acceptance, where a late bounce stands in the place of its delivery.
    pub fn all_settled(block: &Block) -> Vec<Self> {
        let of = |(key, cell): (&str, &Cell)| Self { taken: cell.get(Counter::Delivered), ..Self::of(Some(key), &cell.settled()) };
        Self::largest_first(block.iter().map(of).collect())
    }

    fn largest_first(mut rows: Vec<Self>) -> Vec<Self> {
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
        Self {
            key: key.map(|key| key.replace(PAIR, " ")),
            finished: cell.finished(),
            taken: cell.get(Counter::Delivered),
            counts,
            classes,
            times: times.collect(),
        }
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
        tallies.add(&delta, None).unwrap();
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
