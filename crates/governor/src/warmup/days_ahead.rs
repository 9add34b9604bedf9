//! The days to come of a lane: a copy of it is run ahead, day by day, with the mail that it usually has.

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use crate::{Day, Hold, Outcome, lane::Lane};

/// The days to come of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaysAhead {
    /// The mail that they are foreseen with.
    pub demand: Demand,
    /// The next one first.
    pub days: Vec<DayAhead>,
}

/// How much mail comes to a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// As much as its caps let go: lately it used one up, or it is new.
    #[default]
    FillsCap,
    /// This many recipients a day, the most of the last week.
    ADay(u32),
}

/// A day to come. It holds if receivers take what is sent, and operators and the configuration change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayAhead {
    /// Which.
    pub date: Date,
    /// The stage; None: past the curve's end.
    pub stage: Option<u32>,
    /// The cap; None: any number.
    pub cap: Option<u32>,
    /// The recipients that will be sent to; None: as many as come.
    pub sent: Option<u32>,
}

/// Days by which the demand is judged.
const WEEK: usize = 7;

impl Lane {
    /// The next `count` days, without a step of time for each recipient. Empty for a lane without a curve.
    pub(crate) fn days_ahead(&self, count: usize, now: Timestamp) -> DaysAhead {
        let demand = self.demand();
        if self.plan.curve.is_uncapped() {
            return DaysAhead { demand, days: Vec::new() };
        }
        let mut ahead = self.clone();
        let mut at = now;
        ahead.turn_to(at, 0);
        let mut days = Vec::with_capacity(count);
        // A clock that was ahead closed days that the copy cannot open: then there is nothing to foresee.
        while days.len() < count
            && let Some(ends) = ahead.run_day(demand, at)
        {
            at = ends;
            ahead.turn_to(at, 0);
            let Some(day) = ahead.ledger.current().filter(|day| day.is_open_at(at)) else { break };
            let stage = Some(u32::from(day.stage)).filter(|number| *number > 0);
            let (date, cap) = (day.date, day.cap);
            days.push(DayAhead { date, stage, cap, sent: ahead.comes(demand, at) });
        }
        DaysAhead { demand, days }
    }

    /// Sends the rest of the open day. Returns its end.
    fn run_day(&mut self, demand: Demand, at: Timestamp) -> Option<Timestamp> {
        let comes = self.comes(demand, at);
        let day = self.ledger.current_mut().filter(|day| day.is_open_at(at))?;
        let under_way = std::mem::take(&mut day.reserved);
        day.answer(Outcome::Accepted, under_way);
        // Without a cap a day is judged by what it has: one recipient keeps it from counting as idle.
        let more = comes.unwrap_or(1).saturating_sub(day.charge());
        day.answer(Outcome::Accepted, more);
        Some(day.ends)
    }

    /// What a day will send in all, from `at` on; None: as many as come, without a cap.
    fn comes(&self, demand: Demand, at: Timestamp) -> Option<u32> {
        let day = self.ledger.current()?;
        // A pause that lasts all day, or until somebody ends it.
        let paused = self.restrictions.hold(at).is_some_and(|(until, hold)| !matches!(hold, Hold::Slowed { .. }) && until >= day.ends);
        match (paused, demand, day.cap) {
            (true, ..) => Some(day.charge()),
            (_, Demand::FillsCap, cap) => cap,
            (_, Demand::ADay(n), cap) => Some(cap.map_or(n, |cap| n.min(cap))),
        }
    }

    fn demand(&self) -> Demand {
        let days = self.ledger.days();
        let week = &days[days.len().saturating_sub(WEEK)..];
        let Some(most) = week.iter().map(|day| day.charge()).max().filter(|_| week.iter().any(|day| day.closed.is_some())) else {
            return Demand::FillsCap;
        };
        // What did not fit into the cap of such a day waited: how much that was is not in the ledger.
        let filled = |day: &Day| day.cap.is_some_and(|cap| nearly(day.charge(), cap)) && nearly(day.charge(), most);
        if week.iter().any(filled) { Demand::FillsCap } else { Demand::ADay(most) }
    }
}

