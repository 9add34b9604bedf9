//! Permits: the governor's lanes with their plans, what is spent of their budgets, and which ledger batch has to be on disk.

use std::{num::NonZeroU32, sync::Arc};

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_feedback::{AttemptEnd, outcome};
use posthaste_governor::{
    Admission, Batch, Governor, LaneChange, LaneEntry, LaneId, LaneKey, Note, Outcome as Spent, Permit, Plan, Priority, Usual,
};
use posthaste_mail::{Action as BounceAction, Failure, Name, Stage};

use crate::{
    exchange::{AttemptResult, DeliveryJob},
    policy::Policy,
};

/// Milliseconds between two writes of the ledger's changes if no permit waits for them.
const LEDGER_EVERY: i64 = 1_000;
/// Milliseconds between two checks for days that are over.
const CLOSE_EVERY: i64 = 60_000;
/// The hourly rate that a lane is taken to have at least when it is cut to a share of its rate.
const LEAST_HOURLY: NonZeroU32 = NonZeroU32::new(120).expect("120 is not 0");

/// The governor, and how much of its ledger was handed out to be written.
#[derive(Default)]
pub(crate) struct Permits {
    governor: Governor,
    /// The newest batch that a permit waits for.
    wanted: u64,
    taken: u64,
    /// When the ledger is to be written, and when days are to be closed; milliseconds since 1970.
    next_write: i64,
    next_close: i64,
}

/// A change of a lane.
pub(crate) struct Changed {
    /// Which lane.
    pub(crate) key: LaneKey,
    /// Its warm-up plan.
    pub(crate) plan: Arc<Plan>,
    /// What happened.
    pub(crate) change: LaneChange,
}

impl Permits {
    /// Restores the ledger that was read from the disk. Called before any mail is taken in.
    pub(crate) fn restore(&mut self, entries: impl IntoIterator<Item = LaneEntry>) {
        entries.into_iter().for_each(|entry| self.governor.apply_entry(entry));
    }

    /// Lanes, budgets, health.
    pub(crate) fn governor(&self) -> &Governor {
        &self.governor
    }

    /// The same, for changes.
    pub(crate) fn governor_mut(&mut self) -> &mut Governor {
        &mut self.governor
    }

    /// The lane of this source at this provider; opened if there is none yet.
    pub(crate) fn lane(&mut self, source: &Name, provider: &Name, policy: &Policy, now: Timestamp) -> LaneId {
        let key = LaneKey { source: source.as_str().into(), provider: provider.as_str().into() };
        if let Some(id) = self.governor.find(&key) {
            return id;
        }
        let (plan, first) = policy.plan(source, provider.as_str());
        let shape = policy.limits(provider.as_str()).shape;
        self.governor.open(&key, plan, first, shape, now)
    }

    /// The source of a lane.
    pub(crate) fn source(&self, lane: LaneId) -> Name {
        Name::new(&self.governor.lane(lane).key().source).expect("lanes are opened for sources")
    }

    /// How many connections a lane may have because its provider pushed back; None: any number.
    pub(crate) fn connections(&self, lane: LaneId, now: Timestamp) -> Option<usize> {
        self.governor.lane(lane).connections(now).map(|most| most.get() as usize)
    }

    /// A permit for up to `n` recipients of a lane.
    pub(crate) fn admit(&mut self, lane: LaneId, n: usize, priority: Priority, now: Timestamp) -> Admission {
        self.governor.admit_as(lane, u32::try_from(n).unwrap_or(u32::MAX), priority, now)
    }

    /// The same for recipients that are given up unless they go now, if the provider's push-back is all that holds the lane back.
    pub(crate) fn admit_last(&mut self, lane: LaneId, n: usize, priority: Priority, now: Timestamp) -> Option<Permit> {
        self.governor.blocked(lane, priority, now).filter(|(_, hold)| hold.is_push_back())?;
        match self.governor.admit_last(lane, u32::try_from(n).unwrap_or(u32::MAX), priority, now) {
            Admission::Go(permit) => Some(permit),
            Admission::NotBefore(..) => None,
        }
    }

    /// Gives a job its permit, with the day from whose budget it is and the batch that has to be on disk before anything is offered.
    pub(crate) fn grant(&mut self, job: &mut DeliveryJob, permit: Box<Permit>) {
        let capped = !self.governor.lane(permit.lane()).plan().curve.is_uncapped();
        self.wanted = self.wanted.max(permit.durable());
        (job.durable, job.lane_day, job.permit) = (permit.durable(), capped.then(|| permit.date()), Some(permit));
    }

    /// Nothing was offered under a permit. Returns the provider at which budget became free.
    pub(crate) fn give_back(&mut self, permit: Permit, now: Timestamp) -> Arc<str> {
        let provider = self.governor.lane(permit.lane()).key().provider.clone();
        self.governor.settle(permit, Spent::GivenBack, now);
        provider
    }

