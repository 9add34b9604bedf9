//! A lane's days. Each civil day has at most one budget, ever: restarts, clock steps and new time zones cannot change that.

use jiff::{Timestamp, civil::Date};

use crate::{curve::Stage, day::Day, health::Counts, pace::Pace, plan::Plan, time::after, window::Span};

/// The most days kept of a lane. They are counted and not limited by age, so that a clock that jumps ahead forgets nothing.
pub const DAYS_MAX: usize = 400;

/// The days of one lane, in order.
#[derive(Clone, Debug, Default)]
pub struct DayLedger {
    days: Vec<Day>,
    current: Option<usize>,
    touched: Vec<Date>,
    forgotten: Vec<Date>,
}

/// The day that a time belongs to.
pub(crate) enum DayAt {
    /// The open day.
    Here,
    /// The open day, which was planned to end earlier and goes on by the time zone's clocks.
    Longer(Span),
    /// A day that was opened before and is not over, or has no cap.
    Again(usize, Span),
    /// A day that is not in the ledger.
    Fresh(Span),
    /// A day that is over, or that lies before one whose budget was given already. The next day may open at this time.
    Closed(Timestamp),
}

/// How a new day starts.
pub(crate) struct DayStart {
    pub(crate) stage: Stage,
    /// The number of idle days, if the lane starts again because of them.
    pub(crate) idle: Option<u32>,
    pub(crate) last_sent: Option<Date>,
}

impl DayLedger {
    /// The days on record, oldest first.
    pub fn days(&self) -> &[Day] {
        &self.days
    }

    /// The day of this date, if there is a record of it.
    pub fn day(&self, date: Date) -> Option<&Day> {
        self.find(date).ok().map(|index| &self.days[index])
    }

    /// The day that is open, or was open last.
    pub(crate) fn current(&self) -> Option<&Day> {
        self.current.map(|index| &self.days[index])
    }

    /// Restores a day from the durable record. Recipients leased and not accounted for count as sent.
    pub(crate) fn restore(&mut self, mut day: Day) {
        let unaccounted = day.leased.saturating_sub(day.charge());
        day.lost = day.lost.saturating_add(unaccounted);
        day.hour_debt = if day.closed.is_none() { unaccounted } else { 0 };
        match self.find(day.date) {
            Ok(index) => self.days[index] = day,
            Err(index) => {
                if self.current.is_some_and(|current| index <= current) {
                    self.current = self.current.map(|current| current + 1);
                }
                self.days.insert(index, day);
            }
        }
    }

    /// The first call after a restart: recipients lost in a crash may have been sent within this hour.
    pub(crate) fn woke(&mut self, now: Timestamp) {
        for day in self.days.iter_mut().filter(|day| day.hour_debt > 0) {
            (day.hour, day.hour_debt) = (day.hour_at(now), 0);
        }
    }

    /// Adds what another count of the same day knows, such as the event log's. It never refills the day: recipients that the log
    /// knows to be sent either counted as lost before, or are added.
    pub(crate) fn recount(&mut self, date: Date, counts: Counts) {
        if let Ok(index) = self.find(date) {
            let day = &mut self.days[index];
            let found = day.counts.at_least(counts);
            day.lost = day.lost.saturating_sub(found.spent - day.counts.spent);
            day.counts = found;
            self.touch(date);
        }
    }

    pub(crate) fn current_mut(&mut self) -> Option<&mut Day> {
        self.current.map(|index| &mut self.days[index])
    }

    pub(crate) fn at_index(&self, index: usize) -> &Day {
        &self.days[index]
    }

    pub(crate) fn day_mut(&mut self, date: Date) -> Option<&mut Day> {
        self.find(date).ok().map(|index| &mut self.days[index])
    }

