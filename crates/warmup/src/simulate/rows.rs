//! What a simulation tells.

use std::sync::Arc;

use jiff::{SignedDuration, civil::Date};
use posthaste_governor::{Lane, Stage};
use serde::Serialize;

/// A scenario's days.
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
    /// Came in.
    pub arrived: u64,
    /// Taken by the receivers.
    pub sent: u64,
    /// Refused for good.
    pub bounced: u64,
    /// Attempts that receivers put off.
    pub put_off: u64,
    /// Found no budget at once and had to wait, whether for minutes or for days.
    pub deferred: u64,
    /// Attempts that another source made than the one whose turn it was.
    pub spilled: u64,
    /// Became too old.
    pub expired: u64,
    /// Waits for budget when the day ends.
    pub held: u64,
    /// The longest time between coming in and being taken, in seconds, of those taken on this day.
    pub worst_delay: i64,
    /// The lanes that warm up.
    pub lanes: Vec<LaneDay>,
}

/// What a lane did on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneDay {
    /// The sending address's name.
    pub source: Arc<str>,
    /// Who runs the mailboxes.
    pub provider: Arc<str>,
    /// The stage; 0 is past the curve's end.
    pub stage: Stage,
    /// What the day allowed; None: any number.
    pub cap: Option<u32>,
    /// Answered by the provider.
    pub spent: u32,
    /// Taken by the provider.
    pub accepted: u32,
}

/// A day's numbers while it lasts.
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
    /// The day (from 1) from which on every day's mail is sent without waiting over midnight; None: not within the scenario.
    pub fn full_volume(&self) -> Option<usize> {
        let last_held = self.days.iter().rposition(|day| day.held > 0);
        let first = last_held.map_or(0, |index| index + 1);
        self.days.get(first).map(|day| day.day)
    }

    /// The day (from 1) from which on no mail finds its source without budget: the warm-up binds nobody any more.
    pub fn unbound(&self) -> Option<usize> {
        let last_bound = self.days.iter().rposition(|day| day.deferred + day.spilled + day.held > 0);
        let first = last_bound.map_or(0, |index| index + 1);
        self.days.get(first).map(|day| day.day)
    }

    /// Recipients that waited for budget until they were too old.
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

impl LaneDay {
    pub(super) fn of(lane: &Lane, date: Date) -> Self {
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
