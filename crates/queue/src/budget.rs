//! The budget decides what may be sent when: permits from the governor, the choice of the source, and the mail that waits for budget.
//!
//! It moves no mail. It says which lane may send, on which list mail waits, and what a list lets through when.

mod ahead;
pub(crate) mod block;
mod choose;
mod forecast;
mod permits;
mod sources;
pub(crate) mod waitlist;

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{
    Admission, Batch, Choice, Governor, Hold, LaneEntry, LaneId, LaneKey, Note, Order, Permit, Priority, Selection, Shaper,
};
use posthaste_mail::Name;

use self::{
    block::{Block, LOOK_AGAIN},
    permits::{Changed, Permits},
    sources::Sources,
    waitlist::{LoggedWait, WaitListIx, WaitListKey, WaitLists},
};
use crate::{
    backlog::{Apart, table::StreamIx},
    connections::lanes::{Lane, Lanes},
    exchange::{AttemptResult, DeliveryJob},
    policy::Policy,
    times::after,
    view::View,
};

/// Groups with a permit that may wait for a connection in one lane, at most: more would tie up budget that other mail could use.
const GRANTED_MAX: usize = 200;
/// When a lane is down to so many of them, the wait lists of its provider are looked at again.
const GRANTED_LOW: usize = GRANTED_MAX / 2;

/// Permits, streams' own rates, sources' turns, and wait lists.
#[derive(Default)]
pub(crate) struct Budget {
    permits: Permits,
    sources: Sources,
    /// Streams with a rate of their own.
    rates: HashMap<StreamIx, Shaper>,
    lists: WaitLists,
}

/// Where a group with a known route goes.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// This lane may send it.
    Lane(LaneId),
    /// This lane may send it; the one whose turn it was may not.
    Spilled(LaneId),
    /// It waits on this list, for this reason; None: it waits behind the mail that is there already.
    Wait(WaitListKey, Option<Block>),
}

/// How many recipients of a group its stream's own rate lets through now.
#[derive(Debug)]
pub(crate) enum Through {
    /// All.
    All,
    /// The first ones, this many; the rest waits.
    Part(u32, Block),
    /// No recipient. Without a reason, the group waits behind the mail that is there already.
    Wait(Option<Block>),
}

/// The group that goes first in a wait list.
pub(crate) struct Head<'a> {
    /// Its recipients.
    pub(crate) n: u32,
    /// Their stream.
    pub(crate) stream: StreamIx,
    /// The provider of their mailboxes.
    pub(crate) provider: &'a Name,
}

/// What a wait list lets through.
#[derive(Debug)]
pub(crate) enum Release {
    /// As many recipients as this permit covers.
    Go(Box<Permit>),
    /// This many recipients, for which a lane is to be chosen, as mail of this stream.
    Choose(usize, StreamIx),
    /// Nothing before this time.
    NotBefore(Timestamp),
}

impl Budget {
    /// Restores the ledger that was read from the disk. Called before any mail is taken in.
    pub(crate) fn restore(&mut self, entries: impl IntoIterator<Item = LaneEntry>) {
        self.permits.restore(entries);
    }

    /// Lanes, budgets, health.
    pub(crate) fn governor(&self) -> &Governor {
        self.permits.governor()
    }

    /// The same, for changes.
    pub(crate) fn governor_mut(&mut self) -> &mut Governor {
        self.permits.governor_mut()
    }

    /// Opens the lanes of all sources that warm up and have a history, so that their days close and are shown even if no mail is sent
    /// there.
    pub(crate) fn open_lanes(&mut self, known: &HashSet<LaneKey>, policy: &Policy, now: Timestamp) {
        for key in known {
            let (Ok(source), Ok(provider)) = (Name::new(&key.source), Name::new(&key.provider)) else { continue };
            if policy.warmups.contains_key(&source) {
                self.permits.lane(&source, &provider, policy, now);
            }
        }
    }

    /// The source of a lane.
    pub(crate) fn source(&self, lane: LaneId) -> Name {
        self.permits.source(lane)
    }