/// At least nine tenths.
fn nearly(n: u32, of: u32) -> bool {
    u64::from(n) * 10 >= u64::from(of) * 9
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use crate::{Admission, Curve, Governor, LaneId, LaneKey, Plan, Shape, Stage, Steer};

    const NOON: &str = "2026-11-23T12:00:00Z";

    fn lane(caps: &[u32]) -> (Governor, LaneId) {
        let (mut governor, plan) = (Governor::new(), Arc::new(Plan::new("test", Curve::new(caps).unwrap())));
        let id = governor.open(&LaneKey::new("ip1", "google"), &plan, Stage::FIRST, Shape::default(), NOON.parse().unwrap());
        (governor, id)
    }

    /// Sends this many a day for some days, as the dispatcher would. Returns the time it got to.
    fn send(governor: &mut Governor, id: LaneId, a_day: u32, days: u32) -> Timestamp {
        let mut now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        for _ in 0..days {
            let ends = now + SignedDuration::from_hours(24);
            let mut left = a_day;
            while now < ends && left > 0 {
                match governor.admit(id, left, now) {
                    Admission::Go(permit) => {
                        left -= permit.count();
                        governor.settle(permit, Outcome::Accepted, now);
                    }
                    Admission::NotBefore(at, _) => now = at,
                }
            }
            now = ends;
        }
        now
    }

    fn caps(ahead: &DaysAhead) -> Vec<Option<u32>> {
        ahead.days.iter().map(|day| day.cap).collect()
    }

    #[test]
    fn a_lane_that_fills_its_caps_climbs_every_day() {
        let (governor, id) = lane(&[50, 100, 200]);
        let ahead = governor.lane(id).days_ahead(4, NOON.parse().unwrap());
        assert_eq!((ahead.demand, caps(&ahead)), (Demand::FillsCap, vec![Some(100), Some(200), None, None]));
        assert_eq!(
            ahead.days.iter().map(|day| (day.stage, day.sent)).collect::<Vec<_>>(),
            [(Some(2), Some(100)), (Some(3), Some(200)), (None, None), (None, None)]
        );
        assert_eq!(ahead.days[0].date, "2026-11-24".parse().unwrap());
    }

    #[test]
    fn what_is_foreseen_is_what_happens() {
        for a_day in [10, 60, 120, 1000] {
            let (mut governor, id) = lane(&[50, 100, 200, 400]);
            let now = send(&mut governor, id, a_day, 3);
            let now = now - SignedDuration::from_secs(1);
            let ahead = governor.lane(id).days_ahead(5, now);
            let (mut later, other) = lane(&[50, 100, 200, 400]);
            send(&mut later, other, a_day, 8);
            let happened: Vec<_> = later.lane(other).ledger().days()[3..].iter().map(|day| day.cap).collect();
            assert_eq!(caps(&ahead), happened, "{a_day} a day, {:?}", ahead.demand);
        }
    }

    #[test]
    fn a_lane_with_little_mail_stays_where_it_is() {
        let (mut governor, id) = lane(&[50, 100, 200, 400]);
        let now = send(&mut governor, id, 60, 4);
        let ahead = governor.lane(id).days_ahead(14, now);
        assert_eq!(ahead.demand, Demand::ADay(60));
        assert!(ahead.days.iter().all(|day| day.cap == Some(100) && day.sent == Some(60)), "{ahead:?}");
    }

    #[test]
    fn a_lane_that_is_stopped_or_held_does_not_climb() {
        for steer in [Steer::Stop, Steer::Hold] {
            let (mut governor, id) = lane(&[50, 100, 200]);
            governor.steer(id, steer, &"ann: a trial".into(), NOON.parse().unwrap());
            let ahead = governor.lane(id).days_ahead(3, NOON.parse().unwrap());
            assert_eq!(caps(&ahead), [Some(50); 3], "{steer:?}");
            assert_eq!(ahead.days[0].sent, Some(if matches!(steer, Steer::Stop) { 0 } else { 50 }));
        }
    }
}
