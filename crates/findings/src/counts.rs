//! What rules read from the tallies, and how little of it at each tick.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::Timestamp;
use posthaste_mail::Class;
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension, Grain, Span, Tallies, TalliesError};

/// The counts that rules look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) attempts: u64,
    /// Refused or put off for what [`crate::settings::ProviderRefuses::classes`] names.
    pub(crate) refused: u64,
    pub(crate) delivered: u64,
    pub(crate) late_bounced: u64,
    pub(crate) delivered_tls: u64,
    pub(crate) finished: u64,
    pub(crate) unknown_users: u64,
    pub(crate) complained: u64,
    pub(crate) complaints_unmatched: u64,
    pub(crate) from_known: u64,
    pub(crate) dkim_aligned: u64,
    /// Failures without a reply: there was no answer from DNS, no connection or no TLS.
    pub(crate) unreached: u64,
    /// Put off by a reply that is not about the recipient alone, and no greylisting.
    pub(crate) put_off: u64,
    /// Put off because of the recipient's mailbox.
    pub(crate) put_off_mailbox: u64,
    /// Failures with a reply, as far as their class tells.
    pub(crate) replies: u64,
    pub(crate) unknown_replies: u64,
}

impl Counts {
    fn of(cell: &Cell, refusals: &[Class]) -> Self {
        const UNSAID: [Class; 3] = [Class::DnsFailure, Class::ConnectionFailure, Class::TlsFailure];
        const FAILED: [ByClass; 3] = [ByClass::Deferred, ByClass::Bounced, ByClass::Expired];
        let all = |classes: &[Class]| FAILED.map(|by| cell.of(by, classes)).iter().sum::<u64>();
        let failed = cell.get(Counter::Deferred) + cell.get(Counter::Bounced) + cell.get(Counter::Expired);
        let deferred = |class: Class| cell.get((ByClass::Deferred, class));
        let mailbox = [Class::InvalidRecipient, Class::InactiveMailbox, Class::MailboxFull].map(deferred).iter().sum::<u64>();
        let unknown_replies = cell.get(Counter::UnknownReplies);
        Self {
            accepted: cell.get(Counter::Accepted),
            attempts: cell.get(Counter::Attempts),
            refused: all(refusals),
            delivered: cell.get(Counter::Delivered),
            late_bounced: cell.get(Counter::LateBounced),
            delivered_tls: cell.get(Counter::DeliveredTls),
            finished: cell.finished(),
            unknown_users: [ByClass::Bounced, ByClass::LateBounced].map(|by| cell.get((by, Class::InvalidRecipient))).iter().sum(),
            complained: cell.get(Counter::Complained),
            complaints_unmatched: cell.get(Counter::ComplaintsUnmatched),
            from_known: cell.get(Counter::FromKnown),
            dkim_aligned: cell.get(Counter::DkimAligned),
            unreached: all(&UNSAID),
            put_off: Class::ALL.iter().filter(|class| !UNSAID.contains(class)).map(|class| deferred(*class)).sum::<u64>()
                - deferred(Class::Greylisting)
                - mailbox,
            put_off_mailbox: mailbox,
            replies: failed.saturating_sub(all(&UNSAID)).max(unknown_replies),
            unknown_replies,
        }
    }

    /// The same with each late bounce in the place of a delivery, as [`Cell::settled`]. Not of parts: what is added up is settled as a whole.
    pub(crate) fn settled(&self) -> Self {
        let delivered = self.delivered.saturating_sub(self.late_bounced);
        Self { delivered, finished: (self.finished + self.late_bounced).saturating_sub(self.delivered - delivered), ..*self }
    }

    /// What is left of what senders are judged by without these.
    pub(crate) fn without(&self, others: &Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(others.accepted),
            delivered: self.delivered.saturating_sub(others.delivered),
            late_bounced: self.late_bounced.saturating_sub(others.late_bounced),
            finished: self.finished.saturating_sub(others.finished),
            unknown_users: self.unknown_users.saturating_sub(others.unknown_users),
            complained: self.complained.saturating_sub(others.complained),
            ..*self
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.attempts += other.attempts;
        self.refused += other.refused;
        self.delivered += other.delivered;
        self.late_bounced += other.late_bounced;
        self.delivered_tls += other.delivered_tls;
        self.finished += other.finished;
        self.unknown_users += other.unknown_users;
        self.complained += other.complained;
        self.complaints_unmatched += other.complaints_unmatched;
        self.from_known += other.from_known;
        self.dkim_aligned += other.dkim_aligned;
        self.unreached += other.unreached;
        self.put_off += other.put_off;
        self.put_off_mailbox += other.put_off_mailbox;
        self.replies += other.replies;
        self.unknown_replies += other.unknown_replies;
    }
}

/// Counts by key.
pub(crate) type ByKey = BTreeMap<Box<str>, Counts>;

