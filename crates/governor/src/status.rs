//! The status of a lane: everything that an operator wants to see.

use std::num::NonZeroU32;

use jiff::{Timestamp, civil::Date};

use crate::{
    admission::Hold,
    curve::Stage,
    day::{Closing, Verdict},
    governor::Governor,
    health::{Counts, Health},
    key::LaneId,
    lane::Lane,
    pace::Priority,
    time::hour_start,
};

/// The least seconds by which the recipients of a started hour are divided to estimate its rate.
const LEAST_OF_HOUR: i64 = 600;

/// A lane at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The stage of this day.
    pub stage: Stage,
    /// The number of stages of the curve.
    pub stages: u32,
    /// The civil day in the plan's time zone; `None` if the clock is in a day that is over.
    pub date: Option<Date>,
    /// The day's cap; `None` for any number.
    pub cap: Option<u32>,
    /// How much of it is used: spent, reserved, or lost in a crash.
    pub used: u32,
    /// Recipients reserved by unsettled permits.
    pub reserved: u32,
    /// Recipients leased before a crash and never accounted for.
    pub lost: u32,
    /// What is left of the cap.
    pub remaining: Option<u32>,
    /// The day's outcomes.
    pub counts: Counts,
    /// The day's rates.
    pub health: Health,
    /// When the next recipient may go: now, if nothing prevents it.
    pub next_release: Timestamp,
    /// Why no recipient may go now.
    pub hold: Option<Hold>,
    /// Recipients an hour during a climb after a provider's push-back.
    pub rate: Option<u32>,
    /// Simultaneous connections during such a climb.
    pub connections: Option<u32>,
    /// How the last closed day ended: why the stage is what it is.
    pub last: Option<(Date, Closing)>,
    /// The day's verdict if nothing more happens on it.
    pub verdict: Verdict,
    /// The stage of the next day, if nothing more happens on this one.
    pub next_stage: Stage,
    /// The cap of the next day, if nothing more happens on this one.
    pub next_cap: Option<u32>,
}

impl Governor {
    /// The status of a lane at `now`. Asking changes nothing.
    pub fn status(&self, lane: LaneId, now: Timestamp) -> Status {
        self.lane(lane).status(now)
    }
}

impl Lane {
    /// About how many recipients an hour the lane sends now: the rate of its climb, else the rate that its cap comes to, else an estimate
    /// from this hour so far.
    pub fn hourly(&self, now: Timestamp) -> Option<NonZeroU32> {
        if let Some(slowed) = self.restrictions.slow.as_ref().and_then(|slow| slow.rate(now)) {
            return Some(slowed);
        }
        self.plan.usual_rate(self.stage()).or_else(|| {
            let (hour, count) = self.ledger.current()?.hour_at(now);
            let passed = now.duration_since(hour_start(hour)).as_secs().clamp(LEAST_OF_HOUR, 3600) as u64;
            NonZeroU32::new(u32::try_from(u64::from(count) * 3600 / passed).unwrap_or(u32::MAX))
        })
    }

    pub(crate) fn status(&self, now: Timestamp) -> Status {
        let hold = self.blocked(now, Priority::Usual);
        let next_release = hold.as_ref().map_or(now, |(first, _)| self.first_open(*first, Priority::Usual));
        let view = self.view(now).ok();
        let date = view
            .as_ref()
            .map(|_| self.ledger.current().filter(|day| day.is_open_at(now)))
            .map(|open| open.map_or_else(|| self.plan.pace.span_at(now).date, |day| day.date));
        let day = date.and_then(|date| self.ledger.day(date));
        let counts = day.map(|day| day.counts).unwrap_or_default();
        let (stage, cap, used) =
            view.map_or((self.stage(), self.plan.curve.cap(self.stage()), 0), |view| (view.day.stage, view.day.cap, view.day.charge));
        let closing =
            day.map_or(Closing { verdict: Verdict::Idle, next: stage }, |day| day.closing(&self.plan, self.restrictions.held.is_some()));
        let slow = self.restrictions.slow.as_ref();
        Status {
            stage,
            stages: self.plan.curve.stages(),
            date,
            cap,
            used,
            reserved: day.map_or(0, |day| day.reserved),
            lost: day.map_or(0, |day| day.lost),
            remaining: cap.map(|cap| cap.saturating_sub(used)),
            counts,
            health: self.plan.thresholds.read(&counts),
            next_release,
            hold: hold.map(|(_, hold)| hold),
            rate: slow.and_then(|slow| slow.rate(now)).map(Into::into),
            connections: slow.and_then(|slow| slow.connections(now)).map(Into::into),
            last: self.last_closed(date),
            verdict: closing.verdict,
            next_stage: closing.next,
            next_cap: self.plan.curve.cap(closing.next),
        }
    }

    fn last_closed(&self, before: Option<Date>) -> Option<(Date, Closing)> {
        let mut days = self.ledger.days().iter().rev().filter(|day| before.is_none_or(|date| day.date < date));
        days.find_map(|day| Some((day.date, day.closed?)))
    }
}