    /// How many connections a lane may have now: fewer than its limits where the receiver or the provider pushed back.
    pub(crate) fn most_connections(&self, id: LaneId, lane: &Lane, policy: &Policy, now: Timestamp) -> usize {
        let most = lane.most_connections(policy.limits(lane.provider.as_str()));
        self.permits.connections(id, now).map_or(most, |slowed| slowed.min(most))
    }

    /// A lane's permit for up to `n` recipients, or the reason why there is none and the time of the next. A permit that was granted before
    /// is used if it is still valid and covers them.
    pub(crate) fn admit(
        &mut self,
        lane: LaneId,
        granted: Option<Box<Permit>>,
        n: usize,
        priority: Priority,
        now: Timestamp,
    ) -> Result<Box<Permit>, (Timestamp, Hold)> {
        match granted {
            Some(permit) if permit.count() as usize == n && self.permits.governor().holds(&permit, now) => return Ok(permit),
            stale => self.give_back(stale, now),
        }
        match self.permits.admit(lane, n, priority, now) {
            Admission::Go(permit) => Ok(Box::new(permit)),
            Admission::NotBefore(at, hold) => Err((at, hold)),
        }
    }

    /// A permit for the last attempt of up to `n` recipients that wait on a list, of the first of its lanes that only the provider's push-back
    /// holds back.
    pub(crate) fn admit_last(&mut self, key: &WaitListKey, n: usize, priority: Priority, view: View<'_>) -> Option<Box<Permit>> {
        let choices = self.choices(key, view);
        let lanes = self.permits.governor().rank(&choices, Order::WarmFirst, view.now);
        lanes.into_iter().find_map(|lane| self.permits.admit_last(lane, n, priority, view.now)).map(Box::new)
    }

    /// Whether only the provider's push-back holds back one of a list's lanes, as far as is known without asking for a permit.
    pub(crate) fn is_pushed_back_at(&mut self, key: &WaitListKey, priority: Priority, view: View<'_>) -> bool {
        let choices = self.choices(key, view);
        let governor = self.permits.governor();
        let hold = |choice: &Choice| governor.blocked(choice.lane, priority, view.now);
        choices.iter().filter_map(hold).any(|(_, hold)| hold.is_push_back())
    }

    /// Gives a job its permit.
    pub(crate) fn grant(&mut self, job: &mut DeliveryJob, permit: Box<Permit>) {
        self.permits.grant(job, permit);
    }

    /// A lane took up a group that had waited for budget: when few of those are left, more are let through before it runs out of them.
    pub(crate) fn taken_up(&mut self, lane: &Lane) {
        if lane.granted == GRANTED_LOW {
            self.lists.open_soon(lane.provider.as_str());
        }
    }

    /// Nothing was offered under this permit.
    pub(crate) fn give_back(&mut self, permit: Option<Box<Permit>>, now: Timestamp) {
        if let Some(permit) = permit {
            let provider = self.permits.give_back(*permit, now);
            self.lists.open_soon(&provider);
        }
    }

    /// Settles a job's permit by its results, and slows or stops the lane where the provider pushes back.
    /// `smart_host`: the hosts take all mail.
    pub(crate) fn spend(&mut self, permit: Option<Box<Permit>>, said: &[AttemptResult], smart_host: bool, policy: &Policy, now: Timestamp) {
        let Some(permit) = permit else { return };
        if let Some(provider) = self.permits.spend(*permit, said, smart_host, policy, now) {
            self.lists.open_soon(&provider);
        }
    }

    /// Counts what became known about mail that was sent earlier.
    pub(crate) fn note(&mut self, source: &Name, provider: &Name, note: Note, policy: &Policy, now: Timestamp) {
        let lane = self.permits.lane(source, provider, policy, now);
        self.permits.note(lane, note, now);
    }

    /// The clock went back: nothing waits for the clock that was ahead.
    pub(crate) fn clock_went_back(&mut self, now: Timestamp) {
        self.permits.clock_went_back();
        self.rates.values().for_each(|shaper| shaper.clock_went_back(now));
        self.lists.clock_went_back();
    }

