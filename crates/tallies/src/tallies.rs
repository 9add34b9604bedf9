//! The sums, and where in the log they end.

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use posthaste_monitor::Position;
use rusqlite::Connection;

use crate::{
    Block, Delta, Dimension, Grain, Kept, Limits, Span, TalliesError,
    cover::{Closed, Cover},
    span::{begin_of, date_of, day_number},
    store::{self, Table, VERSION},
    sums::{COHORT_KEYS, OPEN, Sums},
};

/// The sums of the log up to a place in it.
pub struct Tallies {
    db: Connection,
    zone: TimeZone,
    limits: Limits,
}

impl std::fmt::Debug for Tallies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tallies").field("zone", &self.zone.iana_name()).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Tallies {
    /// Refuses tallies that another version wrote. Changes nothing, not even beside the file; the file need not exist, and may be damaged.
    ///
    /// # Errors
    /// Another version wrote them.
    pub fn refuse_unknown(path: &Path) -> Result<(), TalliesError> {
        match store::version_as_it_lies(path) {
            Ok(Some(version)) if version != VERSION => Err(TalliesError::Version(version)),
            _ => Ok(()),
        }
    }

    /// Opens the tallies for writing; the file need not exist. If days were those of another zone before, everything is counted again: days
    /// cannot be moved.
    ///
    /// # Errors
    /// The file cannot be read or written, or another version wrote it; then it is left alone.
    pub fn open(path: &Path, zone: TimeZone, limits: Limits) -> Result<Self, TalliesError> {
        let mut db = store::create(path)?;
        match store::known(&db, "version")? {
            Some(version) if version != VERSION => return Err(TalliesError::Version(version)),
            _ => store::know(&db, "version", VERSION)?,
        }
        let name = zone_name(&zone);
        if store::known(&db, "zone")?.is_some_and(|before| before != name) {
            let change = db.transaction()?;
            change.execute_batch("DELETE FROM block; DELETE FROM known WHERE name <> 'version';")?;
            change.commit()?;
        }
        store::know(&db, "zone", &name)?;
        Ok(Self { db, zone, limits })
    }

    /// Opens the tallies to look, also while a relay writes them.
    ///
    /// # Errors
    /// There are none, they cannot be read, or another version wrote them.
    pub fn look(path: &Path) -> Result<Self, TalliesError> {
        let db = store::open(path)?;
        match store::known(&db, "version")? {
            Some(version) if version == VERSION => {}
            other => return Err(TalliesError::Version(other.unwrap_or_else(|| "none".into()))),
        }
        let zone = store::known(&db, "zone")?.and_then(|name| TimeZone::get(&name).ok()).unwrap_or(TimeZone::UTC);
        Ok(Self { db, zone, limits: Limits::default() })
    }

    /// Keeps figures of these keys from now on, whatever else there is.
    pub fn keep(&mut self, kept: Arc<Kept>) {
        self.limits.kept = kept;
    }

    /// The zone of its days.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The place in the log up to which lines were counted; None at its beginning.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn position(&self) -> Result<Option<Position>, TalliesError> {
        Ok(store::known(&self.db, "position")?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The time of the newest line that was counted.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn newest(&self) -> Result<Option<Timestamp>, TalliesError> {
        self.number("newest").map(|millisecond| millisecond.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
    }

    /// Adds what the lines up to `position` come to. All of it is saved, or nothing.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn add(&mut self, delta: &Delta, position: Option<Position>) -> Result<(), TalliesError> {
        let newest = self.newest()?.max(delta.newest);
        let closed = self.closed()?;
        let change = self.db.transaction()?;
        let sums = Sums { db: &change, zone: &self.zone, limits: &self.limits };
        let mut first = None;
        for (minute, blocks) in delta.minutes() {
            first.get_or_insert(minute);
            let is_open = closed.hours.is_none_or(|open| minute.div_euclid(60) >= open);
            sums.merge(Table::Minute, minute, &blocks, if is_open { OPEN } else { 1 } * self.limits.keys)?;
            sums.merge_late(minute, &blocks, &closed)?;
        }
        for (date, blocks) in delta.cohorts() {
            let day = day_number(date);
            let is_open = closed.days.is_none_or(|open| day >= open);
            sums.merge(Table::Cohort, day, &blocks, if is_open { OPEN } else { COHORT_KEYS } * self.limits.keys)?;
        }
        sums.merge(Table::Ever, 0, &delta.ever(), self.limits.keys)?;
        sums.sort(delta)?;
        if let Some(newest) = newest {
            sums.close(closed, first, newest)?;
            sums.forget(newest)?;
            store::know(&change, "newest", &newest.as_millisecond().to_string())?;
        }
        if let Some(position) = position {
            store::know(&change, "position", &serde_json::to_string(&position).expect("a position is plain data"))?;
        }
        change.commit()?;
        Ok(())
    }

    /// Goes on behind a line that cannot be counted, and returns how many such lines there were.
    pub(crate) fn skip(&mut self, position: Position) -> Result<u64, TalliesError> {
        let count = self.skipped()?.saturating_add(1);
        let change = self.db.transaction()?;
        store::know(&change, "skipped", &count.to_string())?;
        store::know(&change, "position", &serde_json::to_string(&position).expect("a position is plain data"))?;
        change.commit()?;
        Ok(count)
    }

    /// Lines that made posthaste panic since all counting began: they count as nothing.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn skipped(&self) -> Result<u64, TalliesError> {
        Ok(self.number("skipped")?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
    }

    /// What a span comes to. Its ends are rounded down to whole minutes; older than minutes are kept, to whole hours, and so on.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn sum(&self, dimension: Dimension, span: Span) -> Result<Block, TalliesError> {
        self.cover()?.sum(dimension, span)
    }

    /// What each minute, hour or day of a span comes to, with its begin. Where there was nothing, there is no figure.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn series(&self, dimension: Dimension, span: Span, grain: Grain) -> Result<Vec<(Timestamp, Block)>, TalliesError> {
        let (mut series, cover) = (Vec::new(), self.cover()?);
        let mut from = self.begin(span.from, grain);
        while from < span.to {
            let Some(to) = self.next(from, grain).filter(|next| *next > from) else { break };
            let block = cover.sum(dimension, Span { from, to })?;
            if !block.is_empty() {
                series.push((from, block));
            }
            from = to;
        }
        Ok(series)
    }

    /// What became of the messages that were accepted on each of these days, first and last included.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn cohorts(&self, dimension: Dimension, first: Date, last: Date) -> Result<Vec<(Date, Block)>, TalliesError> {
        let mut days = Vec::new();
        self.each_cohort(dimension, first, last, |day, block| days.push((day, block)))?;
        Ok(days)
    }

    /// The same, of which one day at a time is in memory: a day that is not over has many keys.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn each_cohort(
        &self,
        dimension: Dimension,
        first: Date,
        last: Date,
        mut each: impl FnMut(Date, Block),
    ) -> Result<(), TalliesError> {
        let days = (day_number(first), day_number(last) + 1);
        store::blocks(&self.db, Table::Cohort, days, dimension, |number, block| {
            each(date_of(number), Block::from_bytes(block)?);
            Ok(())
        })
    }

    /// Everything that was ever counted, for [`Dimension::All`], `Provider`, `Source`, `Stream`, `Class` and `Reason`: figures that only rise, and
    /// the only ones with histograms.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn ever(&self, dimension: Dimension) -> Result<Block, TalliesError> {
        store::block(&self.db, Table::Ever, 0, dimension)
    }

    fn begin(&self, time: Timestamp, grain: Grain) -> Timestamp {
        let floor = |seconds: i64| Timestamp::from_second(time.as_second().div_euclid(seconds) * seconds).unwrap_or(time);
        match grain {
            Grain::Minute => floor(60),
            Grain::Hour => floor(3600),
            Grain::Day => begin_of(time.to_zoned_datetime(self.zone.clone()).date(), &self.zone).unwrap_or(time),
        }
    }

    fn next(&self, begin: Timestamp, grain: Grain) -> Option<Timestamp> {
        match grain {
            Grain::Minute => begin.checked_add(SignedDuration::from_mins(1)).ok(),
            Grain::Hour => begin.checked_add(SignedDuration::from_hours(1)).ok(),
            Grain::Day => begin_of(begin.to_zoned_datetime(self.zone.clone()).date().checked_add(1.day()).ok()?, &self.zone),
        }
    }

    fn cover(&self) -> Result<Cover<'_>, TalliesError> {
        Ok(Cover { db: &self.db, zone: &self.zone, closed: self.closed()?, minutes_from: self.number("minutes_from")? })
    }

    fn closed(&self) -> Result<Closed, TalliesError> {
        Ok(Closed { hours: self.number("hours_closed")?, days: self.number("days_closed")? })
    }

    fn number(&self, name: &str) -> Result<Option<i64>, TalliesError> {
        Ok(store::known(&self.db, name)?.and_then(|text| text.parse().ok()))
    }
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}
