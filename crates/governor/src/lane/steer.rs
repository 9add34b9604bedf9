//! Changes that providers, operators and the configuration make to a lane.

use std::{num::NonZeroU32, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::Lane;
use crate::{
    backoff::{Cut, Pause, Usual},
    change::{Change, Steer},
    curve::Stage,
    pace::{Priority, Release},
    plan::Plan,
    shape::{Shape, Shaper},
    time::after,
    view::DaySchedule,
};

impl Lane {
    /// The address is blocked: the lane pauses and steps back at once, but only once a day.
    pub(crate) fn block(&mut self, now: Timestamp, batch: u64) {
        self.turn_to(now, batch);
        let from = self.stage();
        let fell = self.ledger.current().is_some_and(|day| day.stepped_back);
        if !fell {
            self.move_to(self.plan.curve.back(from), now);
            let moved = self.stage() != from;
            if let Some(day) = self.ledger.current_mut() {
                day.stepped_back = true;
                day.stepped_back_at = moved.then_some(now);
            }
        }
        self.restrictions.pause_for(self.plan.block_pause, &"the address is blocked".into(), now);
        self.restrictions_touched = true;
        self.forget_refusals();
        if !fell {
            let until = after(now, self.plan.block_pause.as_nanos());
            self.changes.push((now, Change::Blocked { from, to: self.stage(), until, cut: (None, None), why: None }));
        }
    }

    pub(crate) fn cut(&mut self, cut: &Cut, mut usual: Usual, now: Timestamp, batch: u64) {
        self.turn_to(now, batch);
        usual.rate = usual.rate.or_else(|| self.plan.usual_rate(self.stage()));
        self.restrictions.cut(cut, usual, now);
        self.restrictions_touched = true;
        self.forget_refusals();
        let paused_until = self.restrictions.pause.as_ref().and_then(|pause| pause.until);
        let (rate, connections) = (cut.rate.map(NonZeroU32::get), cut.connections.map(NonZeroU32::get));
        self.changes.push((now, Change::Slowed { rate, connections, paused_until, why: cut.why.clone() }));
    }

    pub(crate) fn steer(&mut self, steer: Steer, why: &Arc<str>, now: Timestamp, batch: u64) {
        self.turn_to(now, batch);
        let from = self.stage();
        match steer {
            Steer::Advance => self.move_to(self.plan.curve.next(from), now),
            Steer::Back => self.move_to(self.plan.curve.back(from), now),
            Steer::Restart => self.move_to(Stage::FIRST, now),
            Steer::Hold => self.restrictions.held = Some(why.clone()),
            Steer::Release => self.restrictions.held = None,
            Steer::Stop => {
                self.restrictions.pause = Some(Pause { until: None, length: SignedDuration::ZERO, why: why.clone() });
            }
            Steer::Resume => {
                (self.restrictions.pause, self.restrictions.slow) = (None, None);
                if self.ledger.forget_after(now) {
                    self.schedule = None;
                }
            }
        }
        self.restrictions_touched = true;
        self.forget_refusals();
        self.changes.push((now, Change::Steered { steer, from, to: self.stage(), why: why.clone() }));
    }

    pub(crate) fn set_plan(&mut self, plan: Arc<Plan>, first: Stage, now: Timestamp, batch: u64) {
        self.turn_to(now, batch);
        let before = self.ledger.current().map(|day| (day.cap, day.stepped_back));
        let begins = self.plan.curve.is_uncapped() && !plan.curve.is_uncapped();
        self.plan = plan;
        self.first = first;
        let stage = if begins { first } else { self.stage() };
        if let Some((from, false)) = before {
            self.move_to(stage, now);
            let to = self.ledger.current().and_then(|day| day.cap);
            self.changes.push((now, Change::PlanChanged { stage, from, to }));
        } else {
            self.schedule = None;
        }
        self.forget_refusals();
    }

    pub(crate) fn set_shape(&mut self, shape: Shape, now: Timestamp) {
        if self.shaper.shape() != shape {
            self.shaper = Shaper::new(shape, now);
            self.forget_refusals();
        }
    }

    /// Puts the open day, or else the next one, on another stage.
    fn move_to(&mut self, stage: Stage, now: Timestamp) {
        let cap = self.plan.curve.cap(stage);
        let burst = self.plan.pace.burst.get();
        if let Some(day) = self.ledger.current_mut()
            && day.closed.is_none()
        {
            let ready = self
                .schedule
                .as_ref()
                .and_then(|schedule| schedule.release)
                .map_or(0, |release: Release| release.until(now, Priority::Urgent).saturating_sub(day.charge()).min(burst));
            (day.stage, day.cap) = (stage, cap);
            let date = day.date;
            self.schedule = Some(DaySchedule::moved(day, &self.plan, now, ready));
            self.ledger.touch(date);
        } else if let Some(last) = self.ledger.last_mut()
            && let Some(closing) = &mut last.closed
        {
            closing.next = stage;
            let date = last.date;
            self.ledger.touch(date);
        } else {
            self.first = stage;
        }
    }
}