    /// Follows a new configuration.
    pub(crate) fn follow(&mut self, policy: &Policy, now: Timestamp) {
        self.permits.follow(policy, now);
        self.lists.look_again_everywhere();
    }

    /// Sets a stream's own rate as configured, or removes it. An unchanged rate keeps its state.
    pub(crate) fn set_rate(&mut self, stream: StreamIx, shape: posthaste_governor::Shape, now: Timestamp) {
        if shape.is_none() {
            self.rates.remove(&stream);
        } else if self.rates.get(&stream).is_none_or(|shaper| shaper.shape() != shape) {
            self.rates.insert(stream, Shaper::new(shape, now));
        }
    }

    /// These sources are not on this host; all others are.
    pub(crate) fn set_gone(&mut self, gone: HashSet<Name>) {
        self.sources.set_gone(gone);
        self.lists.look_again_everywhere();
    }

    /// A pool's sources that are on this host.
    pub(crate) fn of_pool<'a>(&'a self, pool: &Name, policy: &'a Policy) -> impl Iterator<Item = &'a Name> {
        self.sources.of_pool(pool, policy).map(|(source, _)| source)
    }

    /// Whether a source is not on this host.
    pub(crate) fn is_gone(&self, source: &Name) -> bool {
        self.sources.is_gone(source)
    }

    /// How many of `n` recipients of a stream its own rate lets through now.
    pub(crate) fn through(&mut self, stream: StreamIx, n: usize, name: &Name, now: Timestamp) -> Through {
        let Some(shaper) = self.rates.get_mut(&stream) else { return Through::All };
        if self.lists.is_waited_at(&WaitListKey::Stream(stream)) {
            return Through::Wait(None);
        }
        let Some(n) = u32::try_from(n).ok().and_then(NonZeroU32::new) else { return Through::All };
        match shaper.take(n, now) {
            Ok(granted) if granted == n => Through::All,
            Ok(granted) => Through::Part(granted.get(), Block::of_stream(name, now, shaper.shape())),
            Err(at) => Through::Wait(Some(Block::of_stream(name, at, shaper.shape()))),
        }
    }

    /// Adds groups to a list, behind those that are as urgent. Returns the waits to be logged.
    pub(crate) fn wait(&mut self, key: &WaitListKey, block: Option<Block>, apart: Apart, view: View<'_>) -> Vec<LoggedWait> {
        let turn = block.as_ref().and_then(|block| block.lane);
        let Some(ix) = self.lists.at(key, block) else { return Vec::new() };
        let urgent = view.stream_policy(apart.stream).priority == Priority::Urgent;
        let class = (u64::from(!urgent) << 32) | u64::from(u32::MAX - view.share(apart.stream));
        let mut logged = Vec::new();
        for (domain, group) in apart.groups {
            let (position, last) = self.lists.add(ix, class, (domain, group, turn), apart.until);
            logged.extend(self.foresee(ix, position, last, view));
        }
        logged
    }

    /// The wait lists.
    pub(crate) fn lists(&self) -> &WaitLists {
        &self.lists
    }

    /// The same, to take groups out.
    pub(crate) fn lists_mut(&mut self) -> &mut WaitLists {
        &mut self.lists
    }

    /// The lanes that may send the mail on a list.
    pub(crate) fn choices_of(&mut self, list: WaitListIx, view: View<'_>) -> Vec<Choice> {
        let Some(key) = self.lists.key(list).cloned() else { return Vec::new() };
        self.choices(&key, view)
    }

