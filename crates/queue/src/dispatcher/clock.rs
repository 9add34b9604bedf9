//! The clock may be set while the relay runs. Forward, what has become due goes at once, and nothing ends that had no attempt since. Back,
//! all that waits for a time of the clock that was ahead would wait for that clock; it waits for the rest of its time instead.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Hold, LaneKey, Priority};

use super::Dispatcher;
use crate::exchange::{Action, ClockNews};

/// Steps back that are shorter than this delay nothing that matters.
const STEP: SignedDuration = SignedDuration::from_secs(1);

impl Dispatcher {
    /// Sets the time. If the clock went back, everything waits as long as it still had to.
    pub(super) fn turn_clock(&mut self, now: Timestamp) {
        let back = self.now.duration_since(now);
        self.now = now;
        if back < STEP {
            return;
        }
        let ms = i64::try_from(back.as_millis()).unwrap_or(i64::MAX / 4);
        self.backlog.clock_went_back(ms, &self.policy, now.as_millisecond());
        self.connections.clock_went_back(ms);
        self.budget.clock_went_back(now);
        self.next_sweep = i64::MIN;
        self.actions.push(Action::Clock(ClockNews::WentBack { by: back }));
    }

    /// Reports lanes whose mail waits because the clock went back into a day whose budget was closed, and lanes that go on.
    pub(super) fn watch_days(&mut self) {
        let governor = self.budget.governor();
        let held = governor.lanes().filter_map(|(id, lane)| match governor.blocked(id, Priority::Usual, self.now)? {
            (until, Hold::DayOver) => Some((lane.key().clone(), until)),
            _ => None,
        });
        let held: BTreeMap<LaneKey, Timestamp> = held.collect();
        let goes_on: Vec<LaneKey> = self.held_days.keys().filter(|key| !held.contains_key(*key)).cloned().collect();
        // What still waits there waits for another reason, and maybe for longer than that day.
        goes_on.iter().for_each(|lane| self.budget.lists_mut().look_again(&lane.provider));
        let news: Vec<_> = goes_on.into_iter().map(|lane| ClockNews::LaneGoesOn { lane }).collect();
        let waits = held.iter().filter(|(key, until)| self.held_days.get(*key) != Some(*until));
        let waits: Vec<_> = waits.map(|(key, until)| ClockNews::LaneWaits { lane: key.clone(), until: *until }).collect();
        self.actions.extend(news.into_iter().chain(waits).map(Action::Clock));
        self.held_days = held;
    }
}
