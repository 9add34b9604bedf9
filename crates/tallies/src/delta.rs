//! The fold: what some lines of the log come to.

use std::{collections::BTreeMap, mem};

use foldhash::fast::RandomState;
use indexmap::{IndexMap, IndexSet};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use posthaste_mail::Class;

use crate::{
    ByClass, Cell, Count, Counter, Dimension, Histogram, Seen, Time,
    cells::{CellKey, Cells, Encoded, Kinds, Names},
    span::begin_of,
    times,
};

/// The dimensions of which everything that was ever counted is kept: counters that only rise, for machines.
pub(crate) const KEPT_FOR_EVER: [Dimension; 6] =
    [Dimension::All, Dimension::Provider, Dimension::Source, Dimension::Stream, Dimension::Class, Dimension::Reason];

/// What lines of the log come to that have not been saved yet.
#[derive(Clone, Debug)]
pub struct Delta {
    zone: TimeZone,
    names: Names,
    kinds: Kinds,
    /// A row for the lines of each minute about messages of each day: minutes since 1970, and the day of acceptance; None if the lines are about no
    /// message.
    rows: IndexSet<(i64, Option<Date>), RandomState>,
    cells: Cells,
    /// Histograms of deliveries, by provider. They are kept for ever, and of nothing else.
    sorted: IndexMap<Option<u32>, Cell, RandomState>,
    /// The newest line's time.
    pub(crate) newest: Option<Timestamp>,
    /// The day of the last cohort and when it begins and ends: most lines are about messages of the same day.
    day: Option<(Timestamp, Timestamp, Date)>,
    /// Memory for the counts of a line, used again for the next one.
    counts: Counts,
}

impl Delta {
    /// Nothing yet. Days are those of `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            names: Names::default(),
            kinds: Kinds::default(),
            rows: IndexSet::default(),
            cells: Cells::default(),
            sorted: IndexMap::default(),
            newest: None,
            day: None,
            counts: Counts::default(),
        }
    }

    /// Counts a line. Lines about nothing that is counted, and lines whose time cannot be read, change nothing.
    pub fn take(&mut self, line: &Seen<'_>) {
        let Some(time) = line.time() else { return };
        self.newest = self.newest.max(Some(time));
        let mut counts = mem::take(&mut self.counts);
        counts.read(line);
        if !counts.ones.is_empty() {
            self.count(line, time, &counts);
        }
        self.counts = counts;
    }

    fn count(&mut self, line: &Seen<'_>, time: Timestamp, counts: &Counts) {
        let cohort = line.stream.is_some().then(|| self.cohort(accepted_at(time, line.age_ms)));
        let row = self.rows.insert_full((time.as_second().div_euclid(60), cohort)).0;
        let row = u32::try_from(row).expect("there are fewer than cells");
        let kind = self.kinds.number(&counts.ones);
        let (cells, measured) = (&mut self.cells, if &*line.event == "delivered" { measured(line) } else { Measured::default() });
        each_key(line, &mut self.names, |dimension, first, second| {
            let at = cells.add(CellKey { row, dimension, first, second }, kind, 1, counts.bytes);
            if dimension.keeps_times() && measured[0].is_some() {
                let times = cells.times_mut(at);
                for (time, (_, bucket)) in each_time(measured) {
                    times.add_to(time, bucket, 1);
                }
            }
        });
        if &*line.event == "delivered" {
            let provider = line.provider.as_deref().map(|provider| self.names.number(provider));
            let cell = self.sorted.entry(provider).or_default();
            let mut sort = |histogram: Histogram, value: u64| {
                cell.add(histogram.bucket_of(value), 1);
                cell.add(histogram.sum(), value);
            };
            sort(Histogram::Size, line.size);
            for (time, (milliseconds, _)) in each_time(measured) {
                sort(Histogram::Of(time), milliseconds);
            }
        }
    }

    /// What each minute comes to, in minutes since 1970.
    pub(crate) fn minutes(&self) -> impl Iterator<Item = (i64, Vec<Encoded>)> {
        let (rows, mut minutes) = (self.cells.rows(self.rows.len()), BTreeMap::<i64, Vec<usize>>::new());
        for (row, (minute, _)) in self.rows.iter().enumerate() {
            minutes.entry(*minute).or_default().push(row);
        }
        minutes.into_iter().map(move |(minute, of)| {
            let encoded = |cells: &Cells, row| cells.encoded(row, &self.names, &self.kinds).collect();
            if let [row] = of[..] {
                return (minute, encoded(&self.cells, &rows[row]));
            }
            let mut together = Cells::default();
            let mut places: Vec<u32> = of.iter().flat_map(|row| rows[*row].iter().flatten()).copied().collect();
            places.sort_unstable();
            places.into_iter().for_each(|at| together.merge(0, &self.cells, at));
            (minute, encoded(&together, &together.rows(1)[0]))
        })
    }

    /// What the messages accepted on each day come to.
    pub(crate) fn cohorts(&self) -> Vec<(Date, Vec<Encoded>)> {
        let (mut cells, mut days) = (Cells::default(), IndexSet::<Date, RandomState>::default());
        for (at, key) in self.cells.keys() {
            if let (_, Some(day)) = self.rows[key.row as usize] {
                let day = u32::try_from(days.insert_full(day).0).expect("there are fewer than rows");
                cells.merge_counts(day, &self.cells, at);
            }
        }
        let rows = cells.rows(days.len());
        days.into_iter().zip(&rows).map(|(day, row)| (day, cells.encoded(row, &self.names, &self.kinds).collect())).collect()
    }

    /// What all of it comes to, with histograms.
    pub(crate) fn ever(&self) -> Vec<Encoded> {
        let mut cells = Cells::default();
        for (at, _) in self.cells.keys().filter(|(_, key)| KEPT_FOR_EVER.contains(&key.dimension)) {
            cells.merge_counts(0, &self.cells, at);
        }
        cells.encoded(&cells.rows(1)[0], &self.names, &self.kinds).collect()
    }

    /// The histograms of all, and of each provider.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (Dimension, &str, &Cell)> {
        let all = self.sorted.values().map(|cell| (Dimension::All, ALL, cell));
        let providers = self.sorted.iter().filter_map(|(provider, cell)| Some((Dimension::Provider, self.names.text((*provider)?), cell)));
        all.chain(providers)
    }

    /// The cells that it holds: what its memory follows.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
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

