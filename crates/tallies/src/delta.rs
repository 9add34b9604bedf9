//! The fold: what some lines of the log come to.

use std::{collections::BTreeMap, mem};

use indexmap::IndexMap;
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use posthaste_mail::Class;

use crate::{Block, ByClass, Cell, Count, Counter, Dimension, Histogram, Seen, Time, pair};

/// The dimensions of which everything that was ever counted is kept: counters that only rise, for machines.
pub(crate) const KEPT_FOR_EVER: [Dimension; 6] =
    [Dimension::All, Dimension::Provider, Dimension::Source, Dimension::Stream, Dimension::Class, Dimension::Reason];

/// The blocks of one span, one for each dimension.
pub(crate) type Blocks = [Block; Dimension::ALL.len()];

/// What lines of the log come to that have not been saved yet.
///
/// Most lines of a minute are about the same stream, provider and so on as others: they are added up first, and each sum is spread over the
/// keys that it counts for once.
#[derive(Clone, Debug)]
pub struct Delta {
    zone: TimeZone,
    /// Lines that count for the same keys and are not spread yet, in the order in which they came. The key is all that tells them apart.
    alike: IndexMap<Box<[u8]>, Alike, foldhash::fast::RandomState>,
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
    /// Memory for the key and the counts of a line, used again for the next one.
    key: Vec<u8>,
    counts: Counts,
}

/// What lines that count for the same keys come to.
#[derive(Clone, Debug)]
struct Alike {
    minute: i64,
    /// The day of the messages' acceptance; None if the lines are about no message.
    cohort: Option<Date>,
    keys: Vec<(Dimension, Box<str>)>,
    /// With times.
    sum: Cell,
    /// Histograms alone.
    sorted: Cell,
}

/// Lines of so many sorts are kept apart before they are spread: about 1 KiB each.
const ALIKE_MAX: usize = 1024;

impl Delta {
    /// Nothing yet. Days are those of `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self {
            zone,
            alike: IndexMap::default(),
            minutes: BTreeMap::new(),
            cohorts: BTreeMap::new(),
            ever: Blocks::default(),
            newest: None,
            day: None,
            key: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Counts a line. Lines about nothing that is counted, and lines whose time cannot be read, change nothing.
    pub fn take(&mut self, line: &Seen<'_>) {
        let Some(time) = line.time() else { return };
        self.newest = self.newest.max(Some(time));
        let mut counts = mem::take(&mut self.counts);
        counts.read(line);
        if !counts.0.is_empty() {
            self.count(line, time, &counts);
        }
        self.counts = counts;
    }

    fn count(&mut self, line: &Seen<'_>, time: Timestamp, counts: &Counts) {
        let minute = time.as_second().div_euclid(60);
        let cohort = line.stream.is_some().then(|| self.cohort(accepted_at(time, line.age_ms)));
        let mut key = mem::take(&mut self.key);
        tell_apart(line, minute, cohort, &mut key);
        if !self.alike.contains_key(&*key) {
            if self.alike.len() >= ALIKE_MAX {
                self.spread();
            }
            self.alike
                .insert(key.as_slice().into(), Alike { minute, cohort, keys: keys(line), sum: Cell::default(), sorted: Cell::default() });
        }
        counts.add_to(line, self.alike.get_mut(&*key).expect("it was inserted"));
        self.key = key;
    }

    /// Adds what was taken to the blocks.
    pub(crate) fn spread(&mut self) {
        for (_, alike) in self.alike.drain(..) {
            let minute = self.minutes.entry(alike.minute).or_default();
            for (dimension, key) in &alike.keys {
                let cell = minute[*dimension as usize].cell(key);
                cell.merge_counts(&alike.sum);
                if dimension.keeps_times() {
                    cell.merge_times(&alike.sum);
                }
            }
            for (dimension, key) in alike.keys.iter().filter(|(dimension, _)| KEPT_FOR_EVER.contains(dimension)) {
                let cell = self.ever[*dimension as usize].cell(key);
                cell.merge_counts(&alike.sum);
                if matches!(dimension, Dimension::All | Dimension::Provider) {
                    cell.merge_counts(&alike.sorted);
                }
            }
            if let Some(day) = alike.cohort {
                let blocks = self.cohorts.entry(day).or_default();
                alike.keys.iter().for_each(|(dimension, key)| blocks[*dimension as usize].cell(key).merge_counts(&alike.sum));
            }
        }
    }

