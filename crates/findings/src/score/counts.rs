//! What is counted for a score: for each measure the bad ones and what they are a share of.

use jiff::civil::Date;
use posthaste_mail::Class;
use posthaste_tallies::{ByClass, Cell, Counter};

use super::Measure;

/// Bad ones among all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The bad ones.
    pub bad: u64,
    /// All, the bad ones included. 0: not known.
    pub of: u64,
}

/// What a key did in a day or another span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the order of [`Measure::ALL`].
    pub(super) shares: [Share; Measure::ALL.len()],
    /// Finished recipients: delivered, bounced or expired.
    pub(super) finished: u64,
    /// First tries.
    pub(super) first_tries: u64,
}

impl Counts {
    /// What a cell of a pair with a provider says. Suppressed recipients have no provider, so their share is not in it.
    pub fn of_mail(cell: &Cell) -> Self {
        use Measure as M;
        let get = |counter: Counter| cell.get(counter);
        // A late bounce turns its delivered into bounced: it was finished before, and is still. How a delivery was signed and carried stays true.
        let settled = cell.settled();
        let delivered = settled.get(Counter::Delivered);
        let mut counts = Self { finished: settled.finished(), first_tries: get(Counter::FirstAttempts), ..Self::default() };
        let failed = |classes: &[Class]| [ByClass::Bounced, ByClass::Expired].map(|by| settled.of(by, classes)).iter().sum();
        let missing = |all: Counter, good: Counter| get(all).saturating_sub(get(good));
        let shares = [
            (M::UnknownUsers, failed(&UNKNOWN), counts.finished),
            (M::FullMailboxes, failed(&FULL), counts.finished),
            (M::Complaints, get(Counter::Complained), delivered),
            (M::Refusals, failed(&REFUSED), counts.finished),
            (M::PutOff, cell.of(ByClass::FirstDeferred, &PUT_OFF), counts.first_tries),
            // Lines of relays before this one name no From domain. They are no deliveries without signatures: nothing is known of them.
            (M::Dkim, missing(Counter::FromKnown, Counter::DkimAligned), get(Counter::FromKnown)),
            (M::Spf, missing(Counter::SpfKnown, Counter::SpfPassed), get(Counter::SpfKnown)),
            (M::Dmarc, missing(Counter::DmarcKnown, Counter::DmarcPublished), get(Counter::DmarcKnown)),
            (M::OneClick, missing(Counter::FromKnown, Counter::OneClick), get(Counter::FromKnown)),
            (M::Tls, missing(Counter::Delivered, Counter::DeliveredTls), get(Counter::Delivered)),
            (M::Unsubscribed, get(Counter::Unsubscribed), delivered),
        ];
        for (measure, bad, of) in shares {
            counts.set(measure, Share { bad, of });
        }
        counts
    }

    /// What a stream's cell says of its suppressed recipients, and nothing else.
    pub fn of_suppressed(cell: &Cell) -> Self {
        let suppressed = cell.get(Counter::Suppressed);
        let mut counts = Self::default();
        counts.set(Measure::Suppressed, Share { bad: suppressed, of: cell.settled().finished().saturating_add(suppressed) });
        counts
    }

    /// The share of a measure.
    pub fn share(&self, measure: Measure) -> Share {
        self.shares[measure as usize]
    }

    /// Sets a measure's share, for what no cell says.
    pub fn set(&mut self, measure: Measure, share: Share) {
        self.shares[measure as usize] = share;
    }

    /// The same without what is not known of this key.
    pub(super) fn without(mut self, measures: &[Measure]) -> Self {
        measures.iter().for_each(|measure| self.set(*measure, Share::default()));
        self
    }

    /// Adds others, of other days or other keys.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.shares.iter_mut().zip(&other.shares) {
            *sum = Share { bad: sum.bad.saturating_add(more.bad), of: sum.of.saturating_add(more.of) };
        }
        self.finished = self.finished.saturating_add(other.finished);
        self.first_tries = self.first_tries.saturating_add(other.first_tries);
    }
}

const UNKNOWN: [Class; 2] = [Class::InvalidRecipient, Class::BadDomain];
const FULL: [Class; 2] = [Class::MailboxFull, Class::InactiveMailbox];
const REFUSED: [Class; 3] = [Class::IpReputation, Class::PolicyAuth, Class::SpamContent];
const PUT_OFF: [Class; 2] = [Class::RateLimited, Class::IpReputation];

/// What a key did, as both views of a score see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// By the day on which the messages were accepted.
    pub days: Days,
    /// In the last 24 hours, by the time of the event.
    pub last_day: Counts,
    /// How many of its addresses and domains are on block lists; None: not measured.
    pub listed: Option<u64>,
    /// Of the recipients written to, those who opened and clicked nothing in 90 days; None: not measured.
    pub unengaged: Option<Share>,
}

impl History {
    /// Adds another key's.
    pub fn add(&mut self, other: &Self) {
        other.days.iter().for_each(|(date, counts)| self.days.of(date).add(counts));
        self.last_day.add(&other.last_day);
        self.listed = [self.listed, other.listed].into_iter().flatten().reduce(u64::saturating_add);
        let both = |one: Share, other: Share| Share { bad: one.bad.saturating_add(other.bad), of: one.of.saturating_add(other.of) };
        self.unengaged = [self.unengaged, other.unengaged].into_iter().flatten().reduce(both);
    }
}

/// Counts by day. Most keys have few days, and there are many keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Days(Vec<(Date, Counts)>);

impl Days {
    /// The counts of a day, to add to.
    pub fn of(&mut self, day: Date) -> &mut Counts {
        let at = self.0.binary_search_by_key(&day, |(date, _)| *date).unwrap_or_else(|at| {
            self.0.insert(at, (day, Counts::default()));
            at
        });
        &mut self.0[at].1
    }

    /// All days with counts, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = (Date, &Counts)> {
        self.0.iter().map(|(day, counts)| (*day, counts))
    }
}
