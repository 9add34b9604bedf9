//! The governor's part in the queue: lanes with their plans, permits for what goes out, what became of it, and what has to be on disk.

use std::{collections::HashSet, num::NonZeroU32};

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_governor::{Admission, Entry, Governor, LaneId, LaneKey, Note, Outcome as Spent, Permit, Usual};
use posthaste_mail::{Failure, LocalCause, Name};

use crate::{
    Action, Dispatcher, Input, Load, Said,
    backlog::settle::of_our_own,
    connections::lanes::LaneIx,
    dispatcher::millis,
    outcome::{Ending, outcome},
    warmup,
};

/// Milliseconds between two writings of what changed in the ledger, where no permit waits for it.
const LEDGER_EVERY: i64 = 1_000;
/// Milliseconds between two looks for days that are over.
const CLOSE_EVERY: i64 = 60_000;

/// What a lane is taken to send an hour at least when a provider asks for a share of it.
const LEAST_HOURLY: NonZeroU32 = NonZeroU32::new(120).expect("120 is not 0");

/// How far the ledger was handed out to be written.
#[derive(Default)]
pub(crate) struct Writing {
    /// The batch that some permit waits for.
    wanted: u64,
    taken: u64,
    next: i64,
    next_close: i64,
}

impl Dispatcher {
    /// Takes the ledger back from the disk; before any mail.
    pub fn restore_ledger(&mut self, entries: impl IntoIterator<Item = Entry>) {
        entries.into_iter().for_each(|entry| self.governor.apply_entry(entry));
    }

    /// Lanes, budgets, health.
    pub fn governor(&self) -> &Governor {
        &self.governor
    }

    /// The same, to be steered; what follows from it is done with the next input.
    pub fn governor_mut(&mut self) -> &mut Governor {
        &mut self.governor
    }

    /// Answers a question about the warm-up. What it changed is told, acted on, and handed to the disk at once.
    pub fn warmup(&mut self, ask: &warmup::Ask, now: Timestamp) -> (warmup::Answer, Vec<Action>) {
        let answer = warmup::perform(&mut self.governor, ask, now);
        let mut actions = self.handle(Input::Wake, now);
        self.write_ledger();
        actions.append(&mut self.actions);
        (answer, actions)
    }

    /// Opens the lanes of all sources that warm up and have a past, so that their days close and are seen though nobody writes to them.
    pub fn open_lanes(&mut self, known: &HashSet<LaneKey>, now: Timestamp) {
        self.now = now;
        for key in known {
            let (Ok(source), Ok(provider)) = (Name::new(&key.source), Name::new(&key.provider)) else { continue };
            if self.policy.warmups.contains_key(&source) {
                self.governed(&source, &provider);
            }
        }
    }

    /// The budget of this source at this provider.
    pub(crate) fn governed(&mut self, source: &Name, provider: &Name) -> LaneId {
        let key = LaneKey { source: source.as_str().into(), provider: provider.as_str().into() };
        if let Some(id) = self.governor.find(&key) {
            return id;
        }
        let (plan, first) = self.policy.plan(source, provider.as_str());
        let shape = self.policy.limits(provider.as_str()).shape;
        self.governor.open(&key, plan, first, shape, self.now)
    }

    pub(crate) fn lane(&mut self, source: &Name, provider: &Name) -> LaneIx {
        match self.lanes.find(source, provider) {
            Some(lane) => lane,
            None => {
                let governed = self.governed(source, provider);
                self.lanes.add(source, provider, governed)
            }
        }
    }

    /// A permit for up to `n` recipients of a lane.
    pub(crate) fn admit(&mut self, lane: LaneIx, n: usize, priority: posthaste_governor::Priority) -> Admission {
        let governed = self.lanes.lanes[&lane].governed;
        self.governor.admit_as(governed, u32::try_from(n).unwrap_or(u32::MAX), priority, self.now)
    }

    /// Gives a load its permit: from which day's budget it is, and what has to be on disk before anything is offered.
    pub(crate) fn permit(&mut self, load: &mut Load, permit: Box<Permit>) {
        let capped = !self.governor.lane(permit.lane()).plan().curve.is_uncapped();
        self.writing.wanted = self.writing.wanted.max(permit.durable());
        (load.durable, load.lane_day, load.permit) = (permit.durable(), capped.then(|| permit.date()), Some(permit));
    }

    /// Nothing was offered.
    pub(crate) fn give_back(&mut self, permit: Option<Box<Permit>>) {
        if let Some(permit) = permit {
            self.gates.open_soon(&self.governor.lane(permit.lane()).key().provider);
            self.governor.settle(*permit, Spent::GivenBack, self.now);
        }
    }

    /// Settles a load's permit by what was said of its recipients, and lets the lane feel what the provider thinks of it.
    pub(crate) fn spend(&mut self, permit: Option<Box<Permit>>, said: &[Said]) {
        let Some(mut permit) = permit else { return };
        let lane = permit.lane();
        let (mut blocked, mut given_back) = (false, false);
        self.react(lane, said);
        for said in said {
            let (outcome, block) = settled(said);
            // In the greeting, say: the permit is given back, and the block is one all the same.
            blocked |= block && outcome != Spent::Blocked;
            given_back |= outcome == Spent::GivenBack;
            if let Some(one) = permit.split(1) {
                self.governor.settle(one, outcome, self.now);
            }
        }
        if permit.count() > 0 {
            self.governor.settle(*permit, Spent::GivenBack, self.now);
        }
        if blocked {
            self.governor.block(lane, self.now);
        }
        if given_back {
            self.gates.open_soon(&self.governor.lane(lane).key().provider);
        }
    }

