//! The fold: what some lines of the log come to.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use posthaste_mail::Class;

use crate::{Block, ByClass, Count, Counter, Dimension, Histogram, PAIR, Seen, Time};

/// The dimensions of which everything that was ever counted is kept: counters that only rise, for machines.
pub(crate) const KEPT_FOR_EVER: [Dimension; 6] =
    [Dimension::All, Dimension::Provider, Dimension::Source, Dimension::Stream, Dimension::Class, Dimension::Reason];

/// The blocks of one span, one for each dimension.
pub(crate) type Blocks = [Block; Dimension::ALL.len()];

/// What lines of the log come to that have not been saved yet.
#[derive(Debug)]
pub struct Delta {
    zone: TimeZone,
    /// By the minute of the event, in minutes since 1970.
    pub(crate) minutes: BTreeMap<i64, Blocks>,
    /// By the day of the message's acceptance.
    pub(crate) cohorts: BTreeMap<Date, Blocks>,
    /// Everything, with histograms.
    pub(crate) ever: Blocks,
    /// The newest line's time.
    pub(crate) newest: Option<Timestamp>,
    /// The day of the last cohort and when it begins and ends: most lines are about messages of the same day.
    day: Option<(Timestamp, Timestamp, Date)>,
    key: String,
}

impl Delta {
    /// Nothing yet. Days are those of `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            minutes: BTreeMap::new(),
            cohorts: BTreeMap::new(),
            ever: Blocks::default(),
            newest: None,
            day: None,
            key: String::new(),
        }
    }

    /// Counts a line. Lines about nothing that is counted, and lines whose time cannot be read, change nothing.
    pub fn take(&mut self, line: &Seen<'_>) {
        let Some(time) = line.time() else { return };
        self.newest = self.newest.max(Some(time));
        let counts = Counts::of(line);
        if counts.is_empty() {
            return;
        }
        let mut key = std::mem::take(&mut self.key);
        let minute = time.as_second().div_euclid(60);
        let blocks = self.minutes.entry(minute).or_default();
        each_key(line, &mut key, |dimension, key| counts.add_to(line, dimension, blocks[dimension as usize].cell(key), true));
        let ever = &mut self.ever;
        each_key(line, &mut key, |dimension, key| {
            if KEPT_FOR_EVER.contains(&dimension) {
                counts.add_for_ever(line, dimension, ever[dimension as usize].cell(key));
            }
        });
        if line.stream.is_some() {
            let day = self.cohort(accepted_at(time, line.age_ms));
            let blocks = self.cohorts.entry(day).or_default();
            each_key(line, &mut key, |dimension, key| counts.add_to(line, dimension, blocks[dimension as usize].cell(key), false));
        }
        self.key = key;
    }

    /// The cells that it holds: what its memory follows.
    pub fn cells(&self) -> usize {
        self.minutes.values().chain(self.cohorts.values()).flatten().chain(&self.ever).map(Block::len).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.minutes.is_empty() && self.cohorts.is_empty()
    }

    fn cohort(&mut self, accepted: Timestamp) -> Date {
        if let Some((begin, end, date)) = self.day
            && (begin..end).contains(&accepted)
        {
            return date;
        }
        let date = accepted.to_zoned_datetime(self.zone.clone()).date();
        if let (Some(begin), Some(end)) =
            (begin_of(date, &self.zone), date.checked_add(1.day()).ok().and_then(|next| begin_of(next, &self.zone)))
        {
            self.day = Some((begin, end, date));
        }
        date
    }
}

/// When a day begins; None at the end of time.
pub(crate) fn begin_of(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    date.to_zoned_datetime(zone.clone()).ok().map(|begin| begin.timestamp())
}

