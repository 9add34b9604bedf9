//! One lane: a source at a provider.

mod steer;

use std::{num::NonZeroU32, sync::Arc};

use jiff::{Timestamp, civil::Date};

use crate::{
    admission::{Admission, Hold, Outcome, Permit},
    backoff::Restrictions,
    change::Change,
    curve::Stage,
    day::Day,
    key::{LaneId, LaneKey},
    ledger::{DAYS_MAX, DayAt, DayLedger},
    pace::Priority,
    plan::Plan,
    shape::{Shape, Shaper},
    view::{DaySchedule, DayView},
};

/// A source at a provider, with its plan, its days, and its pauses and climbs.
#[derive(Clone, Debug)]
pub struct Lane {
    pub(crate) id: LaneId,
    pub(crate) key: LaneKey,
    pub(crate) plan: Arc<Plan>,
    pub(crate) first: Stage,
    pub(crate) ledger: DayLedger,
    pub(crate) restrictions: Restrictions,
    pub(crate) restrictions_touched: bool,
    pub(crate) shaper: Shaper,
    /// The open day's hours and release line; `None` until they are worked out.
    pub(crate) schedule: Option<DaySchedule>,
    lease: Lease,
    /// Recipients settled since the day's record was last written.
    unsaved: u32,
    /// The last refusal of each priority, given again while it holds.
    refused: [Option<KnownRefusal>; 2],
    seen: Option<Timestamp>,
    pub(crate) changes: Vec<(Timestamp, Change)>,
}

/// How much of the day's cap is leased, and by which batch: the newest lease and the one before it.
#[derive(Clone, Debug, Default)]
struct Lease {
    before: (u32, u64),
    newest: (u32, u64),
}

#[derive(Clone, Debug)]
struct KnownRefusal {
    asked: Timestamp,
    until: Timestamp,
    hold: Hold,
}

/// The part of a day's cap that is leased ahead of need and that a crash may cost: a sixty-fourth, at most [`LEASE_MAX`] recipients.
const LEASE_PART: u32 = 64;
const LEASE_MAX: u32 = 1024;
/// Days that a lane without a curve remembers, in memory only.
const UNCAPPED_DAYS: usize = 8;
/// Settled recipients after which a day's record is written even if nothing was leased.
const UNSAVED_MAX: u32 = 256;

impl Lane {
    pub(crate) fn new(id: LaneId, key: LaneKey, plan: Arc<Plan>, first: Stage, shape: Shape, now: Timestamp) -> Self {
        let shaper = Shaper::new(shape, now);
        Self {
            id,
            key,
            plan,
            first,
            ledger: DayLedger::default(),
            restrictions: Restrictions::default(),
            restrictions_touched: false,
            shaper,
            schedule: None,
            lease: Lease::default(),
            unsaved: 0,
            refused: [None, None],
            seen: None,
            changes: Vec::new(),
        }
    }

    /// Its source and provider.
    pub fn key(&self) -> &LaneKey {
        &self.key
    }

    /// Its plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Its days.
    pub fn ledger(&self) -> &DayLedger {
        &self.ledger
    }

    /// Its pause, its climb and an operator's hold.
    pub fn restrictions(&self) -> &Restrictions {
        &self.restrictions
    }

    /// True if nothing limits the lane: no curve, no shape, no pause and no climb.
    pub(crate) fn is_free(&self) -> bool {
        self.plan.curve.is_uncapped()
            && self.restrictions.pause.is_none()
            && self.restrictions.slow.is_none()
            && self.shaper.shape().is_none()
    }

    /// The number of simultaneous connections, if the provider's push-back limits it.
    pub fn connections(&self, now: Timestamp) -> Option<NonZeroU32> {
        self.restrictions.slow.as_ref()?.connections(now)
    }

    /// Its stage, or the stage that it would start on now.
    pub fn stage(&self) -> Stage {
        self.ledger.days().last().map_or(self.first, |last| {
            let day = self.ledger.current().filter(|day| day.closed.is_none()).unwrap_or(last);
            day.closed.map_or(day.stage, |closing| closing.next)
        })
    }

    pub(crate) fn admit(&mut self, n: NonZeroU32, priority: Priority, now: Timestamp, batch: u64) -> Admission {
        if let Some((until, hold)) = self.refused(priority, now) {
            return Admission::NotBefore(until, hold);
        }
        self.turn_to(now, batch);
        match self.blocked(now, priority) {
            None => Admission::Go(self.grant(n, priority, now, batch)),
            Some((first, hold)) => {
                let until = self.first_open(first, priority);
                self.refused[priority as usize] = Some(KnownRefusal { asked: now, until, hold: hold.clone() });
                Admission::NotBefore(until, hold)
            }
        }
    }

