//! All lanes together, and their ledger's way to the disk and back.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use jiff::{SignedDuration, Timestamp, civil::Date};

use crate::{
    admission::{Admission, Hold, Outcome, Permit},
    backoff::{Cut, Standing, Usual},
    change::{LaneChange, Steer},
    curve::Stage,
    entries::{Batch, Entry, Note, Part},
    health::Counts,
    key::{LaneId, LaneKey},
    lane::Lane,
    ledger::Ledger,
    pace::Priority,
    plan::Plan,
    shape::Shape,
};

/// All lanes. One task owns it; every method takes the time.
#[derive(Debug, Default)]
pub struct Governor {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) ids: HashMap<LaneKey, LaneId>,
    /// Places of lanes that were forgotten.
    free: Vec<LaneId>,
    /// Lanes on record that are not open.
    shelf: HashMap<LaneKey, (Ledger, Standing)>,
    /// Batches taken so far.
    taken: u64,
    touched: Vec<LaneId>,
    pub(crate) changes: Vec<LaneChange>,
}

impl Governor {
    /// No lanes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a fact back from the disk: all of them, in any order, before the lanes are opened.
    pub fn apply_entry(&mut self, entry: Entry) {
        let (ledger, standing) = match self.ids.get(&entry.lane) {
            Some(id) => {
                let lane = &mut self.lanes[id.0 as usize];
                lane.restored();
                (&mut lane.ledger, &mut lane.standing)
            }
            None => {
                let (ledger, standing) = self.shelf.entry(entry.lane).or_default();
                (ledger, standing)
            }
        };
        match entry.part {
            Part::Day(day) => ledger.restore(day),
            Part::Standing(kept) => *standing = kept,
            Part::Forgotten(_) => {}
        }
    }

    /// The lane of this name, with this plan and shape. A lane without a past starts on `first`.
    pub fn open(&mut self, key: &LaneKey, plan: &Arc<Plan>, first: Stage, shape: Shape, now: Timestamp) -> LaneId {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        let id = self.free.pop().unwrap_or(LaneId(self.lanes.len() as u32));
        let mut lane = Lane::new(id, key.clone(), plan.clone(), first, shape, now);
        if let Some((ledger, standing)) = self.shelf.remove(key) {
            (lane.ledger, lane.standing) = (ledger, standing);
        }
        self.ids.insert(key.clone(), id);
        match self.lanes.get_mut(id.0 as usize) {
            Some(place) => *place = lane,
            None => self.lanes.push(lane),
        }
        id
    }

    /// The lane of this name, if it is open.
    pub fn find(&self, key: &LaneKey) -> Option<LaneId> {
        self.ids.get(key).copied()
    }

    /// A lane. Panics when the id is another governor's.
    pub fn lane(&self, id: LaneId) -> &Lane {
        &self.lanes[id.0 as usize]
    }

