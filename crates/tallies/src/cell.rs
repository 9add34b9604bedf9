//! The sums of one key in one span.

use posthaste_mail::Class;

use crate::{ByClass, Count, Counter, Times};

/// The sums of one key in one span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// By number, rising; what is zero is not there.
    pub(crate) counts: Vec<(u16, u64)>,
    pub(crate) times: Option<Box<Times>>,
}

impl Cell {
    /// How many.
    pub fn get(&self, count: impl Into<Count>) -> u64 {
        let Count(number) = count.into();
        self.counts.binary_search_by_key(&number, |(n, _)| *n).map_or(0, |at| self.counts[at].1)
    }

    /// How many of these classes.
    pub fn of(&self, by: ByClass, classes: &[Class]) -> u64 {
        classes.iter().map(|class| self.get((by, *class))).fold(0, u64::saturating_add)
    }

    /// The recipients whose story is over, by the receiver's answer or by age: delivered, bounced or expired. Suppressed, cancelled and
    /// rejected ones are not among them, and neither are late bounces: each recipient is finished once.
    pub fn finished(&self) -> u64 {
        [Counter::Delivered, Counter::Bounced, Counter::Expired].map(|counter| self.get(counter)).into_iter().fold(0, u64::saturating_add)
    }

    /// The same with each late bounce in the place of a delivery: so many fewer were delivered, and so many more bounced, by class too. As many
    /// are finished as before. How many came back late still stands in it.
    ///
    /// A cohort has the delivery of each of its late bounces. A span of time may not; then those that were delivered before it count as finished
    /// in it, so that a share of finished recipients is never more than all.
    pub fn settled(&self) -> Self {
        let (late, mut settled) = (self.get(Counter::LateBounced), self.clone());
        if let Ok(at) = settled.counts.binary_search_by_key(&Count::from(Counter::Delivered).0, |(number, _)| *number) {
            settled.counts[at].1 = settled.counts[at].1.saturating_sub(late);
        }
        settled.counts.retain(|(_, count)| *count > 0);
        settled.add(Counter::Bounced, late);
        Class::ALL.iter().for_each(|class| settled.add((ByClass::Bounced, *class), self.get((ByClass::LateBounced, *class))));
        settled
    }

    /// How long things took; None if nothing was measured.
    pub fn times(&self) -> Option<&Times> {
        self.times.as_deref()
    }

    /// Counts so many more.
    pub fn add(&mut self, count: impl Into<Count>, more: u64) {
        let Count(number) = count.into();
        if more == 0 {
            return;
        }
        match self.counts.binary_search_by_key(&number, |(n, _)| *n) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(more),
            Err(at) => {
                if self.counts.is_empty() {
                    self.counts.reserve(USUAL);
                }
                self.counts.insert(at, (number, more));
            }
        }
    }

    /// The times, to add to.
    pub fn times_mut(&mut self) -> &mut Times {
        self.times.get_or_insert_default()
    }

    /// Adds another cell.
    pub fn merge(&mut self, other: &Self) {
        self.merge_counts(other);
        self.merge_times(other);
    }

    /// What is left of its counts without those of other cells; nothing is less than zero. Times cannot be told apart: there are none.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        let left = |(number, count): &(u16, u64)| (*number, count.saturating_sub(others.get(Count(*number))));
        Self { counts: self.counts.iter().map(left).filter(|(_, count)| *count > 0).collect(), times: None }
    }

    /// Adds another cell's counts, without its times.
    pub fn merge_counts(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        for (number, more) in &other.counts {
            self.add(Count(*number), *more);
        }
    }

    /// Adds another cell's times, without its counts.
    pub(crate) fn merge_times(&mut self, other: &Self) {
        if let Some(times) = other.times.as_deref().filter(|times| !times.is_empty()) {
            self.times_mut().merge(times);
        }
    }

    /// What its rank among other keys follows: everything that happened to its recipients.
    pub fn weight(&self) -> u64 {
        let counters = [Counter::Accepted, Counter::Attempts, Counter::Rejected, Counter::Suppressed];
        counters.map(|counter| self.get(counter)).into_iter().fold(0, u64::saturating_add)
    }
}

/// What most cells count.
const USUAL: usize = 8;
