//! A day as admission sees it: the hours, the release line and the numbers that decide whether a recipient may go.

use jiff::Timestamp;

use crate::{
    admission::Hold,
    day::Day,
    ledger::DayStart,
    pace::{HourCap, Pace, Priority, Release},
    plan::Plan,
    window::Span,
};

/// The hours and the release line of a day. They are worked out from its record and the plan, and are not stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DaySchedule {
    pub(crate) open: Option<(Timestamp, Timestamp)>,
    /// `None` without a cap or without a window.
    pub(crate) release: Option<Release>,
    pub(crate) hour_cap: Option<HourCap>,
}

/// A day at some time, to find out why no recipient may go.
pub(crate) struct DayView {
    pub(crate) day: DayNumbers,
    schedule: DaySchedule,
    ends: Timestamp,
}

/// The numbers of a day that admission needs.
pub(crate) struct DayNumbers {
    pub(crate) stage: crate::curve::Stage,
    pub(crate) cap: Option<u32>,
    pub(crate) charge: u32,
    hour: (i64, u32),
}

impl DaySchedule {
    /// For the beginning of a day: a burst is ready.
    pub(crate) fn fresh(day: &Day, span: &Span, plan: &Plan) -> Self {
        let hour_cap = hour_cap(day, plan);
        let release =
            span.open.zip(day.cap).map(|(open, cap)| Release::new(&plan.pace, open, open.0, cap, day.charge(), plan.pace.burst.get()));
        Self { open: span.open, release, hour_cap }
    }

    /// For the middle of a day, such as after a restart: no burst is ready, as it may just have been sent.
    pub(crate) fn resumed(day: &Day, plan: &Plan) -> Self {
        let span = plan.pace.window.span(day.date, &plan.pace.zone);
        if day.charge() == 0 { Self::fresh(day, &span, plan) } else { Self::over(span, day, plan, day.as_of, 0) }
    }

    /// For a changed cap or changed hours: recipients that were ready stay ready.
    pub(crate) fn moved(day: &Day, plan: &Plan, now: Timestamp, ready: u32) -> Self {
        Self::over(plan.pace.window.span(day.date, &plan.pace.zone), day, plan, now, ready)
    }

    /// The release line from `now` on.
    pub(crate) fn line(&self, pace: &Pace, now: Timestamp, day: &Day, ready: u32) -> Release {
        let open = self.open.expect("a day with a release has a window");
        Release::new(pace, open, now, day.cap.unwrap_or(u32::MAX), day.charge(), ready)
    }

    fn over(span: Span, day: &Day, plan: &Plan, since: Timestamp, ready: u32) -> Self {
        let release = span.open.zip(day.cap).map(|(open, cap)| Release::new(&plan.pace, open, since, cap, day.charge(), ready));
        Self { open: span.open, release, hour_cap: hour_cap(day, plan) }
    }
}

fn hour_cap(day: &Day, plan: &Plan) -> Option<HourCap> {
    plan.curve.hour_cap(day.stage).map(|cap| HourCap::new(&plan.pace, cap))
}

impl DayView {
    pub(crate) fn of(day: &Day, schedule: DaySchedule, ends: Timestamp, time: Timestamp) -> Self {
        let day = DayNumbers { stage: day.stage, cap: day.cap, charge: day.charge(), hour: day.hour_at(time) };
        Self { day, schedule, ends }
    }

    /// Why this day lets no recipient go at this time, and until when (on this day or the next).
    pub(crate) fn blocked(&self, time: Timestamp, priority: Priority) -> Option<(Timestamp, Hold)> {
        let Some((opens, closes)) = self.schedule.open else { return Some((self.ends, Hold::Window)) };
        if time < opens {
            return Some((opens, Hold::Window));
        }
        if time >= closes {
            return Some((self.ends, Hold::Window));
        }
        if let (Some(cap), Some(release)) = (self.day.cap, &self.schedule.release)
            && let Some(held) = self.unreleased(cap, release, closes, time, priority)
        {
            return Some(held);
        }
        let (hours, (hour, used)) = (self.schedule.hour_cap?, self.day.hour);
        let held = used >= hours.until(hour, time, priority);
        // Where days begin within an hour, the next one may have no such cap.
        held.then(|| (hours.time_of(hour, used.saturating_add(1), priority, time).min(self.ends), Hold::HourCap { cap: hours.cap }))
    }

    fn unreleased(&self, cap: u32, release: &Release, closes: Timestamp, time: Timestamp, priority: Priority) -> Option<(Timestamp, Hold)> {
        let used = self.day.charge;
        if used >= cap {
            return Some((self.ends, Hold::DayCap { cap, used }));
        }
        if release.until(time, priority) > used {
            return None;
        }
        let when = release.time_of(used + 1, priority, time);
        if when >= closes {
            // The rest of the cap does not fit into the rest of the day.
            return Some((self.ends, Hold::DayCap { cap, used }));
        }
        Some((when, Hold::Spread { cap, used }))
    }
}

impl Day {
    /// The day, extended to the length that the time zone's clocks give it, if that is longer than planned.
    pub(crate) fn longer(mut self, span: &Span) -> Self {
        (self.starts, self.ends) = (self.starts.min(span.starts), self.ends.max(span.ends));
        self
    }

    /// A new day.
    pub(crate) fn fresh(span: &Span, start: &DayStart, plan: &Plan, before: Option<&Self>) -> Self {
        Self {
            date: span.date,
            starts: span.starts,
            ends: span.ends,
            stage: start.stage,
            cap: plan.curve.cap(start.stage),
            leased: 0,
            lost: 0,
            counts: crate::health::Counts::default(),
            // The day's first hour may be the last hour of the day before, if the time zone is not whole hours from UTC.
            hour: before.map_or((i64::MIN / 2, 0), |day| day.hour),
            as_of: span.starts,
            last_sent: start.last_sent,
            stepped_back: false,
            stepped_back_at: None,
            closed: None,
            reserved: 0,
            hour_debt: 0,
        }
    }
}