    /// Like [`Self::admit`], but the provider's push-back holds nothing back.
    pub(crate) fn admit_last(&mut self, n: NonZeroU32, priority: Priority, now: Timestamp, batch: u64) -> Admission {
        self.turn_to(now, batch);
        let stopped = self.restrictions.hold(now).filter(|(_, hold)| matches!(hold, Hold::Stopped { .. }));
        match stopped.or_else(|| self.limited(now, priority)) {
            None => Admission::Go(self.grant(n, priority, now, batch)),
            Some((until, hold)) => Admission::NotBefore(until, hold),
        }
    }

    /// The last refusal, while it holds. That a day is over holds no longer than the clock is in it, even if nothing may go until later.
    pub(crate) fn refused(&self, priority: Priority, now: Timestamp) -> Option<(Timestamp, Hold)> {
        let refusal = self.refused[priority as usize].as_ref().filter(|refusal| refusal.asked <= now && now < refusal.until)?;
        let holds = !matches!(refusal.hold, Hold::DayOver) || self.view(now).is_err();
        holds.then(|| (refusal.until, refusal.hold.clone()))
    }

    /// Why no recipient may go at this time, and the first time at which that reason is gone.
    pub(crate) fn blocked(&self, time: Timestamp, priority: Priority) -> Option<(Timestamp, Hold)> {
        self.restrictions.hold(time).or_else(|| self.limited(time, priority))
    }

    /// The same, without what a provider's push-back holds.
    fn limited(&self, time: Timestamp, priority: Priority) -> Option<(Timestamp, Hold)> {
        let held = match self.view(time) {
            Err(until) => Some((until, Hold::DayOver)),
            Ok(view) => view.blocked(time, priority),
        };
        held.or_else(|| {
            let next = self.shaper.next(time);
            (next > time).then(|| (next, Hold::Shaped(self.shaper.shape())))
        })
    }

    /// The first time from `time` on at which a recipient may go, if nothing happens until then.
    pub(crate) fn first_open(&self, mut time: Timestamp, priority: Priority) -> Timestamp {
        // Each turn moves on to another hour, day or pause; if the lane ever opens, that is found in far fewer turns.
        for _ in 0..4 * DAYS_MAX {
            match self.blocked(time, priority) {
                Some((next, _)) if time < Timestamp::MAX => time = next,
                _ => break,
            }
        }
        time
    }

    /// Opens the day that `now` belongs to, unless that day is over.
    pub(crate) fn turn_to(&mut self, now: Timestamp, batch: u64) {
        if self.seen.is_none() {
            self.ledger.woke(now);
        }
        if self.seen.is_none_or(|seen| now < seen) {
            self.restrictions.clock_went_back(now);
            self.shaper.clock_went_back(now);
            self.redraw(now);
            self.forget_refusals();
        }
        self.seen = Some(now);
        if (self.restrictions.pause.is_some() || self.restrictions.slow.is_some()) && self.restrictions.tidy(now) {
            self.restrictions_touched = true;
            self.changes.push((now, Change::Resumed));
        }
        match self.locate(now) {
            DayAt::Here | DayAt::Closed(_) => {}
            DayAt::Longer(span) => {
                let day = self.ledger.current_mut().expect("a day that goes on is open");
                *day = day.clone().longer(&span);
                let date = day.date;
                self.ledger.touch(date);
            }
            at @ (DayAt::Again(..) | DayAt::Fresh(_)) => self.open(&at, now, batch),
        }
        if self.schedule.is_none() && self.ledger.current().is_some_and(|day| day.is_open_at(now)) {
            self.schedule = self.ledger.current().map(|day| DaySchedule::resumed(day, &self.plan));
        }
    }

    fn locate(&self, time: Timestamp) -> DayAt {
        self.ledger.locate(time, &self.plan.pace, self.plan.curve.is_uncapped())
    }

    /// The clock went back within the day: with the release line of the clock that was ahead, the lane would wait for that clock.
    fn redraw(&mut self, now: Timestamp) {
        let burst = self.plan.pace.burst.get();
        if let (Some(schedule), Some(day)) = (&mut self.schedule, self.ledger.current())
            && let Some(release) = &schedule.release
        {
            let ready = release.until(now, Priority::Urgent).saturating_sub(day.charge()).min(burst);
            schedule.release = Some(schedule.line(&self.plan.pace, now, day, ready));
        }
    }

