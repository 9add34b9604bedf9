//! All lanes together, and the way of their entries to the disk and back.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use jiff::{SignedDuration, Timestamp, civil::Date};

use crate::{
    admission::{Admission, Hold, Outcome, Permit},
    backoff::{Cut, Restrictions, Usual},
    change::{LaneChange, Steer},
    curve::Stage,
    entries::{Batch, LaneEntry, Note, Part},
    health::Counts,
    key::{LaneId, LaneKey},
    lane::Lane,
    ledger::DayLedger,
    pace::Priority,
    plan::Plan,
    shape::Shape,
};

/// All lanes. One task owns the governor; every method takes the time.
#[derive(Debug, Default)]
pub struct Governor {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) ids: HashMap<LaneKey, LaneId>,
    /// Ids of forgotten lanes, free to be used again.
    free: Vec<LaneId>,
    /// Lanes on record that are not open.
    shelf: HashMap<LaneKey, (DayLedger, Restrictions)>,
    /// Batches taken so far.
    taken: u64,
    touched: Vec<LaneId>,
    pub(crate) changes: Vec<LaneChange>,
}

impl Governor {
    /// A governor without lanes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Restores an entry from the disk. Every entry has to be restored, in any order, before the lanes are opened.
    pub fn apply_entry(&mut self, entry: LaneEntry) {
        let (ledger, restrictions) = match self.ids.get(&entry.lane) {
            Some(id) => {
                let lane = &mut self.lanes[id.0 as usize];
                lane.restored();
                (&mut lane.ledger, &mut lane.restrictions)
            }
            None => {
                let (ledger, restrictions) = self.shelf.entry(entry.lane).or_default();
                (ledger, restrictions)
            }
        };
        match entry.part {
            Part::Day(day) => ledger.restore(day),
            Part::Restrictions(kept) => *restrictions = kept,
            Part::Forgotten(_) => {}
        }
    }

    /// Opens the lane of this name with this plan and shape. A lane without a record starts on stage `first`.
    pub fn open(&mut self, key: &LaneKey, plan: &Arc<Plan>, first: Stage, shape: Shape, now: Timestamp) -> LaneId {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        let id = self.free.pop().unwrap_or(LaneId(self.lanes.len() as u32));
        let mut lane = Lane::new(id, key.clone(), plan.clone(), first, shape, now);
        if let Some((ledger, restrictions)) = self.shelf.remove(key) {
            (lane.ledger, lane.restrictions) = (ledger, restrictions);
        }
        self.ids.insert(key.clone(), id);
        match self.lanes.get_mut(id.0 as usize) {
            Some(place) => *place = lane,
            None => self.lanes.push(lane),
        }
        id
    }

    /// The open lane of this name, if there is one.
    pub fn find(&self, key: &LaneKey) -> Option<LaneId> {
        self.ids.get(key).copied()
    }

    /// The lane with this id. Panics if the id is another governor's.
    pub fn lane(&self, id: LaneId) -> &Lane {
        &self.lanes[id.0 as usize]
    }

