//! The sums, and where in the log they end.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::Path,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use posthaste_monitor::Position;
use rusqlite::{Connection, Transaction};

use crate::{
    Block, Damaged, Delta, Dimension, Kept, TalliesError,
    cells::Encoded,
    delta::begin_of,
    encoding,
    store::{self, Table, VERSION},
};

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long minutes are kept. Two days at least, since days are made of them where a zone's days begin within an hour.
    pub minutes: SignedDuration,
    /// How long hours are kept.
    pub hours: SignedDuration,
    /// How long days are kept.
    pub days: SignedDuration,
    /// Keys of each dimension that have figures of their own in each span, the largest; the rest share one.
    pub keys: usize,
    /// Keys that have figures of their own in any case. They count among `keys`.
    pub kept: Arc<Kept>,
}

impl Default for Limits {
    fn default() -> Self {
        let hours = SignedDuration::from_hours;
        Self { minutes: hours(48), hours: hours(90 * 24), days: hours(400 * 24), keys: 500, kept: Arc::default() }
    }
}

/// A span of time: from its begin up to, but not including, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The begin.
    pub from: Timestamp,
    /// The end.
    pub to: Timestamp,
}

/// How fine a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// A figure for each minute.
    Minute,
    /// For each hour.
    Hour,
    /// For each day of the time zone.
    Day,
}

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
        self.reader()?.sum(dimension, span)
    }

    /// What each minute, hour or day of a span comes to, with its begin. Where there was nothing, there is no figure.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn series(&self, dimension: Dimension, span: Span, grain: Grain) -> Result<Vec<(Timestamp, Block)>, TalliesError> {
        let (mut series, reader) = (Vec::new(), self.reader()?);
        let mut from = self.begin(span.from, grain);
        while from < span.to {
            let Some(to) = self.next(from, grain).filter(|next| *next > from) else { break };
            let block = reader.sum(dimension, Span { from, to })?;
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

    fn reader(&self) -> Result<Reader<'_>, TalliesError> {
        Ok(Reader { db: &self.db, zone: &self.zone, closed: self.closed()?, minutes_from: self.number("minutes_from")? })
    }

    fn closed(&self) -> Result<Closed, TalliesError> {
        Ok(Closed { hours: self.number("hours_closed")?, days: self.number("days_closed")? })
    }

    fn number(&self, name: &str) -> Result<Option<i64>, TalliesError> {
        Ok(store::known(&self.db, name)?.and_then(|text| text.parse().ok()))
    }
}

/// A cohort's keys come in over a whole day, so more of them get a place of their own.
const COHORT_KEYS: usize = 4;
/// So many times more keys have a place while it is not known yet which are the largest: in the minutes of an hour that is not closed, and in a
/// cohort whose day is not.
pub(crate) const OPEN: usize = 16;
/// Hours and days are closed so long after their end: the lines of several threads come in a little out of order.
pub(crate) const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// The hours and days that have sums of their own: all before these.
#[derive(Clone, Copy)]
struct Closed {
    hours: Option<i64>,
    days: Option<i64>,
}

/// Makes hours of minutes and days of hours, and forgets what is too old.
struct Sums<'a> {
    db: &'a Transaction<'a>,
    zone: &'a TimeZone,
    limits: &'a Limits,
}

impl Sums<'_> {
    fn merge(&self, table: Table, start: i64, blocks: &[Encoded], most: usize) -> Result<(), TalliesError> {
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
    fn sort(&self, delta: &Delta) -> Result<(), TalliesError> {
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
    fn merge_late(&self, minute: i64, blocks: &[Encoded], closed: &Closed) -> Result<(), TalliesError> {
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
    fn close(&self, closed: Closed, first: Option<i64>, newest: Timestamp) -> Result<(), TalliesError> {
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
        let reader = Reader { db: self.db, zone: self.zone, closed, minutes_from: None };
        for dimension in Dimension::ALL {
            self.put(Table::Day, day, *dimension, reader.sum(*dimension, Span { from, to })?)?;
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

    fn forget(&self, newest: Timestamp) -> Result<(), TalliesError> {
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

/// Adds up the fewest blocks that make a span: days, hours at its ends, minutes at theirs.
struct Reader<'a> {
    db: &'a Connection,
    zone: &'a TimeZone,
    closed: Closed,
    /// The first minute that is kept; None if all are.
    minutes_from: Option<i64>,
}

impl Reader<'_> {
    fn sum(&self, dimension: Dimension, span: Span) -> Result<Block, TalliesError> {
        let mut sum = Block::default();
        self.add_span(dimension, span, &mut |block| sum.add_bytes(block, usize::MAX, |_| true))?;
        Ok(sum)
    }

    fn add_span(&self, dimension: Dimension, span: Span, add: &mut dyn FnMut(&[u8]) -> Result<(), Damaged>) -> Result<(), TalliesError> {
        let (from, to) = (span.from.as_second().div_euclid(60), span.to.as_second().div_euclid(60));
        if from >= to {
            return Ok(());
        }
        if let Some((first, last)) = self.whole_days(span) {
            let (begin, end) = (begin_of(first, self.zone), begin_of(last, self.zone));
            let (Some(begin), Some(end)) = (begin, end) else { return Ok(()) };
            self.add_hours(dimension, (from, begin.as_second().div_euclid(60)), add)?;
            store::blocks(self.db, Table::Day, (day_number(first), day_number(last)), dimension, |_, block| add(block))?;
            return self.add_hours(dimension, (end.as_second().div_euclid(60), to), add);
        }
        self.add_hours(dimension, (from, to), add)
    }

    /// The days that lie whole within the span and are closed: from the first up to, but not including, the second.
    fn whole_days(&self, span: Span) -> Option<(Date, Date)> {
        let date = |time: Timestamp| time.to_zoned_datetime(self.zone.clone()).date();
        let mut first = date(span.from);
        if begin_of(first, self.zone)? < span.from {
            first = first.tomorrow().ok()?;
        }
        let last = date(span.to).min(date_of(self.closed.days?));
        (first < last).then_some((first, last))
    }

    /// Adds the minutes `from..to`: by whole hours where there are any.
    fn add_hours(
        &self,
        dimension: Dimension,
        (from, to): (i64, i64),
        add: &mut dyn FnMut(&[u8]) -> Result<(), Damaged>,
    ) -> Result<(), TalliesError> {
        let mut minutes = |from: i64, to: i64| match from < to {
            true => store::blocks(self.db, Table::Minute, (from, to), dimension, |_, block| add(block)),
            false => Ok(()),
        };
        // Where minutes are gone, an hour that begins in the span stands for them.
        let gone = self.minutes_from.unwrap_or(i64::MIN);
        let first = if from < gone { from.div_euclid(60) } else { (from + 59).div_euclid(60) };
        let last = to.div_euclid(60).min(self.closed.hours.unwrap_or(i64::MIN));
        if first >= last {
            return minutes(from, to);
        }
        minutes(from, first * 60)?;
        minutes(last * 60, to)?;
        store::blocks(self.db, Table::Hour, (first, last), dimension, |_, block| add(block))
    }
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

/// Days since 1970.
fn day_number(date: Date) -> i64 {
    (date - Date::constant(1970, 1, 1)).get_days().into()
}

fn date_of(number: i64) -> Date {
    let days = i32::try_from(number).unwrap_or(0);
    Date::constant(1970, 1, 1).checked_add(days.days()).unwrap_or(Date::ZERO)
}