    /// Settles a job's permit by its results, and slows or stops the lane as the feedback rules say. Returns the provider at which budget
    /// became free, if some did.
    /// `smart_host`: the hosts take all mail, so that what they say of one recipient is not about the lane.
    pub(crate) fn spend(
        &mut self,
        mut permit: Permit,
        said: &[AttemptResult],
        smart_host: bool,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<Arc<str>> {
        let lane = permit.lane();
        let (mut blocked, mut given_back) = (false, false);
        let about_lane = said.iter().filter(|said| !(smart_host && is_about_mail(said)));
        self.react(lane, about_lane, policy, now);
        for said in said {
            let (outcome, block) = settled(said);
            // A block in the greeting, for example, counts as one although the permit is given back.
            blocked |= block && outcome != Spent::Blocked;
            given_back |= outcome == Spent::GivenBack;
            if let Some(one) = permit.split(1) {
                self.governor.settle(one, outcome, now);
            }
        }
        if permit.count() > 0 {
            self.governor.settle(permit, Spent::GivenBack, now);
        }
        if blocked {
            self.governor.block(lane, now);
        }
        given_back.then(|| self.governor.lane(lane).key().provider.clone())
    }

    /// Slows or stops a lane as the feedback rules say, once for all recipients of a job.
    fn react<'s>(&mut self, lane: LaneId, said: impl Iterator<Item = &'s AttemptResult>, policy: &Policy, now: Timestamp) {
        let provider = &self.governor.lane(lane).key().provider;
        let mut said = said;
        let reaction = said.find_map(|said| match said {
            AttemptResult::Failed(failure, verdict) | AttemptResult::Unknown(failure, verdict) => {
                policy.feedback.reaction(provider, failure, verdict)
            }
            AttemptResult::Delivered(_) | AttemptResult::Suppressed(_) => None,
        });
        let Some(reaction) = reaction else { return };
        let limits = policy.limits(provider);
        let connections = u32::try_from(limits.connections).ok().and_then(NonZeroU32::new);
        let usual = Usual { rate: limits.shape.hour, connections };
        // A share of a rate close to zero would stop the lane.
        let hourly = self.governor.lane(lane).hourly(now).map(|hourly| hourly.max(LEAST_HOURLY));
        let cut = reaction.at(hourly);
        self.governor.cut(lane, &cut, usual, now);
        if let Some(stop) = reaction.stop {
            self.governor.pause(lane, stop, &reaction.reason, now);
        }
    }

    /// Counts what became known about mail that was sent earlier.
    pub(crate) fn note(&mut self, lane: LaneId, note: Note, now: Timestamp) {
        self.governor.note(lane, note, 1, now);
    }

    /// Follows a new configuration. A lane with another curve keeps its stage.
    pub(crate) fn follow(&mut self, policy: &Policy, now: Timestamp) {
        let lanes: Vec<(LaneId, LaneKey)> = self.governor.lanes().map(|(id, lane)| (id, lane.key().clone())).collect();
        for (id, key) in lanes {
            let (Ok(source), Ok(provider)) = (Name::new(&key.source), Name::new(&key.provider)) else { continue };
            let (plan, first) = policy.plan(&source, provider.as_str());
            if **self.governor.lane(id).plan() != **plan {
                self.governor.set_plan(id, plan.clone(), first, now);
            }
            self.governor.set_shape(id, policy.limits(provider.as_str()).shape, now);
        }
    }

    /// Closes days that are over, and returns the ledger's batch that has to be written now.
    pub(crate) fn keep(&mut self, time: Timestamp) -> Option<Batch> {
        let now = time.as_millisecond();
        if now >= self.next_close {
            self.next_close = now.div_euclid(CLOSE_EVERY) * CLOSE_EVERY + CLOSE_EVERY;
            self.governor.close_day(time);
        }
        if self.wanted <= self.taken && now < self.next_write {
            return None;
        }
        self.next_write = now + LEDGER_EVERY;
        self.write()
    }

    /// The clock went back: the ledger is written and days are closed by the clock as it is.
    pub(crate) fn clock_went_back(&mut self) {
        (self.next_write, self.next_close) = (0, 0);
    }

    /// The part of the ledger that is not written yet.
    pub(crate) fn write(&mut self) -> Option<Batch> {
        let batch = self.governor.take_batch()?;
        self.taken = batch.number;
        Some(batch)
    }

    /// The lanes' changes since the last call.
    pub(crate) fn changes(&mut self) -> Vec<Changed> {
        let changes = self.governor.take_changes();
        let changed = |change: LaneChange| {
            let lane = self.governor.lane(change.lane);
            Changed { key: lane.key().clone(), plan: lane.plan().clone(), change }
        };
        changes.into_iter().map(changed).collect()
    }

    /// When days are to be closed, in milliseconds since 1970.
    pub(crate) fn next_close(&self) -> i64 {
        self.next_close
    }
}

/// Whether an answer is about a recipient or a message, and asks for nothing of the lane.
fn is_about_mail(said: &AttemptResult) -> bool {
    let (AttemptResult::Failed(failure, verdict) | AttemptResult::Unknown(failure, verdict)) = said else { return false };
    let Failure::Refused { stage: Stage::Rcpt | Stage::Data | Stage::Dot, reply } = failure else { return false };
    reply.code != 421 && !matches!(verdict.action, BounceAction::SlowDown | BounceAction::PauseLane)
}

/// The outcome with which a permit is settled for one recipient, and whether the provider blocks the sending address.
fn settled(said: &AttemptResult) -> (Spent, bool) {
    match said {
        AttemptResult::Delivered(_) => (outcome(AttemptEnd::Delivered), false),
        AttemptResult::Suppressed(_) => (Spent::GivenBack, false),
        AttemptResult::Failed(failure, verdict) | AttemptResult::Unknown(failure, verdict) => {
            let Verdict { class, action, permanent, .. } = *verdict;
            let ending = AttemptEnd::Failed { stage: failure.stage(), class, action, permanent };
            let refused = matches!(failure, Failure::Refused { .. });
            (outcome(ending), refused && action == BounceAction::PauseLane)
        }
    }
}
