//! What a span of time comes to, from the fewest blocks that cover it.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rusqlite::Connection;

use crate::{
    Block, Damaged, Dimension, Span, TalliesError,
    span::{begin_of, date_of, day_number},
    store::{self, Table},
};

/// The hours and days that have sums of their own: all before these.
#[derive(Clone, Copy)]
pub(crate) struct Closed {
    pub(crate) hours: Option<i64>,
    pub(crate) days: Option<i64>,
}

/// Adds up the fewest blocks that make a span: days, hours at its ends, minutes at theirs.
pub(crate) struct Cover<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) zone: &'a TimeZone,
    pub(crate) closed: Closed,
    /// The first minute that is kept; None if all are.
    pub(crate) minutes_from: Option<i64>,
}

impl Cover<'_> {
    /// What the span comes to.
    pub(crate) fn sum(&self, dimension: Dimension, span: Span) -> Result<Block, TalliesError> {
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
