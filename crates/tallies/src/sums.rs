//! Adds what was counted to the sums, makes hours of minutes and days of hours, and forgets what is too old.

use std::collections::{BTreeMap, btree_map::Entry};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use rusqlite::Transaction;

use crate::{
    Block, Delta, Dimension, Limits, Span, TalliesError,
    cells::Encoded,
    cover::{Closed, Cover},
    encoding,
    span::{begin_of, date_of, day_number},
    store::{self, Table},
};

/// A cohort's keys come in over a whole day, so more of them get a place of their own.
pub(crate) const COHORT_KEYS: usize = 4;
/// So many times more keys have a place while it is not known yet which are the largest: in the minutes of an hour that is not closed, and in a
/// cohort whose day is not.
pub(crate) const OPEN: usize = 16;
/// Hours and days are closed so long after their end: the lines of several threads come in a little out of order.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// Makes hours of minutes and days of hours, and forgets what is too old.
pub(crate) struct Sums<'a> {
    pub(crate) db: &'a Transaction<'a>,
    pub(crate) zone: &'a TimeZone,
    pub(crate) limits: &'a Limits,
}

impl Sums<'_> {
    pub(crate) fn merge(&self, table: Table, start: i64, blocks: &[Encoded], most: usize) -> Result<(), TalliesError> {
        for Encoded { dimension, cells, bytes } in blocks {
            let before = store::bytes(self.db, table, start, *dimension)?;
            if before.is_none() && *cells <= most {
                store::put(self.db, table, start, *dimension, bytes)?;
                continue;
            }
            let mut block = before.map(|before| Block::from_bytes(&before)).transpose()?.unwrap_or_default();
            block.add_bytes(bytes, most, |key| self.limits.kept.holds(*dimension, key))?;
            store::put(self.db, table, start, *dimension, &block.to_bytes())?;
        }
        Ok(())
    }

    /// Adds histograms to what is kept for ever.
    pub(crate) fn sort(&self, delta: &Delta) -> Result<(), TalliesError> {
        let mut blocks: BTreeMap<Dimension, Block> = BTreeMap::new();
        for (dimension, key, sorted) in delta.histograms() {
            let block = match blocks.entry(dimension) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(place) => place.insert(store::block(self.db, Table::Ever, 0, dimension)?),
            };
            block.place(key, self.limits.keys, |key| self.limits.kept.holds(dimension, key)).merge(sorted);
        }
        blocks.iter().try_for_each(|(dimension, block)| store::put(self.db, Table::Ever, 0, *dimension, &block.to_bytes()))
    }

    /// Adds a minute to its hour and its day if they are closed.
    pub(crate) fn merge_late(&self, minute: i64, blocks: &[Encoded], closed: &Closed) -> Result<(), TalliesError> {
        let hour = minute.div_euclid(60);
        if closed.hours.is_some_and(|open| hour < open) {
            self.merge(Table::Hour, hour, blocks, self.limits.keys)?;
        }
        let day = day_number(self.day_of(minute));
        if closed.days.is_some_and(|open| day < open) {
            self.merge(Table::Day, day, blocks, self.limits.keys)?;
        }
        Ok(())
    }

    /// Closes the hours and days that were over some minutes before `newest`. If none were closed before, the first is that of the minute `first`.
    pub(crate) fn close(&self, closed: Closed, first: Option<i64>, newest: Timestamp) -> Result<(), TalliesError> {
        let now = (newest.as_second() - GRACE.as_secs()).div_euclid(60);
        let first = first.unwrap_or(now).min(now);
        let hours = closed.hours.unwrap_or(first.div_euclid(60));
        let mut next = hours * 60;
        // From one minute with figures to the next, and not through all hours of a clock that was years behind.
        while let Some(minute) = store::next(self.db, Table::Minute, next)?.filter(|minute| minute.div_euclid(60) < now.div_euclid(60)) {
            let hour = minute.div_euclid(60);
            next = hour * 60 + 60;
            self.close_hour(hour)?;
        }
        let hours = hours.max(now.div_euclid(60));
        store::know(self.db, "hours_closed", &hours.to_string())?;
        let (days, today) = (closed.days.unwrap_or_else(|| day_number(self.day_of(first))), day_number(self.day_of(now)));
        let mut next = days;
        while let Some(day) = self.next_day(next)?.filter(|day| *day < today) {
            self.close_day(day, hours)?;
            next = day + 1;
        }
        store::know(self.db, "days_closed", &days.max(today).to_string())
    }

    fn close_hour(&self, hour: i64) -> Result<(), TalliesError> {
        for dimension in Dimension::ALL {
            let (mut sum, mut large) = (Block::default(), Vec::new());
            store::blocks(self.db, Table::Minute, (hour * 60, hour * 60 + 60), *dimension, |minute, block| {
                if encoding::cells_in(block)? > self.limits.keys as u64 {
                    large.push((minute, block.to_vec()));
                }
                sum.add_bytes(block, usize::MAX, |_| true)
            })?;
            self.put(Table::Hour, hour, *dimension, sum)?;
            for (minute, block) in large {
                self.put(Table::Minute, minute, *dimension, Block::from_bytes(&block)?)?;
            }
        }
        Ok(())
    }

    /// The first day with figures, from a day on.
    fn next_day(&self, day: i64) -> Result<Option<i64>, TalliesError> {
        let Some(begin) = begin_of(date_of(day), self.zone) else { return Ok(None) };
        let minute = begin.as_second().div_euclid(60);
        let minutes = store::next(self.db, Table::Minute, minute)?;
        // The hour in which the day begins is that of its first minutes too.
        let hours = store::next(self.db, Table::Hour, minute.div_euclid(60))?.map(|hour| (hour * 60).max(minute));
        Ok(minutes.into_iter().chain(hours).min().map(|minute| day_number(self.day_of(minute)).max(day)))
    }

    fn close_day(&self, day: i64, hours_closed: i64) -> Result<(), TalliesError> {
        let (Some(from), Some(to)) = (begin_of(date_of(day), self.zone), begin_of(date_of(day + 1), self.zone)) else { return Ok(()) };
        let closed = Closed { hours: Some(hours_closed), days: None };
        let cover = Cover { db: self.db, zone: self.zone, closed, minutes_from: None };
        for dimension in Dimension::ALL {
            self.put(Table::Day, day, *dimension, cover.sum(*dimension, Span { from, to })?)?;
            let mut cohort = store::block(self.db, Table::Cohort, day, *dimension)?;
            if cohort.keep_largest(COHORT_KEYS * self.limits.keys, |key| self.limits.kept.holds(*dimension, key)) {
                store::put(self.db, Table::Cohort, day, *dimension, &cohort.to_bytes())?;
            }
        }
        Ok(())
    }

    fn day_of(&self, minute: i64) -> Date {
        Timestamp::from_second(minute * 60).unwrap_or_default().to_zoned_datetime(self.zone.clone()).date()
    }

    fn put(&self, table: Table, start: i64, dimension: Dimension, mut block: Block) -> Result<(), TalliesError> {
        if block.is_empty() {
            return Ok(());
        }
        block.keep_largest(self.limits.keys, |key| self.limits.kept.holds(dimension, key));
        store::put(self.db, table, start, dimension, &block.to_bytes())
    }

    pub(crate) fn forget(&self, newest: Timestamp) -> Result<(), TalliesError> {
        let before = |kept: SignedDuration| newest.checked_sub(kept).unwrap_or(Timestamp::MIN);
        let minute = before(self.limits.minutes).as_second().div_euclid(3600) * 60;
        // Once an hour is enough.
        if store::known(self.db, "minutes_from")?.as_deref() == Some(&*minute.to_string()) {
            return Ok(());
        }
        let hour = before(self.limits.hours).as_second().div_euclid(3600);
        let day = day_number(before(self.limits.days).to_zoned_datetime(self.zone.clone()).date());
        store::forget(self.db, Table::Minute, minute)?;
        store::forget(self.db, Table::Hour, hour)?;
        store::forget(self.db, Table::Day, day)?;
        store::forget(self.db, Table::Cohort, day)?;
        store::know(self.db, "minutes_from", &minute.to_string())
    }
}
