//! Which source a group takes, and what becomes of it when that one has no budget.
//!
//! The pool's sources take turns by weight, or the coldest or the warmest comes first, as the stream says. Where the one whose turn it is
//! may not send, its curve says what happens: the mail waits for it, spills over to the pool's other lanes (the warmest first), or goes to
//! another pool's. Where none of those may send either, it waits at a gate (see `gate`) for the first that may.

use std::{num::NonZeroU32, sync::Arc};

use jiff::Timestamp;
use posthaste_governor::{Choice, Hold, LaneId, Order, Overflow, Priority};
use posthaste_mail::Name;

use crate::Way;
use crate::{
    Dispatcher, StreamPolicy,
    backlog::table::{RecipientGroup, StreamIx},
    budget::{block::Block, waitlist::WaitListKey},
    connections::lanes::{LaneIx, Ready},
};

impl Dispatcher {
    pub(crate) fn stream_policy(&self, stream: StreamIx) -> &StreamPolicy {
        self.policy.stream(self.streams.name(stream))
    }

    /// Brings a group whose way is known to a lane that may send it, or to a gate.
    pub(crate) fn enqueue(&mut self, way: &Arc<Way>, group: RecipientGroup) {
        let Some((owed, rcpts)) = self.table.open(&group) else { return };
        let (stream, n) = (self.streams.whole(owed.stream), rcpts.len());
        let group = match self.tenants.contains_key(&stream) {
            true => match self.through_the_streams_rate(stream, n, group) {
                Some(group) => group,
                None => return,
            },
            false => group,
        };
        self.choose(way, stream, group);
    }

    /// What of a group the stream's own rate lets go now; the rest waits.
    fn through_the_streams_rate(&mut self, stream: StreamIx, n: usize, group: RecipientGroup) -> Option<RecipientGroup> {
        let shaper = self.tenants.get_mut(&stream)?;
        let key = WaitListKey::Stream(stream);
        if self.gates.is_waited_at(&key) {
            self.join_gate(&key, &group);
            return None;
        }
        let n = NonZeroU32::new(u32::try_from(n).ok()?)?;
        let block = |at, shape| Block::of_stream(self.streams.name(stream), at, shape);
        match shaper.take(n, self.now) {
            Ok(granted) if granted == n => Some(group),
            Ok(granted) => {
                let block = block(self.now, shaper.shape());
                let (now, rest) = self.table.split(&group, granted.get() as usize)?;
                self.wait(&key, &rest, &block);
                Some(now)
            }
            Err(at) => {
                let block = block(at, shaper.shape());
                self.wait(&key, &group, &block);
                None
            }
        }
    }

    /// The same behind the stream's own rate.
    pub(crate) fn choose(&mut self, way: &Arc<Way>, stream: StreamIx, group: RecipientGroup) {
        let (pool, order, priority) = {
            let policy = self.stream_policy(stream);
            (policy.pool.clone(), policy.order, policy.priority)
        };
        let provider = &way.provider;
        let waits = WaitListKey::Pool(pool.clone(), provider.clone());
        if self.gates.is_waited_at(&waits) {
            return self.join_gate(&waits, &group);
        }
        let Some(source) = self.first_source(stream, &pool, provider, order, priority) else {
            let block = Block::no_source(provider.clone(), self.now);
            return self.wait(&waits, &group, &block);
        };
        let own = WaitListKey::Lane(source.clone(), provider.clone());
        if self.gates.is_waited_at(&own) {
            return self.join_gate(&own, &group);
        }
        let lane = self.lane(&source, provider);
        match self.governor.blocked(self.lanes.lanes[&lane].governed, priority, self.now) {
            None => self.send_by(lane, way, group.into()),
            Some((at, hold)) => self.overflow(lane, way, group, at, hold),
        }
    }

    /// Queues a group in a lane.
    pub(crate) fn send_by(&mut self, lane: LaneIx, way: &Arc<Way>, ready: Ready) {
        let Some((owed, _)) = self.table.open(&ready.group) else { return self.give_back(ready.permit) };
        let stream = owed.stream;
        let path = self.lanes.path(lane, way);
        if let Some(why) = self.still_down(path) {
            self.give_back(ready.permit);
            return self.not_tried(path, &ready.group, &why);
        }
        let policy = self.stream_policy(stream);
        let (share, most) = (self.share(stream), policy.recipients_at_once(self.policy.limits(way.provider.as_str())));
        self.lanes.push(path, (stream, share), ready, most);
        self.to_pump.push(lane);
    }