    /// The last day, which decides the stage of the next one.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Day> {
        self.days.last_mut()
    }

    /// The day that `now` belongs to. A day without a cap has no budget that could be refilled, so it opens again if the clock goes back
    /// into it. With a cap, no day opens before one whose budget was used already, however far the clock goes back: nobody can tell whether it was
    /// wrong before or is wrong now. `free`: no day of the lane has a cap.
    pub(crate) fn locate(&self, now: Timestamp, pace: &Pace, free: bool) -> DayAt {
        if self.current().is_some_and(|day| day.is_open_at(now)) {
            return DayAt::Here;
        }
        // After a restart no day is current, and the time zone may have changed: a day that by its record has not ended goes on.
        let running = self.days.partition_point(|day| day.starts <= now).checked_sub(1);
        if let Some(index) = running.filter(|index| self.days[*index].is_open_at(now)) {
            return DayAt::Again(index, pace.window.span(self.days[index].date, &pace.zone));
        }
        let span = pace.span_at(now);
        match self.find(span.date) {
            Ok(index) if self.days[index].closed.is_some() && !self.days[index].is_free(free) => {
                DayAt::Closed(self.reopens(index + 1, &span, now))
            }
            // A day that was closed while it was the current one opens anew.
            Ok(index) if Some(index) == self.current && self.days[index].closed.is_none() => DayAt::Longer(span),
            Ok(index) => DayAt::Again(index, span),
            Err(index) => match self.days[index..].iter().find(|later| later.starts > now && later.charge() > 0 && !later.is_free(free)) {
                // By its record, or by the time zone in force now.
                Some(later) => DayAt::Closed(later.starts.min(pace.window.span(later.date, &pace.zone).starts)),
                None => DayAt::Fresh(span),
            },
        }
    }

    /// When the next day may open: by its record, or by the time zone in force now.
    fn reopens(&self, next: usize, span: &Span, now: Timestamp) -> Timestamp {
        let ends = span.ends.max(after(now, 1));
        self.days.get(next).map(|later| later.starts).filter(|starts| *starts > now).map_or(ends, |starts| starts.min(ends))
    }

    /// How a day of this date starts: by the verdict of the last day before it, or the verdict it would have if it were over.
    pub(crate) fn day_start(&self, date: Date, plan: &Plan, held: bool, first: Stage) -> DayStart {
        let before = self.find(date).unwrap_or_else(|index| index);
        let Some(day) = before.checked_sub(1).map(|index| &self.days[index]) else {
            return DayStart { stage: first, idle: None, last_sent: None };
        };
        let last_sent = day.sent_last();
        let idle = last_sent.map_or(0, |last| (date.duration_since(last).as_hours() / 24 - 1).clamp(0, i64::from(u32::MAX)) as u32);
        if idle >= plan.idle_reset.get() {
            return DayStart { stage: Stage::FIRST, idle: Some(idle), last_sent };
        }
        let closing = day.closed.unwrap_or_else(|| day.closing(plan, held));
        DayStart { stage: closing.next, idle: None, last_sent }
    }

    /// Closes every day before `date` that is not closed, and returns their dates.
    pub(crate) fn close_before(&mut self, date: Date, plan: &Plan, held: bool) -> Vec<Date> {
        let mut closed = Vec::new();
        for day in self.days.iter_mut().rev().skip_while(|day| day.date >= date) {
            if day.closed.is_some() {
                // Days close in order: all before this one are closed.
                break;
            }
            day.closed = Some(day.closing(plan, held));
            closed.push(day.date);
        }
        closed.reverse();
        self.touched.extend(&closed);
        closed
    }

    /// Makes this the open day.
    pub(crate) fn open(&mut self, day: Day) {
        let date = day.date;
        match self.find(date) {
            Ok(index) => {
                self.days[index] = day;
                self.current = Some(index);
            }
            Err(index) => {
                self.days.insert(index, day);
                self.current = Some(index);
            }
        }
        self.touch(date);
        while self.days.len() > DAYS_MAX && self.current != Some(0) {
            self.forgotten.push(self.days.remove(0).date);
            self.current = self.current.map(|current| current - 1);
        }
    }

    /// Forgets the days that begin after `now`: they were opened while the clock was ahead. True if there were any.
    pub(crate) fn forget_after(&mut self, now: Timestamp) -> bool {
        let kept = self.days.partition_point(|day| day.starts <= now);
        let gone = self.days.drain(kept..).map(|day| day.date);
        let before = self.forgotten.len();
        self.forgotten.extend(gone);
        self.touched.retain(|date| !self.forgotten[before..].contains(date));
        self.current = self.current.filter(|current| *current < kept);
        self.forgotten.len() > before
    }

    /// Drops all but the last `days` days and the open one from memory; nothing is deleted from the disk.
    pub(crate) fn keep_last(&mut self, days: usize) {
        let gone = self.days.len().saturating_sub(days).min(self.current.unwrap_or(0));
        self.days.drain(..gone);
        self.current = self.current.map(|current| current - gone);
    }

    /// Marks a day whose record has to be written.
    pub(crate) fn touch(&mut self, date: Date) {
        if !self.touched.contains(&date) {
            self.touched.push(date);
        }
    }

    pub(crate) fn is_touched(&self) -> bool {
        !self.touched.is_empty() || !self.forgotten.is_empty()
    }

    pub(crate) fn take_touched(&mut self) -> (Vec<Date>, Vec<Date>) {
        (std::mem::take(&mut self.touched), std::mem::take(&mut self.forgotten))
    }

    fn find(&self, date: Date) -> Result<usize, usize> {
        self.days.binary_search_by_key(&date, |day| day.date)
    }
}
