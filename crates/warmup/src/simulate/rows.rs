//! The result of a simulation.

use std::sync::Arc;

use jiff::{SignedDuration, civil::Date};
use posthaste_governor::{Governor, Lane, Stage};
use serde::Serialize;

/// The days of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// One row each.
    pub days: Vec<DayRow>,
}

/// What happened on one day. All numbers but the delay are recipients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DayRow {
    /// From 1.
    pub day: usize,
    /// Its date.
    pub date: Date,
    /// Accepted by the relay.
    pub arrived: u64,
    /// Delivered.
    pub sent: u64,
    /// Bounced.
    pub bounced: u64,
    /// Attempts that receivers deferred.
    pub put_off: u64,
    /// Had to wait for budget, whether for minutes or for days.
    pub deferred: u64,
    /// Attempts made by another source than the one whose turn it was.
    pub spilled: u64,
    /// Expired while they waited.
    pub expired: u64,
    /// Waiting for budget at the end of the day.
    pub held: u64,
    /// The longest time from acceptance to delivery, in seconds, of those delivered on this day.
    pub worst_delay: i64,
    /// The lanes that warm up.
    pub lanes: Vec<LaneDay>,
}

/// What a lane did on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneDay {
    /// The sending address's name.
    pub source: Arc<str>,
    /// The provider of the mailboxes.
    pub provider: Arc<str>,
    /// The stage; 0 after the end of the curve.
    pub stage: Stage,
    /// The day's cap; None: unlimited.
    pub cap: Option<u32>,
    /// Recipients that the provider answered.
    pub spent: u32,
    /// Recipients that the provider accepted.
    pub accepted: u32,
}

/// The numbers of a day that is not over.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) arrived: u64,
    pub(super) bounced: u64,
    pub(super) put_off: u64,
    pub(super) deferred: u64,
    pub(super) spilled: u64,
    pub(super) expired: u64,
    sent: u64,
    worst: SignedDuration,
}

impl Simulation {
    /// The first day (from 1) from which no mail waits over midnight any more; None: not within the scenario.
    pub fn full_volume(&self) -> Option<usize> {
        let last_held = self.days.iter().rposition(|day| day.held > 0);
        let first = last_held.map_or(0, |index| index + 1);
        self.days.get(first).map(|day| day.day)
    }

    /// The first day (from 1) from which no mail has to wait or to take another source; None: not within the scenario.
    pub fn unbound(&self) -> Option<usize> {
        let last_bound = self.days.iter().rposition(|day| day.deferred + day.spilled + day.held > 0);
        let first = last_bound.map_or(0, |index| index + 1);
        self.days.get(first).map(|day| day.day)
    }

    /// Recipients that expired while they waited for budget.
    pub fn expired(&self) -> u64 {
        self.days.iter().map(|day| day.expired).sum()
    }

    /// The longest delay of all, in seconds.
    pub fn worst_delay(&self) -> i64 {
        self.days.iter().map(|day| day.worst_delay).max().unwrap_or(0)
    }
}

impl Tally {
    pub(super) fn sent(&mut self, delay: SignedDuration) {
        self.sent += 1;
        self.worst = self.worst.max(delay);
    }

    pub(super) fn row(self, day: usize, date: Date, held: u64, lanes: Vec<LaneDay>) -> DayRow {
        let Self { arrived, bounced, put_off, deferred, spilled, expired, sent, worst } = self;
        let worst_delay = worst.as_secs();
        DayRow { day: day + 1, date, arrived, sent, bounced, put_off, deferred, spilled, expired, held, worst_delay, lanes }
    }
}

/// The day of every lane that warms up.
pub(super) fn lane_days(governor: &Governor, date: Date) -> Vec<LaneDay> {
    let warming = governor.lanes().filter(|(_, lane)| !lane.plan().curve.is_uncapped());
    let mut days: Vec<_> = warming.map(|(_, lane)| LaneDay::of(lane, date)).collect();
    days.sort_by(|a, b| (&a.source, &a.provider).cmp(&(&b.source, &b.provider)));
    days
}

impl LaneDay {
    fn of(lane: &Lane, date: Date) -> Self {
        let (source, provider) = (lane.key().source.clone(), lane.key().provider.clone());
        match lane.ledger().day(date) {
            Some(day) => {
                let (spent, accepted) = (day.counts.spent, day.counts.accepted);
                Self { source, provider, stage: day.stage, cap: day.cap, spent, accepted }
            }
            // Nobody asked on that day.
            None => Self { source, provider, stage: lane.stage(), cap: lane.plan().curve.cap(lane.stage()), spent: 0, accepted: 0 },
        }
    }
}