    /// What becomes of a group whose lane may not send before `at`.
    pub(crate) fn overflow(&mut self, lane: LaneIx, way: &Arc<Way>, group: RecipientGroup, at: Timestamp, hold: Hold) {
        let Some((owed, rcpts)) = self.table.open(&group) else { return };
        let (stream, n) = (owed.stream, rcpts.len());
        let (source, provider, governed) = {
            let lane = &self.lanes.lanes[&lane];
            (lane.source.clone(), lane.provider.clone(), lane.governed)
        };
        let (pool, priority) = {
            let policy = self.stream_policy(stream);
            (policy.pool.clone(), policy.priority)
        };
        let gate = match self.overflow_of(governed, &pool, &hold) {
            Overflow::Defer => WaitListKey::Lane(source.clone(), provider.clone()),
            Overflow::Spill => WaitListKey::Pool(pool, provider.clone()),
            Overflow::Pool(other) => match Name::new(&other).ok().filter(|name| self.policy.pools.contains_key(name)) {
                Some(other) => WaitListKey::Either(source.clone(), other, provider.clone()),
                None => WaitListKey::Lane(source.clone(), provider.clone()),
            },
        };
        let choices = self.choices(&gate);
        let free =
            self.governor.rank(&choices, Order::WarmFirst, self.now).into_iter().find(|other| {
                *other != governed && self.governor.blocked(*other, priority, self.now).is_none() && self.has_room(*other, n)
            });
        match free {
            Some(other) if !self.gates.is_waited_at(&gate) => {
                let source = self.source_of(other);
                let lane = self.lane(&source, &provider);
                self.send_by(lane, way, group.into());
            }
            _ => {
                let block = Block { source: Some(source), provider, at, hold: Some(hold) };
                self.wait(&gate, &group, &block);
            }
        }
    }

    /// A lane's own curve decides about its budget, its pool about what a provider does to it.
    fn overflow_of(&self, lane: LaneId, pool: &Name, hold: &Hold) -> Overflow {
        match hold {
            Hold::Paused { .. } | Hold::Stopped { .. } | Hold::Slowed { .. } | Hold::Shaped(_) => {
                let relieve = self.policy.pools.get(pool).is_some_and(|pool| pool.relieve);
                if relieve { Overflow::Spill } else { Overflow::Defer }
            }
            _ => self.governor.lane(lane).plan().overflow.clone(),
        }
    }

    /// The lanes that take what waits at a gate, with their weights.
    pub(crate) fn choices(&mut self, gate: &WaitListKey) -> Vec<Choice> {
        let (own, pool, provider) = match gate {
            WaitListKey::Lane(source, provider) => (Some(source), None, provider),
            WaitListKey::Pool(pool, provider) => (None, Some(pool), provider),
            WaitListKey::Either(source, pool, provider) => (Some(source), Some(pool), provider),
            WaitListKey::Stream(_) => return Vec::new(),
        };
        let mut sources: Vec<(Name, u32)> = own.map(|source| (source.clone(), 1)).into_iter().collect();
        for (source, weight) in pool.and_then(|pool| self.policy.pools.get(pool)).map_or(&[][..], |pool| &pool.sources) {
            if !sources.iter().any(|(known, _)| known == source) {
                sources.push((source.clone(), *weight));
            }
        }
        let there = sources.into_iter().filter(|(source, _)| !self.gone.contains(source)).collect::<Vec<_>>();
        let choice = |(source, weight): &(Name, u32)| Choice {
            lane: self.governed(source, provider),
            weight: NonZeroU32::new(*weight).unwrap_or(NonZeroU32::MIN),
        };
        there.iter().map(choice).collect()
    }

    /// The source whose turn it is; `None` when all are gone.
    fn first_source(&mut self, stream: StreamIx, pool: &Name, provider: &Name, order: Order, priority: Priority) -> Option<Name> {
        if order == Order::Weight {
            return self.next_by_weight(stream, pool, provider);
        }
        let choices = self.choices(&WaitListKey::Pool(pool.clone(), provider.clone()));
        let ranked = self.governor.rank(&choices, order, self.now);
        let may = |lane: &&LaneId| self.governor.blocked(**lane, priority, self.now).is_none() && self.has_room(**lane, 1);
        let lane = ranked.iter().find(may).or(ranked.first())?;
        Some(self.source_of(*lane))
    }

    /// A pool's sources take turns by their weights, at each provider by itself: mail that alternates between two providers would else send
    /// each one's by one source. Providers begin with different sources, so that those with one message each are shared out too.
    fn next_by_weight(&mut self, stream: StreamIx, pool: &Name, provider: &Name) -> Option<Name> {
        let sources = &self.policy.pools.get(pool)?.sources;
        let there = || sources.iter().filter(|(name, _)| !self.gone.contains(name));
        let total: u64 = there().map(|(_, weight)| u64::from(*weight)).sum();
        let begun = &mut self.turns_begun;
        let turn = self.sources_turn.entry((stream, provider.clone())).or_insert_with(|| {
            *begun = begun.wrapping_add(1);
            begun.wrapping_sub(1)
        });
        let mut at = *turn % total.max(1);
        *turn = turn.wrapping_add(1);
        for (name, weight) in there() {
            if at < u64::from(*weight) {
                return Some(name.clone());
            }
            at -= u64::from(*weight);
        }
        None
    }

    /// Whether what is left of a lane's budget covers what is ready in it already, and `n` more.
    fn has_room(&self, lane: LaneId, n: usize) -> bool {
        let Some(cap) = self.governor.cap_left(lane, self.now) else { return true };
        let ready = self.lanes.of_budget(lane).map_or(0, |lane| lane.ready - lane.granted);
        cap as usize >= ready + n
    }

    fn source_of(&self, lane: LaneId) -> Name {
        Name::new(&self.governor.lane(lane).key().source).expect("lanes are opened for sources")
    }
}
