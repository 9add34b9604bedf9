//! When what waits at a gate will go: its lanes, run ahead of time on copies, one recipient after the other in the gate's order.

use std::num::NonZeroU32;

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Forecast, Order, Shaper};

use crate::{
    Dispatcher,
    backlog::table::StreamIx,
    budget::waitlist::{Position, TOLD_FROM, WaitListIx, WaitListKey, after},
};

/// How far a forecast looks.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 60);
/// Between two forecasts for all that waits at a gate.
const FORESEE_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// What waits further behind than this is told anew only when it comes closer.
const FORESEEN_MAX: usize = 50_000;

/// A run ahead of time.
pub(crate) enum Ahead {
    /// Of lanes.
    Lanes(Box<Forecast>),
    /// Of a stream's own rate.
    Stream(Box<Shaper>, Timestamp),
}

impl Dispatcher {
    /// Says when this one will go. `last`: it stands behind all others.
    pub(crate) fn foresee(&mut self, ix: WaitListIx, place: Position, last: bool) {
        let kept = self.gates.gates.get_mut(&ix).and_then(|gate| gate.forecast.take_if(|_| last));
        let Some(mut ahead) = kept.or_else(|| self.look_ahead_behind(ix, place)) else { return };
        let Some((n, stream)) = self.count_at(ix, place) else { return };
        let until = self.step(&mut ahead, n, stream);
        if last && let Some(gate) = self.gates.gates.get_mut(&ix) {
            gate.forecast = Some(ahead);
        }
        self.tell(ix, place, until);
    }

    /// A look ahead to when everything before this place is gone.
    fn look_ahead_behind(&mut self, ix: WaitListIx, place: Position) -> Option<Ahead> {
        let mut ahead = self.look_ahead(ix)?;
        let before: Vec<Position> = self.gates.gates.get(&ix)?.queue.range(..place).map(|(place, _)| *place).take(FORESEEN_MAX).collect();
        for place in before {
            if let Some((n, stream)) = self.count_at(ix, place) {
                self.step(&mut ahead, n, stream);
            }
        }
        Some(ahead)
    }

    /// Looks at all that waits again, if what was said of it may have become wrong.
    pub(crate) fn foresee_all(&mut self, ix: WaitListIx) {
        let now = self.now;
        let tolerance = self.tolerance(ix);
        let Some(gate) = self.gates.gates.get_mut(&ix) else { return };
        let overdue = gate.queue.values().next().is_some_and(|first| match first.told {
            Some(told) => after(told, tolerance) < now,
            None => after(now, TOLD_FROM) < gate.wake,
        });
        if !(gate.stale || overdue) || now < gate.foreseen {
            return;
        }
        (gate.stale, gate.foreseen, gate.forecast) = (false, after(now, FORESEE_EVERY), None);
        let Some(mut ahead) = self.look_ahead(ix) else { return };
        let places: Vec<Position> = self.gates.gates[&ix].queue.keys().copied().take(FORESEEN_MAX).collect();
        let all = places.len() == self.gates.gates[&ix].queue.len();
        for place in places {
            let Some((n, stream)) = self.count_at(ix, place) else { continue };
            let until = self.step(&mut ahead, n, stream);
            let told = self.gates.gates[&ix].queue.get(&place).and_then(|waiting| waiting.told);
            let wrong = told.is_none_or(|told| {
                let until = until.unwrap_or(Timestamp::MAX);
                told.duration_since(until).abs() > tolerance
            });
            if wrong {
                self.tell(ix, place, until);
            }
        }
        if all && let Some(gate) = self.gates.gates.get_mut(&ix) {
            gate.forecast = Some(ahead);
        }
    }

    fn look_ahead(&mut self, ix: WaitListIx) -> Option<Ahead> {
        let key = self.gates.gates.get(&ix)?.key.clone();
        if let WaitListKey::Stream(stream) = key {
            return Some(Ahead::Stream(Box::new(self.tenants.get(&stream)?.clone()), self.now));
        }
        let choices = self.choices(&key);
        let horizon = after(self.now, HORIZON);
        Some(Ahead::Lanes(Box::new(self.governor.forecast(&choices, Order::WarmFirst, self.now, horizon))))
    }

    fn step(&self, ahead: &mut Ahead, n: u32, stream: StreamIx) -> Option<Timestamp> {
        match ahead {
            Ahead::Lanes(forecast) => forecast.take(n, self.stream_policy(stream).priority),
            Ahead::Stream(shaper, now) => {
                let mut left = NonZeroU32::new(n);
                while let Some(n) = left {
                    match shaper.take(n, *now) {
                        Ok(taken) => left = NonZeroU32::new(n.get() - taken.get()),
                        Err(at) => *now = at,
                    }
                }
                Some(*now)
            }
        }
    }

    /// How many recipients wait at this place, and their stream.
    fn count_at(&self, ix: WaitListIx, place: Position) -> Option<(u32, StreamIx)> {
        let waiting = self.gates.gates.get(&ix)?.queue.get(&place)?;
        let stream = self.table.get(waiting.group.seq)?.stream;
        Some((u32::try_from(waiting.group.rcpts.as_slice().len()).unwrap_or(u32::MAX), stream))
    }

    /// How wrong a time may be: half of what a burst takes.
    fn tolerance(&mut self, ix: WaitListIx) -> SignedDuration {
        let Some(gate) = self.gates.gates.get(&ix) else { return TOLD_FROM };
        let key = gate.key.clone();
        let bursts = self.choices(&key).into_iter().filter_map(|choice| {
            let lane = self.governor.lane(choice.lane);
            let plan = lane.plan();
            let cap = plan.curve.cap(lane.stage())?;
            Some(i64::from(plan.pace.window().hours()) * 3600 * i64::from(plan.pace.burst().get()) / i64::from(cap.max(1)))
        });
        let least = bursts.min().unwrap_or(60);
        SignedDuration::from_secs((least / 2).max(1))
    }
}