    /// Closes the days before and opens this day.
    fn open(&mut self, at: &DayAt, now: Timestamp, batch: u64) {
        let (DayAt::Again(_, span) | DayAt::Fresh(span)) = at else { unreachable!("only these open") };
        let closed = self.close_before(span.date, now);
        let start = self.ledger.day_start(span.date, &self.plan, self.restrictions.held.is_some(), self.first);
        let fresh = !matches!(at, DayAt::Again(..));
        if let (Some(idle_days), true) = (start.idle, fresh) {
            self.changes.push((now, Change::Restarted { idle_days, to: start.stage }));
        }
        let mut day = match at {
            DayAt::Again(index, _) => self.ledger.at_index(*index).again().longer(span),
            _ => Day::fresh(span, &start, &self.plan, self.ledger.current()),
        };
        if !fresh && closed && !day.stepped_back {
            // A clock that was ahead opened this day, and the days before it have ended only now.
            (day.stage, day.cap) = (start.stage, self.plan.curve.cap(start.stage));
        }
        self.lease = Lease { before: (day.leased, batch), newest: (day.leased, batch) };
        self.unsaved = 0;
        self.schedule = Some(if fresh { DaySchedule::fresh(&day, span, &self.plan) } else { DaySchedule::resumed(&day, &self.plan) });
        self.ledger.open(day);
        if self.plan.curve.is_uncapped() {
            self.ledger.keep_last(UNCAPPED_DAYS);
        }
    }

    /// Closes the open days before this date; true if there were any.
    fn close_before(&mut self, date: Date, now: Timestamp) -> bool {
        let closed = self.ledger.close_before(date, &self.plan, self.restrictions.held.is_some());
        for date in &closed {
            let Some(day) = self.ledger.day(*date) else { continue };
            let Some(closing) = day.closed else { continue };
            let health = self.plan.thresholds.read(&day.counts);
            let (from, to, verdict) = (day.stage, closing.next, closing.verdict);
            let change = Change::DayClosed { date: *date, verdict, from, to, cap: day.cap, counts: day.counts, health };
            self.changes.push((now, change));
        }
        !closed.is_empty()
    }

    /// Closes the day that is over by now, if there is one.
    pub(crate) fn close_day(&mut self, now: Timestamp) {
        if let DayAt::Again(_, span) | DayAt::Fresh(span) = self.locate(now)
            && self.close_before(span.date, now)
        {
            self.schedule = None;
            self.forget_refusals();
        }
    }

    fn grant(&mut self, n: NonZeroU32, priority: Priority, now: Timestamp, batch: u64) -> Permit {
        let pace = &self.plan.pace;
        let mut room = n;
        let schedule = self.schedule.as_mut().expect("an open day has a schedule");
        let day = self.ledger.current_mut().expect("an open day is in the ledger");
        if let Some(mut release) = schedule.release {
            if release.until(now, Priority::Urgent) - day.charge() > pace.burst.get() {
                release = schedule.line(pace, now, day, pace.burst.get());
                schedule.release = Some(release);
            }
            // Without a cap nothing is spread over the day, and a burst may be of any size.
            room = limit(room.min(pace.burst), release.until(now, priority) - day.charge());
        }
        let hour = day.hour_at(now);
        if let Some(cap) = schedule.hour_cap {
            room = limit(room, cap.until(hour.0, now, priority) - hour.1);
        }
        room = self.restrictions.at_once(now).map_or(room, |one| room.min(one));
        let count = self.shaper.take(room, now).expect("there is room").get();
        self.restrictions.went(now);

        day.hour = (hour.0, hour.1.saturating_add(count));
        day.reserved += count;
        day.as_of = day.as_of.max(now);
        let (date, charge, cap) = (day.date, day.charge(), day.cap);
        let durable = self.cover(date, charge, cap, batch);
        self.forget_refusals();
        Permit { lane: self.id, date, hour: hour.0, count, durable }
    }