    /// The cells that it holds: what its memory follows. Lines that are not spread yet are few, and not among them.
    pub fn cells(&self) -> usize {
        self.minutes.values().chain(self.cohorts.values()).flatten().chain(&self.ever).map(Block::len).sum()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.alike.is_empty() && self.minutes.is_empty() && self.cohorts.is_empty()
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
#[derive(Clone, Debug, Default)]
struct Counts(Vec<(Count, u64)>);

impl Counts {
    /// Takes note of what a line counts as. What stood here before is forgotten, and its memory is used again: this is done for each line.
    fn read(&mut self, line: &Seen<'_>) {
        self.0.clear();
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
        self.more(count, 1);
    }

    fn more(&mut self, count: impl Into<Count>, more: u64) {
        self.0.push((count.into(), more));
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

    fn add_to(&self, line: &Seen<'_>, alike: &mut Alike) {
        for (count, more) in &self.0 {
            alike.sum.add(*count, *more);
        }
        if &*line.event != "delivered" {
            return;
        }
        let mut sort = |histogram: Histogram, value: u64| {
            alike.sorted.add(histogram.bucket_of(value), 1);
            alike.sorted.add(histogram.sum(), value);
        };
        sort(Histogram::Size, line.size);
        let times = alike.sum.times_mut();
        for (time, milliseconds) in measured(line) {
            sort(Histogram::Of(time), milliseconds);
            times.add(time, milliseconds);
        }
    }
}

/// The times that a delivery tells of, in milliseconds.
fn measured(line: &Seen<'_>) -> impl Iterator<Item = (Time, u64)> {
    let wait = (line.attempt == 1).then(|| line.wait_ms());
    let stages = [(Time::Wait, wait), (Time::Connect, line.connect_ms), (Time::Tls, line.tls_ms), (Time::Dialogue, line.dialogue_ms())];
    std::iter::once((Time::Delivery, line.age_ms)).chain(stages.into_iter().filter_map(|(time, measured)| Some((time, measured?))))
}

/// Writes all that tells a line's keys and spans from those of others into `key`: two lines with the same are counted for the same.
fn tell_apart(line: &Seen<'_>, minute: i64, cohort: Option<Date>, key: &mut Vec<u8>) {
    key.clear();
    key.extend(minute.to_le_bytes());
    let day = cohort.map_or([0; 4], |day| {
        let [high, low] = day.year().to_le_bytes();
        [high, low, day.month().cast_unsigned(), day.day().cast_unsigned()]
    });
    key.extend(day);
    // Each text with its length before it, so that none can pass for two.
    let mut add = |text: Option<&str>| {
        key.extend(text.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1)).to_le_bytes());
        key.extend(text.unwrap_or_default().as_bytes());
    };
    for text in [&line.provider, &line.source, &line.stream, &line.user, &line.from_domain, &line.domain] {
        add(text.as_deref());
    }
    add(failure(line).map(Class::as_str));
    add(rule(line));
    add(door_reason(line));
    line.tags.iter().for_each(|tag| add(Some(tag)));
}

/// The keys under which a line counts.
fn keys(line: &Seen<'_>) -> Vec<(Dimension, Box<str>)> {
    let mut keys: Vec<(Dimension, Box<str>)> = vec![(Dimension::All, "all".into())];
    let single = [
        (Dimension::Provider, line.provider.as_deref()),
        (Dimension::Source, line.source.as_deref()),
        (Dimension::Stream, line.stream.as_deref()),
        (Dimension::User, line.user.as_deref()),
        (Dimension::FromDomain, line.from_domain.as_deref()),
        (Dimension::Domain, line.domain.as_deref()),
        (Dimension::Class, failure(line).map(Class::as_str)),
        (Dimension::Reason, door_reason(line)),
    ];
    keys.extend(single.into_iter().filter_map(|(dimension, key)| Some((dimension, key?.into()))));
    // A tag that is given twice is one tag.
    let tags = line.tags.iter().enumerate().filter(|(at, tag)| !line.tags[..*at].contains(tag));
    keys.extend(tags.map(|(_, tag)| (Dimension::Tag, (**tag).into())));
    let pairs = [
        (Dimension::StreamProvider, line.stream.as_deref()),
        (Dimension::SourceProvider, line.source.as_deref()),
        (Dimension::RuleProvider, rule(line)),
    ];
    if let (Some(user), Some(stream)) = (line.user.as_deref(), line.stream.as_deref()) {
        keys.push((Dimension::UserStream, pair(user, stream).into()));
    }
    if let Some(provider) = line.provider.as_deref() {
        keys.extend(pairs.into_iter().filter_map(|(dimension, first)| Some((dimension, pair(first?, provider).into()))));
    }
    keys
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