    /// Cuts or stops a lane as the feedback rules say, once for what was said together.
    fn react(&mut self, lane: LaneId, said: &[Said]) {
        let provider = self.governor.lane(lane).key().provider.clone();
        let reaction = said.iter().find_map(|said| match said {
            Said::Failed(failure, verdict) | Said::Unknown(failure, verdict) => self.policy.feedback.reaction(&provider, failure, verdict),
            Said::Delivered(_) | Said::Suppressed(_) => None,
        });
        let Some(reaction) = reaction else { return };
        let limits = self.policy.limits(&provider);
        let connections = u32::try_from(limits.connections).ok().and_then(NonZeroU32::new);
        let usual = Usual { rate: limits.shape.hour, connections };
        // Of what is next to nothing a share would be a standstill.
        let hourly = self.governor.lane(lane).hourly(self.now).map(|hourly| hourly.max(LEAST_HOURLY));
        let cut = reaction.at(hourly);
        self.governor.cut(lane, &cut, usual, self.now);
        if let Some(stop) = reaction.stop {
            self.governor.pause(lane, stop, &reaction.reason, self.now);
        }
    }

    /// Counts what became known of mail that was sent before.
    pub(crate) fn became_known(&mut self, source: &Name, provider: &Name, note: Note) {
        let lane = self.governed(source, provider);
        self.governor.note(lane, note, 1, self.now);
    }

    /// The lanes' part of a new policy: another curve keeps its lanes' stages.
    pub(crate) fn follow_policy(&mut self) {
        let lanes: Vec<(LaneId, LaneKey)> = self.governor.lanes().map(|(id, lane)| (id, lane.key().clone())).collect();
        for (id, key) in lanes {
            let (Ok(source), Ok(provider)) = (Name::new(&key.source), Name::new(&key.provider)) else { continue };
            let (plan, first) = self.policy.plan(&source, provider.as_str());
            if **self.governor.lane(id).plan() != **plan {
                self.governor.set_plan(id, plan.clone(), first, self.now);
            }
            self.governor.set_shape(id, self.policy.limits(provider.as_str()).shape, self.now);
        }
    }

    /// What is due in the ledger by now: days that are over, records to be written, changes to be told.
    pub(crate) fn keep_ledger(&mut self) {
        let now = self.now.as_millisecond();
        if now >= self.writing.next_close {
            self.writing.next_close = now.div_euclid(CLOSE_EVERY) * CLOSE_EVERY + CLOSE_EVERY;
            self.governor.close_day(self.now);
        }
        if self.writing.wanted > self.writing.taken || now >= self.writing.next {
            self.writing.next = now + LEDGER_EVERY;
            self.write_ledger();
        }
        for change in self.governor.take_changes() {
            let lane = self.governor.lane(change.lane);
            let (key, plan) = (lane.key().clone(), lane.plan().clone());
            self.gates.look_again(&key.provider);
            self.actions.push(Action::Lane { key, plan, change });
        }
    }

    fn write_ledger(&mut self) {
        if let Some(batch) = self.governor.take_batch() {
            self.writing.taken = batch.number;
            self.actions.push(Action::Ledger(batch));
        }
    }

    /// For a stop in good order, when no session is left: nothing of the day is lost by it.
    pub fn return_leases(&mut self, now: Timestamp) -> Vec<Action> {
        self.now = now;
        let paths: Vec<_> = self.lanes.paths.keys().copied().collect();
        for path in paths {
            self.empty(path).into_iter().for_each(|ready| self.give_back(ready.permit));
        }
        self.governor.return_leases();
        self.write_ledger();
        std::mem::take(&mut self.actions)
    }

    /// When the ledger wants to be looked at, while there is a budget to keep.
    pub(crate) fn ledger_wake(&self) -> Option<i64> {
        (!self.policy.warmups.is_empty()).then_some(self.writing.next_close)
    }

    /// How many connections a lane may have now.
    pub(crate) fn most_connections(&self, lane: LaneIx) -> usize {
        let lane = &self.lanes.lanes[&lane];
        let usual = self.policy.limits(lane.provider.as_str()).connections;
        let slowed = self.governor.lane(lane.governed).connections(self.now).map_or(usize::MAX, |most| most.get() as usize);
        let squeezed = lane.squeezed.map_or(usize::MAX, |(most, _)| most);
        usual.min(slowed).min(squeezed)
    }
}

/// A message that waited for budget until it was too old.
pub(crate) fn out_of_budget(detail: String) -> (Failure, Verdict) {
    use posthaste_mail::{Class, Stage};
    let failure = Failure::Local { stage: Stage::Dns, cause: LocalCause::NoBudget, detail };
    let verdict = of_our_own(Class::RateLimited, "governor", "no source that may send it had budget left before it expired");
    (failure, verdict)
}

/// Milliseconds at which a message of this age is given up.
pub(crate) fn expires(arrived: i64, expire: std::time::Duration) -> i64 {
    arrived.saturating_add(millis(expire))
}

/// What a permit is settled with for one recipient, and whether the provider blocks the sending address.
fn settled(said: &Said) -> (Spent, bool) {
    match said {
        Said::Delivered(_) => (outcome(Ending::Delivered), false),
        Said::Suppressed(_) => (Spent::GivenBack, false),
        Said::Failed(failure, verdict) | Said::Unknown(failure, verdict) => {
            let Verdict { class, action, permanent, .. } = *verdict;
            let ending = Ending::Failed { stage: failure.stage(), class, action, permanent };
            let refused = matches!(failure, Failure::Refused { .. });
            (outcome(ending), refused && action == posthaste_mail::Action::PauseLane)
        }
    }
}