    /// All lanes, in the order in which they were opened.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.lanes.iter().filter(|lane| self.ids.get(&lane.key) == Some(&lane.id)).map(|lane| (lane.id, lane))
    }

    /// Asks whether `n` recipients may go (0 counts as 1). The permit may cover fewer: ask again for the rest.
    pub fn admit(&mut self, lane: LaneId, n: u32, now: Timestamp) -> Admission {
        self.admit_as(lane, n, Priority::Usual, now)
    }

    /// Like [`Self::admit`], for mail of this priority.
    pub fn admit_as(&mut self, lane: LaneId, n: u32, priority: Priority, now: Timestamp) -> Admission {
        let n = NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        self.with(lane, |lane, batch| lane.admit(n, priority, now, batch))
    }

    /// Like [`Self::admit_as`], for mail that is given up unless it goes now: a pause and a lower rate, after the provider pushed back, do not hold
    /// it. Caps, hours, rates that are configured and an operator's stop do.
    pub fn admit_last(&mut self, lane: LaneId, n: u32, priority: Priority, now: Timestamp) -> Admission {
        let n = NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        self.with(lane, |lane, batch| lane.admit_last(n, priority, now, batch))
    }

    /// Why one recipient could not go now, and the first time at which one could. Asking changes nothing.
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

    /// Whether the permit's day is still open. On the next day, the provider would get its recipients on top of that day's budget.
    pub fn holds(&self, permit: &Permit, now: Timestamp) -> bool {
        self.lane(permit.lane).ledger.day(permit.date).is_some_and(|day| day.is_open_at(now))
    }

    /// Settles a permit: its budget is spent or returned, and the outcome counts for the lane's health.
    #[allow(clippy::needless_pass_by_value, reason = "a permit is settled once")]
    pub fn settle(&mut self, permit: Permit, outcome: Outcome, now: Timestamp) {
        self.with(permit.lane, |lane, batch| lane.settle(&permit, outcome, now, batch));
    }

    /// Counts news about mail sent earlier on the day on which the news arrives.
    pub fn note(&mut self, lane: LaneId, note: Note, n: u32, now: Timestamp) {
        self.with(lane, |lane, batch| lane.note(note, n, now, batch));
    }

    /// Slows or pauses a lane after its provider pushed back; then the lane climbs. `usual` is where the climb ends; where it names
    /// no rate, the plan's usual rate is taken, if the lane has a cap.
    pub fn cut(&mut self, lane: LaneId, cut: &Cut, usual: Usual, now: Timestamp) {
        self.with(lane, |lane, batch| lane.cut(cut, usual, now, batch));
    }

    /// Reports a block of the sending address at this provider that was found by other means than the outcome of a permit.
    pub fn block(&mut self, lane: LaneId, now: Timestamp) {
        self.with(lane, |lane, batch| lane.block(now, batch));
    }

    /// Pauses a lane for `length`.
    pub fn pause(&mut self, lane: LaneId, length: SignedDuration, why: &Arc<str>, now: Timestamp) {
        let climb = crate::backoff::Climb { every: length, rate: NonZeroU32::MIN, connections: NonZeroU32::MIN };
        let cut = Cut { rate: None, connections: None, pause: Some(length), climb, why: why.clone() };
        self.cut(lane, &cut, Usual::default(), now);
    }

    /// Applies an operator's command to a lane.
    pub fn steer(&mut self, lane: LaneId, steer: Steer, why: &Arc<str>, now: Timestamp) {
        self.with(lane, |lane, batch| lane.steer(steer, why, now, batch));
    }

    /// Gives a lane a new plan in the middle of its warm-up: the stage stays, and the day's cap becomes the new plan's cap for it. A lane
    /// that had no curve before starts on `first`.
    pub fn set_plan(&mut self, lane: LaneId, plan: Arc<Plan>, first: Stage, now: Timestamp) {
        self.with(lane, |lane, batch| lane.set_plan(plan, first, now, batch));
    }

    /// Forgets a lane that has nothing to remember: no curve, no pause and no unsettled permit. True if it was forgotten; its id may then
    /// be given to another lane.
    pub fn forget(&mut self, id: LaneId) -> bool {
        let lane = &self.lanes[id.0 as usize];
        let idle = lane.ledger.days().iter().all(|day| day.reserved == 0);
        let plain = lane.plan.curve.is_uncapped() && lane.restrictions == Restrictions::default() && !lane.restrictions_touched;
        if !plain || !idle || self.ids.get(&lane.key) != Some(&id) {
            return false;
        }
        self.ids.remove(&lane.key);
        self.touched.retain(|touched| *touched != id);
        self.free.push(id);
        true
    }

    /// Gives a lane a new shape. Setting the shape that is in force keeps the state of its limits.
    pub fn set_shape(&mut self, lane: LaneId, shape: Shape, now: Timestamp) {
        self.with(lane, |lane, _| lane.set_shape(shape, now));
    }

    /// Closes the days that are over in all lanes. A lane that is asked to admit mail closes its days itself; this is for idle lanes.
    pub fn close_day(&mut self, now: Timestamp) {
        for index in 0..self.lanes.len() {
            self.with(LaneId(index as u32), |lane, _| lane.close_day(now));
        }
    }

    /// Adds what another count of a lane's day knows, such as the event log's after a crash. It never refills a day.
    pub fn recount(&mut self, lane: LaneId, date: Date, counts: Counts) {
        self.with(lane, |lane, _| {
            lane.ledger.recount(date, counts);
            lane.forget_refusals();
        });
    }

    /// The entries that have to be written; `None` if nothing changed.
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

    /// For a clean stop, when no permit is unsettled: the next batch records what was really used, and nothing is lost.
    pub fn return_leases(&mut self) {
        for index in 0..self.lanes.len() {
            self.with(LaneId(index as u32), Lane::return_lease);
        }
    }

    /// The changes of lanes since the last call.
    pub fn take_changes(&mut self) -> Vec<LaneChange> {
        std::mem::take(&mut self.changes)
    }

    /// Runs `act` on a lane, and collects the entries to write and the changes to report.
    fn with<T>(&mut self, id: LaneId, act: impl FnOnce(&mut Lane, u64) -> T) -> T {
        let lane = &mut self.lanes[id.0 as usize];
        let before = lane.is_touched();
        let answer = act(lane, self.taken + 1);
        if !before && lane.is_touched() {
            self.touched.push(id);
        }
        for (at, change) in lane.changes.drain(..) {
            // What one reply does to a lane is reported once.
            let last = self.changes.last_mut().filter(|last| last.lane == id && last.at == at);
            let both = last.as_ref().and_then(|before| before.change.and(&change));
            match (last, both) {
                (Some(before), Some(both)) => before.change = both,
                _ => self.changes.push(LaneChange { lane: id, at, change }),
            }
        }
        answer
    }
}