fn accepted_at(time: Timestamp, age_ms: u64) -> Timestamp {
    let age = i64::try_from(age_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(time.as_millisecond().saturating_sub(age)).unwrap_or(time)
}

/// What one line counts as: the same in each of its cells.
struct Counts {
    counts: [Option<(Count, u64)>; 12],
    used: usize,
}

impl Counts {
    fn of(line: &Seen<'_>) -> Self {
        let mut counts = Self { counts: [None; 12], used: 0 };
        match &*line.event {
            _ if line.again => {}
            "accepted" => counts.one(Counter::Accepted),
            "rejected" => counts.one(Counter::Rejected),
            "held" => counts.one(Counter::Held),
            "suppressed" => counts.one(Counter::Suppressed),
            "cancelled" => counts.one(Counter::Cancelled),
            "delivered" => counts.delivered(line),
            "deferred" => counts.failed(line, Counter::Deferred, ByClass::Deferred),
            "bounced" => counts.failed(line, Counter::Bounced, ByClass::Bounced),
            "expired" => counts.failed(line, Counter::Expired, ByClass::Expired),
            "late_bounced" => counts.failed(line, Counter::LateBounced, ByClass::LateBounced),
            "complained" => counts.one(Counter::Complained),
            "unsubscribed" => counts.one(Counter::Unsubscribed),
            "opened" => counts.one(if line.machine { Counter::OpenedByMachine } else { Counter::Opened }),
            "clicked" => counts.one(if line.machine { Counter::ClickedByMachine } else { Counter::Clicked }),
            "unmatched" => match line.kind.as_deref() {
                Some("bounce") => counts.one(Counter::BouncesUnmatched),
                Some("feedback") => counts.one(Counter::ComplaintsUnmatched),
                _ => {}
            },
            _ => {}
        }
        counts
    }

    fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn one(&mut self, count: impl Into<Count>) {
        self.more(count, 1);
    }

    fn more(&mut self, count: impl Into<Count>, more: u64) {
        self.counts[self.used] = Some((count.into(), more));
        self.used += 1;
    }

    fn if_so(&mut self, so: bool, count: impl Into<Count>) {
        if so {
            self.one(count);
        }
    }

    fn attempted(&mut self, line: &Seen<'_>) {
        self.if_so(line.is_attempt(), Counter::Attempts);
        self.if_so(line.is_attempt() && line.attempt == 1, Counter::FirstAttempts);
    }

    fn failed(&mut self, line: &Seen<'_>, counter: Counter, by: ByClass) {
        self.one(counter);
        if by != ByClass::LateBounced {
            self.attempted(line);
        }
        if let Some(class) = line.class() {
            self.one((by, class));
            self.if_so(by == ByClass::Deferred && line.is_attempt() && line.attempt == 1, (ByClass::FirstDeferred, class));
        }
        self.if_so(line.smtp_code.is_some() && line.rule.as_deref() == Some("unknown"), Counter::UnknownReplies);
    }

    fn delivered(&mut self, line: &Seen<'_>) {
        self.one(Counter::Delivered);
        self.attempted(line);
        self.more(Counter::BytesDelivered, line.size);
        self.if_so(line.tls_version.is_some(), Counter::DeliveredTls);
        self.if_so(line.tls_verified == Some(true), Counter::DeliveredTlsVerified);
        self.if_so(line.from_domain.is_some(), Counter::FromKnown);
        self.if_so(line.dkim.as_deref() == Some("aligned"), Counter::DkimAligned);
        self.if_so(line.spf.is_some(), Counter::SpfKnown);
        self.if_so(line.spf.as_deref() == Some("pass"), Counter::SpfPassed);
        self.if_so(line.dmarc.is_some(), Counter::DmarcKnown);
        self.if_so(line.dmarc.as_deref().is_some_and(|policy| policy != "absent"), Counter::DmarcPublished);
        self.if_so(line.one_click, Counter::OneClick);
    }

    fn add_for_ever(&self, line: &Seen<'_>, dimension: Dimension, cell: &mut crate::Cell) {
        for (count, more) in self.counts.iter().flatten() {
            cell.add(*count, *more);
        }
        if matches!(dimension, Dimension::All | Dimension::Provider) && &*line.event == "delivered" {
            let mut sort = |histogram: Histogram, value: u64| {
                cell.add(histogram.bucket_of(value), 1);
                cell.add(histogram.sum(), value);
            };
            measured(line).for_each(|(time, milliseconds)| sort(Histogram::Of(time), milliseconds));
            sort(Histogram::Size, line.size);
        }
    }

    fn add_to(&self, line: &Seen<'_>, dimension: Dimension, cell: &mut crate::Cell, by_event: bool) {
        for (count, more) in self.counts.iter().flatten() {
            cell.add(*count, *more);
        }
        if by_event && dimension.keeps_times() && &*line.event == "delivered" {
            let times = cell.times_mut();
            measured(line).for_each(|(time, milliseconds)| times.add(time, milliseconds));
        }
    }
}

/// The times that a delivery tells of, in milliseconds.
fn measured(line: &Seen<'_>) -> impl Iterator<Item = (Time, u64)> {
    let wait = (line.attempt == 1).then(|| line.wait_ms());
    let stages = [(Time::Wait, wait), (Time::Connect, line.connect_ms), (Time::Tls, line.tls_ms), (Time::Dialogue, line.dialogue_ms())];
    std::iter::once((Time::Delivery, line.age_ms)).chain(stages.into_iter().filter_map(|(time, measured)| Some((time, measured?))))
}

/// Calls back for each key under which the line counts.
fn each_key(line: &Seen<'_>, buffer: &mut String, mut each: impl FnMut(Dimension, &str)) {
    each(Dimension::All, "all");
    let single = [
        (Dimension::Provider, &line.provider),
        (Dimension::Source, &line.source),
        (Dimension::Stream, &line.stream),
        (Dimension::User, &line.user),
        (Dimension::FromDomain, &line.from_domain),
        (Dimension::Domain, &line.domain),
    ];
    for (dimension, key) in single {
        if let Some(key) = key {
            each(dimension, key);
        }
    }
    // A tag that is given twice is one tag.
    for (at, tag) in line.tags.iter().enumerate() {
        if !line.tags[..at].contains(tag) {
            each(Dimension::Tag, tag);
        }
    }
    if let Some(class) = line.class().filter(|_| is_failure(&line.event)) {
        each(Dimension::Class, Class::as_str(class));
    }
    let rule = line.rule.as_ref().filter(|_| line.smtp_code.is_some());
    let pairs = [
        (Dimension::StreamProvider, line.stream.as_ref()),
        (Dimension::SourceProvider, line.source.as_ref()),
        (Dimension::RuleProvider, rule),
    ];
    if let Some(provider) = &line.provider {
        for (dimension, first) in pairs {
            if let Some(first) = first {
                buffer.clear();
                buffer.push_str(first);
                buffer.push(PAIR);
                buffer.push_str(provider);
                each(dimension, buffer);
            }
        }
    }
    if &*line.event == "rejected"
        && let Some(reason) = &line.reason
    {
        each(Dimension::Reason, reason);
    }
}

fn is_failure(event: &str) -> bool {
    matches!(event, "deferred" | "bounced" | "expired" | "late_bounced")
}