    /// Leases enough for `need`, and some more ahead of need; returns the batch that makes it durable.
    ///
    /// Days without a cap lease too if the lane has a curve: the day may get a cap later, and then whatever a crash forgot must count
    /// against it.
    fn cover(&mut self, date: Date, need: u32, cap: Option<u32>, batch: u64) -> u64 {
        if self.plan.curve.is_uncapped() {
            return 0;
        }
        let ahead = cap.map_or(LEASE_MAX, |cap| (cap / LEASE_PART).clamp(1, LEASE_MAX));
        let cap = cap.unwrap_or(u32::MAX);
        let leased = self.lease.newest.0;
        if leased < cap && need.saturating_add(ahead / 2) > leased {
            if self.lease.newest.1 != batch {
                self.lease.before = self.lease.newest;
            }
            self.lease.newest = (need.saturating_add(ahead).min(cap), batch);
            if let Some(day) = self.ledger.current_mut() {
                day.leased = self.lease.newest.0;
            }
            self.ledger.touch(date);
            self.unsaved = 0;
        }
        if need <= self.lease.before.0 { self.lease.before.1 } else { self.lease.newest.1 }
    }

    pub(crate) fn settle(&mut self, permit: &Permit, outcome: Outcome, now: Timestamp, batch: u64) {
        let count = permit.count;
        let Some(day) = self.ledger.day_mut(permit.date) else { return };
        day.reserved = day.reserved.saturating_sub(count);
        day.as_of = day.as_of.max(now.min(day.ends));
        day.answer(outcome, count);
        if outcome == Outcome::GivenBack {
            if day.hour.0 == permit.hour {
                day.hour.1 = day.hour.1.saturating_sub(count);
            }
            self.refused = [None, None];
        }
        self.unsaved = self.unsaved.saturating_add(count);
        if day.closed.is_some() || self.unsaved >= UNSAVED_MAX {
            self.unsaved = 0;
            self.ledger.touch(permit.date);
        }
        if outcome == Outcome::Blocked {
            self.block(now, batch);
        }
    }

    /// Sets the durable record to what was really used, for a clean stop.
    pub(crate) fn return_lease(&mut self, batch: u64) {
        let Some(day) = self.ledger.current_mut() else { return };
        if day.closed.is_none() {
            day.leased = day.charge();
            self.lease = Lease { before: (day.leased, batch), newest: (day.leased, batch) };
        }
        let date = day.date;
        self.unsaved = 0;
        self.ledger.touch(date);
    }

    /// The day that this time belongs to, as it is or as it would be opened. `Err` if it is over: the time at which the next day may open.
    pub(crate) fn view(&self, time: Timestamp) -> Result<DayView, Timestamp> {
        let held = self.restrictions.held.is_some();
        match self.locate(time) {
            DayAt::Closed(until) => Err(until),
            DayAt::Here | DayAt::Longer(_) => {
                let day = self.ledger.current().expect("the day is open");
                let schedule = self.schedule.unwrap_or_else(|| DaySchedule::resumed(day, &self.plan));
                let ends = if day.is_open_at(time) { day.ends } else { self.plan.pace.span_at(time).ends };
                Ok(DayView::of(day, schedule, ends, time))
            }
            DayAt::Again(index, span) => {
                let mut day = self.ledger.at_index(index).again();
                let settled = index.checked_sub(1).is_none_or(|before| self.ledger.at_index(before).closed.is_some());
                if !settled && !day.stepped_back {
                    day.stage = self.ledger.day_start(span.date, &self.plan, held, self.first).stage;
                    day.cap = self.plan.curve.cap(day.stage);
                }
                let schedule = DaySchedule::resumed(&day, &self.plan);
                Ok(DayView::of(&day, schedule, day.ends.max(span.ends), time))
            }
            DayAt::Fresh(span) => {
                let start = self.ledger.day_start(span.date, &self.plan, held, self.first);
                let day = Day::fresh(&span, &start, &self.plan, self.ledger.current());
                let schedule = DaySchedule::fresh(&day, &span, &self.plan);
                Ok(DayView::of(&day, schedule, span.ends, time))
            }
        }
    }

    /// An entry was restored from the disk: nothing worked out before holds.
    pub(crate) fn restored(&mut self) {
        (self.seen, self.schedule) = (None, None);
        self.forget_refusals();
    }

    pub(crate) fn forget_refusals(&mut self) {
        self.refused = [None, None];
    }

    pub(crate) fn is_touched(&self) -> bool {
        self.restrictions_touched || self.ledger.is_touched()
    }
}

fn limit(room: NonZeroU32, to: u32) -> NonZeroU32 {
    room.min(NonZeroU32::new(to).expect("there is room"))
}
