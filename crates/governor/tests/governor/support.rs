//! One lane, a clock that tests turn, and a disk that forgets what was not written.

use std::{num::NonZeroU32, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{
    Admission, Batch, Curve, Governor, Hold, LaneEntry, LaneId, LaneKey, Outcome, Permit, Plan, Priority, Shape, Stage, Status,
};

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn many(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

pub(crate) fn plan(caps: &[u32]) -> Plan {
    Plan::new("test", Curve::new(caps).unwrap())
}

pub(crate) fn key() -> LaneKey {
    LaneKey::new("ip1", "google")
}

pub(crate) const NANOSECOND: SignedDuration = SignedDuration::from_nanos(1);

pub(crate) struct World {
    pub(crate) governor: Governor,
    pub(crate) lane: LaneId,
    pub(crate) plan: Arc<Plan>,
    pub(crate) shape: Shape,
    pub(crate) now: Timestamp,
    /// What is on disk, by key.
    pub(crate) disk: Vec<LaneEntry>,
    pub(crate) durable: u64,
    waiting: Vec<Batch>,
}

impl World {
    pub(crate) fn new(plan: Plan, now: &str) -> Self {
        Self::shaped(plan, Shape::default(), time(now))
    }

    pub(crate) fn shaped(plan: Plan, shape: Shape, now: Timestamp) -> Self {
        let (mut governor, plan) = (Governor::new(), Arc::new(plan));
        let lane = governor.open(&key(), &plan, Stage::FIRST, shape, now);
        Self { governor, lane, plan, shape, now, disk: Vec::new(), durable: 0, waiting: Vec::new() }
    }

    pub(crate) fn pass(&mut self, span: SignedDuration) {
        self.now = self.now.checked_add(span).unwrap();
    }

    pub(crate) fn go_to(&mut self, time: &str) {
        self.now = self::time(time);
    }

    pub(crate) fn status(&self) -> Status {
        self.governor.status(self.lane, self.now)
    }

    pub(crate) fn admit(&mut self, n: u32) -> Admission {
        self.governor.admit(self.lane, n, self.now)
    }

    pub(crate) fn permit(&mut self, n: u32) -> Permit {
        match self.admit(n) {
            Admission::Go(permit) => permit,
            Admission::NotBefore(at, hold) => panic!("held until {at}: {hold:?}"),
        }
    }

    pub(crate) fn refusal(&mut self, n: u32) -> (Timestamp, Hold) {
        match self.admit(n) {
            Admission::Go(permit) => panic!("admitted: {permit:?}"),
            Admission::NotBefore(at, hold) => (at, hold),
        }
    }

    pub(crate) fn settle(&mut self, permit: Permit, outcome: Outcome) {
        self.governor.settle(permit, outcome, self.now);
    }

    /// Sends `n` with this outcome, waiting as told; stops where the day ends. Tells how many went.
    pub(crate) fn send(&mut self, n: u32, outcome: Outcome) -> u32 {
        self.send_as(n, Priority::Usual, outcome)
    }

    pub(crate) fn send_as(&mut self, n: u32, priority: Priority, outcome: Outcome) -> u32 {
        let ends = self.plan.pace_end(self.now);
        let mut sent = 0;
        while sent < n {
            match self.governor.admit_as(self.lane, n - sent, priority, self.now) {
                Admission::Go(permit) => {
                    sent += permit.count();
                    self.settle(permit, outcome);
                }
                Admission::NotBefore(at, _) if at < ends => self.now = at,
                Admission::NotBefore(..) => break,
            }
        }
        sent
    }

    /// Everything written so far is on disk.
    pub(crate) fn sync(&mut self) {
        self.write();
        for batch in std::mem::take(&mut self.waiting) {
            self.durable = batch.number;
            for entry in batch.entries {
                let key = entry.storage_key();
                self.disk.retain(|old| old.storage_key() != key);
                if !entry.is_deletion() {
                    self.disk.push(entry);
                }
            }
        }
    }

    /// On its way to the disk, and not there yet.
    pub(crate) fn write(&mut self) {
        self.waiting.extend(self.governor.take_batch());
    }

    /// Everything in memory is gone, and what was on its way to the disk.
    pub(crate) fn crash(&mut self) {
        self.waiting.clear();
        self.durable = 0;
        self.governor = Governor::new();
        for entry in &self.disk {
            let text = serde_json::to_string(entry).unwrap();
            self.governor.apply_entry(serde_json::from_str(&text).unwrap());
        }
        self.lane = self.governor.open(&key(), &self.plan, Stage::FIRST, self.shape, self.now);
    }

    /// A stop in good order, and a start.
    pub(crate) fn restart(&mut self) {
        self.governor.return_leases();
        self.sync();
        self.crash();
    }
}

pub(crate) trait Ends {
    fn pace_end(&self, now: Timestamp) -> Timestamp;
}

impl Ends for Plan {
    fn pace_end(&self, now: Timestamp) -> Timestamp {
        let zone = self.pace.zone();
        zone.to_timestamp(zone.to_datetime(now).date().tomorrow().unwrap().to_datetime(jiff::civil::Time::midnight())).unwrap()
    }
}
