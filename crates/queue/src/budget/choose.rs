//! The choice of the source for a group, and what happens to the group if that source has no budget.
//!
//! The pool's sources take turns by weight, or the coldest or the warmest comes first, as the stream says. If the source whose turn it is
//! may not send, its curve decides: the mail waits for it, spills over to the pool's other lanes (the warmest first), or goes to another
//! pool's. If none of those may send either, the mail waits on a list (see `waitlist`) for the first lane that may.

use std::num::NonZeroU32;

use jiff::Timestamp;
use posthaste_governor::{Choice, Hold, LaneId, Order, Overflow, Priority};
use posthaste_mail::Name;

use super::{Budget, Chosen, block::Block, is_pushed_back, waitlist::WaitListKey};
use crate::{backlog::table::StreamIx, view::View};

impl Budget {
    /// A lane for `n` recipients of a stream at a provider, or the list on which they wait for one.
    pub(crate) fn choose(&mut self, stream: StreamIx, n: usize, provider: &Name, view: View<'_>) -> Chosen {
        let policy = view.stream_policy(stream);
        let waits = WaitListKey::Pool(policy.pool.clone(), provider.clone());
        if self.lists.is_waited_at(&waits) {
            return Chosen::Wait(waits, None);
        }
        let Some(source) = self.first_source(stream, provider, view) else {
            return Chosen::Wait(waits, Some(Block::no_source(provider.clone(), view.now)));
        };
        let lane = view.lanes.find(&source, provider).unwrap_or_else(|| self.permits.lane(&source, provider, view.policy, view.now));
        let own = WaitListKey::Lane(source, provider.clone());
        if self.lists.is_waited_at(&own) {
            return Chosen::Wait(own, None);
        }
        match self.permits.governor().blocked(lane, policy.priority, view.now) {
            None => Chosen::Lane(lane),
            Some((at, hold)) => self.overflow(lane, stream, n, (at, hold), view),
        }
    }

    /// Another lane for `n` recipients whose own may not send before `at`, or the list on which they wait.
    pub(crate) fn overflow(&mut self, lane: LaneId, stream: StreamIx, n: usize, (at, hold): (Timestamp, Hold), view: View<'_>) -> Chosen {
        let policy = view.stream_policy(stream);
        let source = self.permits.source(lane);
        let provider = Name::new(&self.permits.governor().lane(lane).key().provider).expect("lanes are opened at providers");
        let key = match self.overflow_of(lane, &policy.pool, &hold, view) {
            Overflow::Defer => WaitListKey::Lane(source.clone(), provider.clone()),
            Overflow::Spill => WaitListKey::Pool(policy.pool.clone(), provider.clone()),
            Overflow::Pool(other) => match Name::new(&other).ok().filter(|name| view.policy.pools.contains_key(name)) {
                Some(other) => WaitListKey::Either(source.clone(), other, provider.clone()),
                None => WaitListKey::Lane(source.clone(), provider.clone()),
            },
        };
        let choices = self.choices(&key, view);
        let governor = self.permits.governor();
        let may = |other: &LaneId| {
            *other != lane && governor.blocked(*other, policy.priority, view.now).is_none() && self.has_room(*other, n, view)
        };
        let free = governor.rank(&choices, Order::WarmFirst, view.now).into_iter().find(may);
        match free {
            Some(other) if !self.lists.is_waited_at(&key) => Chosen::Spilled(other),
            _ => Chosen::Wait(key, Some(Block { source: Some(source), lane: Some(lane), provider, at, hold: Some(hold) })),
        }
    }

    /// What happens to a held lane's mail: the lane's curve decides if its own budget holds it, the pool if the provider pushed back.
    fn overflow_of(&self, lane: LaneId, pool: &Name, hold: &Hold, view: View<'_>) -> Overflow {
        if !is_pushed_back(hold) {
            return self.permits.governor().lane(lane).plan().overflow.clone();
        }
        let relieve = view.policy.pools.get(pool).is_some_and(|pool| pool.relieve);
        if relieve { Overflow::Spill } else { Overflow::Defer }
    }

    /// The lanes that may send the mail on a list, with their weights.
    pub(super) fn choices(&mut self, key: &WaitListKey, view: View<'_>) -> Vec<Choice> {
        let (own, pool, provider) = match key {
            WaitListKey::Lane(source, provider) => (Some(source), None, provider),
            WaitListKey::Pool(pool, provider) => (None, Some(pool), provider),
            WaitListKey::Either(source, pool, provider) => (Some(source), Some(pool), provider),
            WaitListKey::Stream(_) => return Vec::new(),
        };
        let own = own.filter(|source| !self.sources.is_gone(source));
        let others = pool.into_iter().flat_map(|pool| self.sources.of_pool(pool, view.policy));
        let sources = own.map(|source| (source, 1)).into_iter().chain(others.filter(|(source, _)| Some(*source) != own));
        let choice = |(source, weight): (&Name, u32)| Choice {
            lane: self.permits.lane(source, provider, view.policy, view.now),
            weight: NonZeroU32::new(weight).unwrap_or(NonZeroU32::MIN),
        };
        sources.map(choice).collect()
    }

    /// The source of a stream's pool whose turn it is at a provider; None if all are gone.
    fn first_source(&mut self, stream: StreamIx, provider: &Name, view: View<'_>) -> Option<Name> {
        let policy = view.stream_policy(stream);
        let (pool, order) = (&policy.pool, policy.order);
        if order == Order::Weight {
            return self.sources.next_by_weight(stream, pool, provider, view.policy);
        }
        let choices = self.choices(&WaitListKey::Pool(pool.clone(), provider.clone()), view);
        let governor = self.permits.governor();
        let ranked = governor.rank(&choices, order, view.now);
        let may = |lane: &&LaneId| self.may_send(**lane, policy.priority, view);
        let lane = ranked.iter().find(may).or(ranked.first())?;
        Some(self.permits.source(*lane))
    }

    fn may_send(&self, lane: LaneId, priority: Priority, view: View<'_>) -> bool {
        self.permits.governor().blocked(lane, priority, view.now).is_none() && self.has_room(lane, 1, view)
    }

    /// Whether the rest of a lane's budget covers the mail that is ready in it already, and `n` recipients more.
    fn has_room(&self, lane: LaneId, n: usize, view: View<'_>) -> bool {
        let Some(cap) = self.permits.governor().cap_left(lane, view.now) else { return true };
        let ready = view.lanes.get(lane).map_or(0, |lane| lane.ready - lane.granted);
        cap as usize >= ready + n
    }
}