    /// All lanes, in the order in which they were opened.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.lanes.iter().filter(|lane| self.ids.get(&lane.key) == Some(&lane.id)).map(|lane| (lane.id, lane))
    }

    /// May `n` recipients go (0 is taken for 1)? The permit may be for fewer: ask again for the rest.
    pub fn admit(&mut self, lane: LaneId, n: u32, now: Timestamp) -> Admission {
        self.admit_as(lane, n, Priority::Usual, now)
    }

    /// The same, for mail of this priority.
    pub fn admit_as(&mut self, lane: LaneId, n: u32, priority: Priority, now: Timestamp) -> Admission {
        let n = NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        self.with(lane, |lane, batch| lane.admit(n, priority, now, batch))
    }

    /// What would stand in the way of one recipient now, and the first time at which it does not. Nothing changes by asking.
    pub fn blocked(&self, lane: LaneId, priority: Priority, now: Timestamp) -> Option<(Timestamp, Hold)> {
        let lane = self.lane(lane);
        if lane.is_free() {
            return None;
        }
        if let Some(known) = lane.refused(priority, now) {
            return Some(known);
        }
        let (first, hold) = lane.blocked(now, priority)?;
        Some((lane.first_open(first, priority), hold))
    }

    /// Whether a permit's day is still open: on the next one its recipients would count twice for the provider.
    pub fn holds(&self, permit: &Permit, now: Timestamp) -> bool {
        self.lane(permit.lane).ledger.day(permit.date).is_some_and(|day| day.is_open_at(now))
    }

    /// Settles a permit: the budget is spent, or comes back, and the lane's health knows the outcome.
    #[allow(clippy::needless_pass_by_value, reason = "a permit is settled once")]
    pub fn settle(&mut self, permit: Permit, outcome: Outcome, now: Timestamp) {
        self.with(permit.lane, |lane, batch| lane.settle(&permit, outcome, now, batch));
    }

    /// Counts what became known of mail sent before into the day on which it became known.
    pub fn note(&mut self, lane: LaneId, note: Note, n: u32, now: Timestamp) {
        self.with(lane, |lane, batch| lane.note(note, n, now, batch));
    }

    /// A provider pushed back: slower, or not at all, and then up again. `usual` is where the climb ends; the plan knows the
    /// usual rate where there is a cap.
    pub fn cut(&mut self, lane: LaneId, cut: &Cut, usual: Usual, now: Timestamp) {
        self.with(lane, |lane, batch| lane.cut(cut, usual, now, batch));
    }

    /// The sending address is found to be blocked at this provider, by other means than an answer to a permit.
    pub fn block(&mut self, lane: LaneId, now: Timestamp) {
        self.with(lane, |lane, batch| lane.block(now, batch));
    }

    /// Nothing goes for so long.
    pub fn pause(&mut self, lane: LaneId, length: SignedDuration, why: &Arc<str>, now: Timestamp) {
        let climb = crate::backoff::Climb { every: length, rate: NonZeroU32::MIN, connections: NonZeroU32::MIN };
        let cut = Cut { rate: None, connections: None, pause: Some(length), climb, why: why.clone() };
        self.cut(lane, &cut, Usual::default(), now);
    }

    /// An operator's hand on a lane.
    pub fn steer(&mut self, lane: LaneId, steer: Steer, why: &Arc<str>, now: Timestamp) {
        self.with(lane, |lane, batch| lane.steer(steer, why, now, batch));
    }

    /// A new plan, in the middle of the way: the stage stays, and the day's cap is the new plan's for it. A lane that had no curve before
    /// starts on `first`.
    pub fn set_plan(&mut self, lane: LaneId, plan: Arc<Plan>, first: Stage, now: Timestamp) {
        self.with(lane, |lane, batch| lane.set_plan(plan, first, now, batch));
    }

    /// Forgets a lane of which nothing has to be remembered: it has no curve, no pause and no permit out. True when it did; its id is then
    /// some other lane's one day.
    pub fn forget(&mut self, id: LaneId) -> bool {
        let lane = &self.lanes[id.0 as usize];
        let idle = lane.ledger.days().iter().all(|day| day.reserved == 0);
        let plain = lane.plan.curve.is_uncapped() && lane.standing == Standing::default() && !lane.standing_touched;
        if !plain || !idle || self.ids.get(&lane.key) != Some(&id) {
            return false;
        }
        self.ids.remove(&lane.key);
        self.touched.retain(|touched| *touched != id);
        self.free.push(id);
        true
    }

    /// New short windows. An unchanged shape goes on where it is.
    pub fn set_shape(&mut self, lane: LaneId, shape: Shape, now: Timestamp) {
        self.with(lane, |lane, _| lane.set_shape(shape, now));
    }

    /// Closes every lane's day that is over. Days close by themselves when mail asks; this is for lanes that nobody asks.
    pub fn close_day(&mut self, now: Timestamp) {
        for index in 0..self.lanes.len() {
            self.with(LaneId(index as u32), |lane, _| lane.close_day(now));
        }
    }

    /// Takes what another count of a lane's day knows, for instance the event log's after a crash. It never refills a day.
    pub fn recount(&mut self, lane: LaneId, date: Date, counts: Counts) {
        self.with(lane, |lane, _| {
            lane.ledger.recount(date, counts);
            lane.forget_refusals();
        });
    }

    /// What has to be written. Nothing when nothing changed.
    pub fn take_batch(&mut self) -> Option<Batch> {
        let mut entries = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            self.lanes[id.0 as usize].take_entries(&mut entries);
        }
        if entries.is_empty() {
            return None;
        }
        self.taken += 1;
        Some(Batch { number: self.taken, entries })
    }

    /// For a stop in good order, when no permit is out: the next batch says what was really used, and nothing is lost.
    pub fn return_leases(&mut self) {
        for index in 0..self.lanes.len() {
            self.with(LaneId(index as u32), Lane::return_lease);
        }
    }

    /// Every durable fact as it is now: what the disk holds when every batch was written.
    pub fn to_entries(&self) -> Vec<Entry> {
        self.lanes().flat_map(|(_, lane)| lane.to_entries()).collect()
    }

    /// What happened to lanes since the last call.
    pub fn take_changes(&mut self) -> Vec<LaneChange> {
        std::mem::take(&mut self.changes)
    }

    /// Does something to a lane, and notes what has to be written and told.
    fn with<T>(&mut self, id: LaneId, act: impl FnOnce(&mut Lane, u64) -> T) -> T {
        let lane = &mut self.lanes[id.0 as usize];
        let before = lane.is_touched();
        let answer = act(lane, self.taken + 1);
        if !before && lane.is_touched() {
            self.touched.push(id);
        }
        if !lane.changes.is_empty() {
            self.changes.extend(lane.changes.drain(..).map(|(at, change)| LaneChange { lane: id, at, change }));
        }
        answer
    }
}