/// The hours in which something was accepted, by key: each with how much, in their order.
pub(crate) type AcceptedByHour = HashMap<Box<str>, VecDeque<(i64, u64)>>;

/// The counts of a minute in each of [`Counted::LOOKED_AT`].
type Minute = [Vec<(Box<str>, Counts)>; Counted::LOOKED_AT.len()];

/// What was read from the tallies, kept as long as it stays the same:
///
/// | what | read | kept |
/// |---|---|---|
/// | the minutes of the last hour, of [`Self::LOOKED_AT`] | each tick: those since the last tick, two or three | 62 minutes |
/// | sums of whole hours up to the running one | once an hour and window | one for each window |
/// | each sender's accepted mail by hour | once an hour: the new hours; all of them once after a start | 14 days, hours with mail only |
/// | each provider's share of refusals by day | once an hour: 7 days | their median |
///
/// Everything ends with the minute of `to`, up to which the tallies are complete; windows of minutes hold one minute more than their name
/// says, since the last one is still running, and windows of hours up to one hour more.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// What counts as a refusal.
    refusals: Vec<Class>,
    to: i64,
    minutes: BTreeMap<i64, Minute>,
    hours: HashMap<(Dimension, i64, i64), (i64, ByKey)>,
    history: BTreeMap<Dimension, History>,
    medians: (i64, HashMap<Box<str>, f64>),
}

/// The accepted mail of each key by hour.
#[derive(Debug, Default)]
struct History {
    /// The first hour that was not read yet.
    next: i64,
    hours: AcceptedByHour,
}

impl Counted {
    /// The dimensions of which minutes are kept.
    const LOOKED_AT: [Dimension; 6] =
        [Dimension::All, Dimension::Provider, Dimension::Stream, Dimension::User, Dimension::FromDomain, Dimension::UserStream];
    /// The minutes of the running hour and of windows of an hour.
    const MINUTES: i64 = 61;
    /// How far back a sender's hours are looked at.
    pub(crate) const HISTORY: i64 = 14 * 24;

    /// Reads what is new at `to`.
    pub(crate) fn refresh(&mut self, tallies: &Tallies, to: Timestamp, refusals: &[Class]) -> Result<(), TalliesError> {
        if self.refusals != refusals {
            *self = Self { refusals: refusals.to_vec(), ..Self::default() };
        }
        let now = to.as_second().div_euclid(60);
        let first = now - Self::MINUTES;
        // A clock that went back, and a long pause, begin anew.
        if self.to > now || self.to < first {
            self.minutes.clear();
        }
        // Lines of the minute before may have come in after it was read.
        let from = if self.minutes.is_empty() { first } else { self.to - 1 };
        for minute in from..=now {
            self.minutes.remove(&minute);
        }
        for (at, dimension) in Self::LOOKED_AT.into_iter().enumerate() {
            for minute in from..=now {
                let block = tallies.sum(dimension, span(minute, minute + 1))?;
                if !block.is_empty() {
                    self.minutes.entry(minute).or_default()[at] =
                        block.iter().map(|(key, cell)| (key.into(), Counts::of(cell, refusals))).collect();
                }
            }
        }
        self.minutes = self.minutes.split_off(&first);
        self.to = now;
        Ok(())
    }

    /// The sums of the running minute and the `minutes` before it, at most an hour.
    pub(crate) fn last_minutes(&self, dimension: Dimension, minutes: i64) -> ByKey {
        let mut sum = ByKey::new();
        self.add_minutes(dimension, self.to - minutes.min(Self::MINUTES - 1), &mut sum);
        sum
    }

    /// Providers that have delivered nothing since they began to put off, in the last hour: when that was, and what they put off since.
    pub(crate) fn put_off_since(&self) -> BTreeMap<Box<str>, (Timestamp, Counts)> {
        let at = Self::LOOKED_AT.iter().position(|looked_at| *looked_at == Dimension::Provider).expect("its minutes are kept");
        let mut since: BTreeMap<Box<str>, (Timestamp, Counts)> = BTreeMap::new();
        for (minute, blocks) in &self.minutes {
            for (provider, counts) in &blocks[at] {
                if counts.delivered > 0 {
                    since.remove(provider);
                } else if counts.put_off + counts.put_off_mailbox > 0 {
                    let begin = Timestamp::from_second(minute * 60).unwrap_or_default();
                    since.entry(provider.clone()).or_insert((begin, Counts::default())).1.add(counts);
                }
            }
        }
        since
    }

    fn add_minutes(&self, dimension: Dimension, from: i64, sum: &mut ByKey) {
        let at = Self::LOOKED_AT.iter().position(|looked_at| *looked_at == dimension).expect("its minutes are kept");
        for blocks in self.minutes.range(from..).map(|(_, blocks)| &blocks[at]) {
            for (key, counts) in blocks {
                match sum.get_mut(key) {
                    Some(sum) => sum.add(counts),
                    None => drop(sum.insert(key.clone(), *counts)),
                }
            }
        }
    }

