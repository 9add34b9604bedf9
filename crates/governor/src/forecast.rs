//! When waiting mail will go: copies of the lanes are run ahead of time.

use jiff::Timestamp;

use crate::{
    admission::Outcome,
    choose::{Choice, Order, Selection},
    governor::Governor,
    key::LaneId,
    pace::Priority,
};

/// Copies of some lanes, run ahead of time. Each recipient that is asked for counts as sent and accepted, so that a queue asked in its
/// order gets a time for each recipient, over as many days and stages as it takes. It holds until something else happens to the lanes.
#[derive(Debug)]
pub struct Forecast {
    ahead: Governor,
    choices: Vec<Choice>,
    order: Order,
    now: Timestamp,
    horizon: Timestamp,
}

impl Governor {
    /// A forecast for these lanes, from `now` to at most `horizon`.
    pub fn forecast(&self, choices: &[Choice], order: Order, now: Timestamp, horizon: Timestamp) -> Forecast {
        let mut ahead = Self::new();
        let choices = choices
            .iter()
            .map(|choice| {
                let mut lane = self.lane(choice.lane).clone();
                let id = LaneId(ahead.lanes.len() as u32);
                lane.id = id;
                lane.suppose_taken();
                ahead.ids.insert(lane.key.clone(), id);
                ahead.lanes.push(lane);
                Choice { lane: id, ..*choice }
            })
            .collect();
        Forecast { ahead, choices, order, now, horizon }
    }
}

impl Forecast {
    /// When the last of the next `n` recipients goes; `None` if that is after the horizon or if there is no lane.
    pub fn take(&mut self, n: u32, priority: Priority) -> Option<Timestamp> {
        let mut left = n.max(1);
        while self.now < self.horizon {
            match self.ahead.admit_any(&self.choices, self.order, left, priority, self.now) {
                Selection::Go(permit) => {
                    left -= permit.count();
                    self.ahead.settle(permit, Outcome::Accepted, self.now);
                    if left == 0 {
                        return Some(self.now);
                    }
                }
                Selection::NotBefore { at, .. } => self.now = at,
                Selection::NoLane => return None,
            }
            self.ahead.changes.clear();
        }
        None
    }

    /// The time that the forecast has reached.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

impl crate::lane::Lane {
    /// Recipients under way count as accepted.
    fn suppose_taken(&mut self) {
        if let Some(day) = self.ledger.current_mut() {
            let under_way = std::mem::take(&mut day.reserved);
            day.answer(Outcome::Accepted, under_way);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, sync::Arc};

    use super::*;
    use crate::{
        admission::Admission,
        curve::{Curve, Stage},
        key::LaneKey,
        plan::Plan,
        shape::Shape,
    };

    fn governor(caps: &[u32], lanes: u32, now: Timestamp) -> (Governor, Vec<Choice>) {
        let (mut governor, plan) = (Governor::new(), Arc::new(Plan::new("test", Curve::new(caps).unwrap())));
        let open = |lane: u32| {
            let lane = governor.open(&LaneKey::new(&format!("ip{lane}"), "google"), &plan, Stage::FIRST, Shape::default(), now);
            Choice { lane, weight: NonZeroU32::MIN }
        };
        let choices = (0..lanes).map(open).collect();
        (governor, choices)
    }

    #[test]
    fn mail_goes_when_the_forecast_said() {
        let start: Timestamp = "2026-11-23T09:30:00Z".parse().unwrap();
        for lanes in [1, 3] {
            let (mut governor, choices) = governor(&[50, 80, 120], lanes, start);
            let mut forecast = governor.forecast(&choices, Order::WarmFirst, start, Timestamp::MAX);
            let foreseen: Vec<_> = (0..400).map(|_| forecast.take(1, Priority::Usual).unwrap()).collect();
            let (mut now, mut went) = (start, Vec::new());
            while went.len() < foreseen.len() {
                match governor.admit_any(&choices, Order::WarmFirst, 1, Priority::Usual, now) {
                    Selection::Go(permit) => {
                        governor.settle(permit, Outcome::Accepted, now);
                        went.push(now);
                    }
                    Selection::NotBefore { at, .. } => now = at,
                    Selection::NoLane => unreachable!("there are lanes"),
                }
            }
            assert_eq!(went, foreseen, "{lanes} lanes");
        }
    }

    #[test]
    fn looking_ahead_changes_nothing() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let (mut governor, choices) = governor(&[10], 1, now);
        let Admission::Go(permit) = governor.admit(choices[0].lane, 4, now) else { panic!("the burst is ready") };
        let before = governor.status(choices[0].lane, now);
        governor.forecast(&choices, Order::Weight, now, Timestamp::MAX).take(20, Priority::Usual).unwrap();
        assert_eq!(governor.status(choices[0].lane, now), before);
        governor.settle(permit, Outcome::Accepted, now);
    }

    #[test]
    fn what_lies_behind_the_horizon_is_not_foreseen() {
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        let (governor, choices) = governor(&[10, 10], 1, now);
        let horizon = now + jiff::SignedDuration::from_hours(24);
        let mut forecast = governor.forecast(&choices, Order::Weight, now, horizon);
        assert!(forecast.take(10, Priority::Usual).is_some());
        assert_eq!(forecast.take(1, Priority::Usual), None);
        assert_eq!(governor.forecast(&[], Order::Weight, now, horizon).take(1, Priority::Usual), None);
    }
}