    /// How much of its first group a list lets through. `choices` are its lanes.
    pub(crate) fn release(&mut self, list: WaitListIx, choices: &[Choice], head: &Head<'_>, view: View<'_>) -> Option<Release> {
        let waiting = self.lists.get_mut(list)?;
        if let WaitListKey::Stream(stream) = waiting.key {
            let n = NonZeroU32::new(head.n)?;
            let granted = self.rates.get_mut(&stream).map_or(Ok(n), |shaper| shaper.take(n, view.now));
            return Some(granted.map_or_else(Release::NotBefore, |granted| Release::Choose(granted.get() as usize, stream)));
        }
        if *head.provider != waiting.block.provider {
            // Its route has changed since.
            return Some(Release::Choose(usize::MAX, head.stream));
        }
        let choices: Vec<_> = choices.iter().copied().filter(|choice| carries_more(choice.lane, view.lanes)).collect();
        let priority = view.stream_policy(head.stream).priority;
        Some(match self.permits.governor_mut().admit_any(&choices, Order::WarmFirst, head.n, priority, view.now) {
            Selection::Go(permit) => Release::Go(Box::new(permit)),
            Selection::NotBefore { at, lane, hold } => {
                let source = Some(self.permits.source(lane));
                waiting.block = Block { source, lane: Some(lane), provider: waiting.block.provider.clone(), at, hold: Some(hold) };
                Release::NotBefore(at)
            }
            Selection::NoLane => Release::NotBefore(after(view.now, LOOK_AGAIN)),
        })
    }

    /// A list has let through what it could, and may let more through at `next`; None: it is empty. Returns the waits to be logged.
    pub(crate) fn wait_until(&mut self, list: WaitListIx, next: Option<Timestamp>, view: View<'_>) -> Vec<LoggedWait> {
        let Some(at) = next else {
            self.lists.close(list);
            return Vec::new();
        };
        let soonest = after(view.now, SignedDuration::from_nanos(1));
        self.lists.wake_at(list, at.max(soonest));
        let logged = self.foresee_all(list, view);
        if let Some(waiting) = self.lists.get(list).filter(|waiting| waiting.stale) {
            // It is too soon to look at the whole list again, and the list may open only much later: wake it in between.
            let again = waiting.wake.min(waiting.foreseen).max(soonest);
            self.lists.wake_at(list, again);
        }
        logged
    }

    /// Closes days that are over, and returns the ledger's batch that has to be written now.
    pub(crate) fn keep_ledger(&mut self, now: Timestamp) -> Option<Batch> {
        self.permits.keep(now)
    }

    /// The part of the ledger that is not written yet.
    pub(crate) fn write_ledger(&mut self) -> Option<Batch> {
        self.permits.write()
    }

    /// Returns the leased budget on an orderly stop, when no permit is out, so that none of the day's budget is lost.
    pub(crate) fn return_leases(&mut self) -> Option<Batch> {
        self.permits.governor_mut().return_leases();
        self.permits.write()
    }

    /// The lanes' changes since the last call. The wait lists of their providers are looked at again.
    pub(crate) fn changes(&mut self) -> Vec<Changed> {
        let changes = self.permits.changes();
        changes.iter().for_each(|changed| self.lists.look_again(&changed.key.provider));
        changes
    }

    /// Forgets lanes without recent mail, except for those with a state to be kept.
    pub(crate) fn sweep(&mut self, lanes: Vec<LaneId>) {
        for lane in lanes {
            self.permits.governor_mut().forget(lane);
        }
        self.sources.sweep();
    }

    /// When days are to be closed, in milliseconds since 1970; None if no source warms up.
    pub(crate) fn next_close(&self, policy: &Policy) -> Option<i64> {
        (!policy.warmups.is_empty()).then_some(self.permits.next_close())
    }

    /// When a wait list may let something through, or something in one expires.
    pub(crate) fn next_release(&self) -> Option<Timestamp> {
        self.lists.next()
    }
}

/// Whether fewer groups with permits wait for connections in a lane than may.
fn carries_more(lane: LaneId, lanes: &Lanes) -> bool {
    lanes.get(lane).is_none_or(|lane| lane.granted < GRANTED_MAX)
}

/// Whether the hold comes from the provider's push-back rather than from the lane's own curve.
fn is_pushed_back(hold: &Hold) -> bool {
    hold.is_push_back() || matches!(hold, Hold::Stopped { .. } | Hold::Shaped(_))
}
