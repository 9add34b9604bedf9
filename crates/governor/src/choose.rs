//! The choice of the lane, among those of a pool, that sends a message.

use std::{cmp::Reverse, num::NonZeroU32};

use jiff::Timestamp;

use crate::{
    admission::{Admission, Hold, Permit},
    governor::Governor,
    key::LaneId,
    pace::Priority,
};

/// A lane that may send a message, and the weight of its source among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The lane.
    pub lane: LaneId,
    /// Twice the weight means twice the mail.
    pub weight: NonZeroU32,
}

/// Which lane is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The lane that is furthest behind its weight.
    #[default]
    Weight,
    /// The coldest lane: mail to engaged recipients and transactional mail warm an address best.
    ColdFirst,
    /// The warmest lane: mail that spills over goes where it is noticed least.
    WarmFirst,
}

/// What the order of a lane depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    /// The lane and its weight.
    choice: Choice,
    /// The day's cap; `None` for a warm lane.
    cap: Option<u32>,
    /// How much of it is used.
    used: u32,
}

/// The lane that sends, or why none does now.
#[derive(Debug, PartialEq, Eq)]
pub enum Selection {
    /// The lane of this permit.
    Go(Permit),
    /// No lane may send now; this one may first.
    NotBefore {
        /// When.
        at: Timestamp,
        /// Which lane.
        lane: LaneId,
        /// Why not now.
        hold: Hold,
    },
    /// There were no lanes to choose from.
    NoLane,
}

/// The candidates in the order in which they are asked. Equal candidates keep their order.
fn ranked(candidates: &[Candidate], order: Order) -> Vec<LaneId> {
    let warmth = |c: &Candidate| (c.cap.unwrap_or(u32::MAX), c.cap.map_or(u32::MAX, |cap| cap.saturating_sub(c.used)));
    let mut ranked = candidates.to_vec();
    match order {
        Order::Weight => ranked.sort_by(|a, b| {
            let behind = |this: &Candidate, other: &Candidate| u64::from(this.used) * u64::from(other.choice.weight.get());
            behind(a, b).cmp(&behind(b, a)).then(b.choice.weight.cmp(&a.choice.weight))
        }),
        Order::ColdFirst => ranked.sort_by_key(warmth),
        Order::WarmFirst => ranked.sort_by_key(|c| Reverse(warmth(c))),
    }
    ranked.into_iter().map(|candidate| candidate.choice.lane).collect()
}

impl Governor {
    /// The lanes in the order in which they are asked.
    pub fn rank(&self, choices: &[Choice], order: Order, now: Timestamp) -> Vec<LaneId> {
        let candidate = |choice: &Choice| {
            let day = self.lane(choice.lane).today(now);
            Candidate { choice: *choice, cap: day.0, used: day.1 }
        };
        ranked(&choices.iter().map(candidate).collect::<Vec<_>>(), order)
    }

    /// What is left of a lane's cap today; `None` if it has no cap.
    pub fn cap_left(&self, lane: LaneId, now: Timestamp) -> Option<u32> {
        let (cap, used) = self.lane(lane).today(now);
        Some(cap?.saturating_sub(used))
    }

    /// Asks the lanes in order and takes the first that may send.
    pub fn admit_any(&mut self, choices: &[Choice], order: Order, n: u32, priority: Priority, now: Timestamp) -> Selection {
        let mut soonest: Option<(Timestamp, LaneId, Hold)> = None;
        for lane in self.rank(choices, order, now) {
            match self.admit_as(lane, n, priority, now) {
                Admission::Go(permit) => return Selection::Go(permit),
                Admission::NotBefore(at, hold) => {
                    if soonest.as_ref().is_none_or(|(first, ..)| at < *first) {
                        soonest = Some((at, lane, hold));
                    }
                }
            }
        }
        soonest.map_or(Selection::NoLane, |(at, lane, hold)| Selection::NotBefore { at, lane, hold })
    }
}

impl crate::lane::Lane {
    /// Cap and use of the day that `now` falls into.
    fn today(&self, now: Timestamp) -> (Option<u32>, u32) {
        match self.ledger.current().filter(|day| day.is_open_at(now)) {
            Some(day) => (day.cap, day.charge()),
            None => self.view(now).map_or((Some(0), 0), |view| (view.day.cap, view.day.charge)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(lanes: &[(u32, Option<u32>, u32)], order: Order) -> Vec<u32> {
        let candidate = |(index, (weight, cap, used)): (usize, &(u32, Option<u32>, u32))| Candidate {
            choice: Choice { lane: LaneId(index as u32), weight: NonZeroU32::new(*weight).unwrap() },
            cap: *cap,
            used: *used,
        };
        ranked(&lanes.iter().enumerate().map(candidate).collect::<Vec<_>>(), order).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn what_spills_goes_to_the_warmest_first() {
        let lanes = [(1, Some(50), 0), (1, None, 900), (1, Some(1000), 10), (1, Some(1000), 500)];
        assert_eq!(order(&lanes, Order::WarmFirst), [1, 2, 3, 0]);
        assert_eq!(order(&lanes, Order::ColdFirst), [0, 3, 2, 1]);
    }

    #[test]
    fn weights_are_shares_of_the_mail() {
        let mut used = [0, 0, 0];
        for _ in 0..600 {
            let lanes = [(1, None, used[0]), (2, None, used[1]), (3, None, used[2])];
            used[order(&lanes, Order::Weight)[0] as usize] += 1;
        }
        assert_eq!(used, [100, 200, 300]);
    }
}