/// The one key of [`Dimension::All`].
const ALL: &str = "all";

fn accepted_at(time: Timestamp, age_ms: u64) -> Timestamp {
    let age = i64::try_from(age_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(time.as_millisecond().saturating_sub(age)).unwrap_or(time)
}

/// What one line counts as: the same in each of its cells.
#[derive(Clone, Debug, Default)]
struct Counts {
    ones: Vec<Count>,
    bytes: u64,
}

impl Counts {
    /// Takes note of what a line counts as. What stood here before is forgotten, and its memory is used again: this is done for each line.
    fn read(&mut self, line: &Seen<'_>) {
        self.ones.clear();
        self.bytes = 0;
        let counts = self;
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
            // It had bounced before, or was never sent: it has its end already.
            "late_bounced" if line.why.as_deref() == Some("ended") => {}
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
    }

    fn one(&mut self, count: impl Into<Count>) {
        self.ones.push(count.into());
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
        self.if_so(line.smtp_code.is_some() && line.rule.as_deref().is_some_and(is_by_code_alone), Counter::UnknownReplies);
    }

    fn delivered(&mut self, line: &Seen<'_>) {
        self.one(Counter::Delivered);
        self.attempted(line);
        self.bytes = line.size;
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
}

/// The times that a line tells of, in the order of [`Time::ALL`]: in milliseconds, and as the bucket of a cell's times.
type Measured = [Option<(u64, u16)>; Time::ALL.len()];

/// The times of a delivery. The first is always there.
fn measured(line: &Seen<'_>) -> Measured {
    let wait = (line.attempt == 1).then(|| line.wait_ms());
    [Some(line.delivery_ms()), wait, line.connect_ms, line.tls_ms, line.dialogue_ms()].map(|ms| ms.map(|ms| (ms, times::bucket(ms))))
}

fn each_time(measured: Measured) -> impl Iterator<Item = (Time, (u64, u16))> {
    Time::ALL.into_iter().zip(measured).filter_map(|(time, measured)| Some((time, measured?)))
}

/// Calls back for each key under which a line counts.
fn each_key(line: &Seen<'_>, names: &mut Names, mut each: impl FnMut(Dimension, u32, Option<u32>)) {
    each(Dimension::All, names.number(ALL), None);
    let mut single = |dimension: Dimension, text: Option<&str>| {
        let key = names.number(text?);
        each(dimension, key, None);
        Some(key)
    };
    let provider = single(Dimension::Provider, line.provider.as_deref());
    let source = single(Dimension::Source, line.source.as_deref());
    let stream = single(Dimension::Stream, line.stream.as_deref());
    let user = single(Dimension::User, line.user.as_deref());
    single(Dimension::FromDomain, line.from_domain.as_deref());
    single(Dimension::Domain, line.domain.as_deref());
    single(Dimension::Class, failure(line).map(Class::as_str));
    single(Dimension::Reason, door_reason(line));
    // A tag that is given twice is one tag.
    let tags = line.tags.iter().enumerate().filter(|(at, tag)| !line.tags[..*at].contains(tag));
    tags.for_each(|(_, tag)| _ = single(Dimension::Tag, Some(tag)));
    let rule = provider.and(rule(line)).map(|rule| names.number(rule));
    let pairs = [
        (Dimension::UserStream, user, stream),
        (Dimension::StreamProvider, stream, provider),
        (Dimension::SourceProvider, source, provider),
        (Dimension::RuleProvider, rule, provider),
    ];
    for (dimension, first, second) in pairs {
        if let (Some(first), Some(_)) = (first, second) {
            each(dimension, first, second);
        }
    }
}

/// The class of a failure.
fn failure(line: &Seen<'_>) -> Option<Class> {
    line.class().filter(|_| matches!(&*line.event, "deferred" | "bounced" | "expired" | "late_bounced"))
}

/// The rule that knew a reply.
fn rule<'a>(line: &'a Seen<'_>) -> Option<&'a str> {
    line.rule.as_deref().filter(|_| line.smtp_code.is_some())
}

/// Why something was refused at the door.
fn door_reason<'a>(line: &'a Seen<'_>) -> Option<&'a str> {
    line.reason.as_deref().filter(|_| &*line.event == "rejected")
}

/// Whether a rule knows nothing of what a reply says: it goes by the code of three digits, or nothing fitted at all (config/bounce/codes.toml).
fn is_by_code_alone(rule: &str) -> bool {
    rule == "unknown" || rule.starts_with("code.")
}