    /// The sums of the running hour and the `hours` whole ones before it. Of a dimension of which no minutes are kept, they are read each time.
    pub(crate) fn last_hours(&mut self, tallies: &Tallies, dimension: Dimension, hours: i64) -> Result<ByKey, TalliesError> {
        let mut sum = self.hours_before(tallies, dimension, (hours, 0))?.clone();
        let begin = self.hour() * 60;
        if Self::LOOKED_AT.contains(&dimension) {
            self.add_minutes(dimension, begin, &mut sum);
        } else {
            for (key, cell) in tallies.sum(dimension, span(begin, self.to + 1))?.iter() {
                sum.entry(key.into()).or_default().add(&Counts::of(cell, &self.refusals));
            }
        }
        Ok(sum)
    }

    /// The sums of whole hours: from so many before the running one up to so many before it.
    pub(crate) fn hours_before(&mut self, tallies: &Tallies, dimension: Dimension, (from, to): (i64, i64)) -> Result<&ByKey, TalliesError> {
        let hour = self.hour();
        let known = self.hours.entry((dimension, from, to)).or_insert((i64::MIN, ByKey::new()));
        if known.0 != hour {
            let block = tallies.sum(dimension, span((hour - from) * 60, (hour - to) * 60))?;
            *known = (hour, block.iter().map(|(key, cell)| (key.into(), Counts::of(cell, &self.refusals))).collect());
        }
        Ok(&known.1)
    }

    /// What streams (or users) submitted in each hour of the last 14 days before the running hour, hours with nothing left out.
    pub(crate) fn accepted_by_hour(&mut self, tallies: &Tallies, dimension: Dimension) -> Result<&AcceptedByHour, TalliesError> {
        let hour = self.hour();
        let history = self.history.entry(dimension).or_default();
        if history.next > hour {
            *history = History::default();
        }
        let from = history.next.max(hour - Self::HISTORY);
        if from < hour {
            for (begin, block) in tallies.series(dimension, span(from * 60, hour * 60), Grain::Hour)? {
                for (key, cell) in block.iter().filter(|(_, cell)| cell.get(Counter::Accepted) > 0) {
                    let hours = history.hours.entry(key.into()).or_default();
                    hours.push_back((begin.as_second().div_euclid(3600), cell.get(Counter::Accepted)));
                }
            }
            for hours in history.hours.values_mut() {
                while hours.front().is_some_and(|(first, _)| *first < hour - Self::HISTORY) {
                    hours.pop_front();
                }
            }
            history.hours.retain(|_, hours| !hours.is_empty());
            history.next = hour;
        }
        Ok(&history.hours)
    }

    /// The median of a provider's daily shares of refusals in the 7 days before today; 0 if it had no mail in them.
    pub(crate) fn median(&mut self, tallies: &Tallies, provider: &str) -> Result<f64, TalliesError> {
        let hour = self.hour();
        if self.medians.0 != hour || hour == 0 {
            let days = tallies.series(Dimension::Provider, span((hour - 8 * 24) * 60, hour * 60), Grain::Day)?;
            // Today is left out: it may be what the median is compared with.
            let over = |begin: &Timestamp| begin.as_second() + 86_400 <= hour * 3600;
            let days: Vec<&Block> = days.iter().filter(|(begin, _)| over(begin)).map(|(_, block)| block).collect();
            self.medians = (hour, medians(&days[days.len().saturating_sub(7)..], &self.refusals));
        }
        Ok(self.medians.1.get(provider).copied().unwrap_or(0.0))
    }

    /// The hour that is running, in hours since 1970.
    pub(crate) fn hour(&self) -> i64 {
        self.to.div_euclid(60)
    }
}

fn medians(days: &[&Block], refusals: &[Class]) -> HashMap<Box<str>, f64> {
    let mut shares: HashMap<Box<str>, Vec<f64>> = HashMap::new();
    for (provider, cell) in days.iter().flat_map(|block| block.iter()) {
        let counts = Counts::of(cell, refusals);
        if counts.attempts > 0 {
            shares.entry(provider.into()).or_default().push(share(counts.refused, counts.attempts));
        }
    }
    shares.into_iter().map(|(provider, mut shares)| (provider, quantile(&mut shares, 0.5))).collect()
}

/// The value that this share of them does not exceed; 0 of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // hours of 14 days at most
    let at = (share * values.len() as f64).ceil() as usize;
    values.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// `n` of `of`, from 0 to 1; 0 of nothing.
#[allow(clippy::cast_precision_loss)] // counts of mail are far below 2^52
pub(crate) fn share(n: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { (n as f64 / of as f64).min(1.0) }
}

fn span(from: i64, to: i64) -> Span {
    let at = |minute: i64| Timestamp::from_second(minute.saturating_mul(60)).unwrap_or_default();
    Span { from: at(from), to: at(to) }
}
