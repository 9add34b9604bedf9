//! Forecasts of when the mail on a list will go: its lanes are run ahead of time on copies, one recipient after the other in the list's
//! order.

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Order, Priority};

use super::{
    Budget,
    ahead::Ahead,
    waitlist::{LOGGED_FROM, LoggedWait, Position, WaitListIx, WaitListKey},
};
use crate::{times::after, view::View};

/// How far a forecast looks.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 60);
/// The least time between two forecasts for a whole list.
const FORESEE_EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Groups further behind than this get a new time only when they come closer.
const FORESEEN_MAX: usize = 50_000;

impl Budget {
    /// Forecasts when the group at this position will go. `last`: it is behind all others.
    pub(super) fn foresee(&mut self, ix: WaitListIx, position: Position, last: bool, view: View<'_>) -> Option<LoggedWait> {
        let kept = self.lists.get_mut(ix).and_then(|list| list.forecast.take_if(|_| last));
        let mut ahead = match kept {
            Some(ahead) => ahead,
            None => self.look_ahead_behind(ix, position, view)?,
        };
        let (n, priority) = self.count_at(ix, position, view)?;
        let until = ahead.step(n, priority);
        if last && let Some(list) = self.lists.get_mut(ix) {
            list.forecast = Some(ahead);
        }
        self.lists.tell(ix, position, until, view.now)
    }

    /// Repeats the forecast for a whole list if its times may have become wrong.
    pub(super) fn foresee_all(&mut self, ix: WaitListIx, view: View<'_>) -> Vec<LoggedWait> {
        let mut logged = Vec::new();
        let now = view.now;
        let tolerance = self.tolerance(ix, view);
        let Some(list) = self.lists.get_mut(ix) else { return logged };
        let overdue = list.queue.values().next().is_some_and(|first| match first.logged_until {
            Some(until) => after(until, tolerance) < now,
            None => after(now, LOGGED_FROM) < list.wake,
        });
        if !(list.stale || overdue) || now < list.foreseen {
            return logged;
        }
        (list.stale, list.foreseen, list.forecast) = (false, after(now, FORESEE_EVERY), None);
        let positions: Vec<Position> = list.queue.keys().copied().take(FORESEEN_MAX).collect();
        let all = positions.len() == list.queue.len();
        let Some(mut ahead) = self.look_ahead(ix, view) else { return logged };
        for position in positions {
            let Some((n, priority)) = self.count_at(ix, position, view) else { continue };
            let until = ahead.step(n, priority);
            let logged_until = self.lists.get(ix).and_then(|list| list.queue.get(&position)).and_then(|waiting| waiting.logged_until);
            let wrong = logged_until.is_none_or(|logged_until| {
                let until = until.unwrap_or(Timestamp::MAX);
                logged_until.duration_since(until).abs() > tolerance
            });
            if wrong {
                logged.extend(self.lists.tell(ix, position, until, now));
            }
        }
        if all && let Some(list) = self.lists.get_mut(ix) {
            list.forecast = Some(ahead);
        }
        logged
    }

    /// A run ahead up to the time when everything before this position is gone.
    fn look_ahead_behind(&mut self, ix: WaitListIx, position: Position, view: View<'_>) -> Option<Ahead> {
        let mut ahead = self.look_ahead(ix, view)?;
        let before = self.lists.get(ix)?.queue.range(..position).map(|(position, _)| *position).take(FORESEEN_MAX);
        for position in before {
            if let Some((n, priority)) = self.count_at(ix, position, view) {
                ahead.step(n, priority);
            }
        }
        Some(ahead)
    }

    fn look_ahead(&mut self, ix: WaitListIx, view: View<'_>) -> Option<Ahead> {
        let key = self.lists.key(ix)?.clone();
        if let WaitListKey::Stream(stream) = key {
            return Some(Ahead::Stream(Box::new(self.rates.get(&stream)?.clone()), view.now));
        }
        let choices = self.choices(&key, view);
        let horizon = after(view.now, HORIZON);
        Some(Ahead::Lanes(Box::new(self.permits.governor().forecast(&choices, Order::WarmFirst, view.now, horizon))))
    }

    /// The number of recipients at this position, and their stream's priority.
    fn count_at(&self, ix: WaitListIx, position: Position, view: View<'_>) -> Option<(u32, Priority)> {
        let waiting = self.lists.get(ix)?.queue.get(&position)?;
        let stream = view.backlog.stream_of(waiting.group.seq)?;
        let n = u32::try_from(waiting.group.rcpts.as_slice().len()).unwrap_or(u32::MAX);
        Some((n, view.stream_policy(stream).priority))
    }

    /// How far a logged time may be off: half the duration of a burst.
    fn tolerance(&mut self, ix: WaitListIx, view: View<'_>) -> SignedDuration {
        let Some(key) = self.lists.key(ix).cloned() else { return LOGGED_FROM };
        let bursts = self.choices(&key, view).into_iter().filter_map(|choice| {
            let lane = self.permits.governor().lane(choice.lane);
            let plan = lane.plan();
            let cap = plan.curve.cap(lane.stage())?;
            Some(i64::from(plan.pace.window().hours()) * 3600 * i64::from(plan.pace.burst().get()) / i64::from(cap.max(1)))
        });
        let least = bursts.min().unwrap_or(60);
        SignedDuration::from_secs((least / 2).max(1))
    }
}
