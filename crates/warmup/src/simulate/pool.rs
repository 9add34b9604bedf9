//! The sources of a stream's pool and of the pools to which its curves send overflow, and their lanes.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use jiff::{Timestamp, civil::Date};
use posthaste_governor::{Governor, LaneId, LaneKey};
use posthaste_mail::Name;
use posthaste_queue::Policy;

use super::{
    rows::LaneDay,
    waitlists::{OWN_POOL, WaitListKey},
};

/// Sources by number, pools of them, and lanes as they are opened.
pub(super) struct SimulatedLanes<'p> {
    policy: &'p Policy,
    sources: Vec<Name>,
    pools: Vec<(Name, Vec<(usize, NonZeroU32)>)>,
    lanes: HashMap<(usize, usize), LaneId>,
    /// The source of each lane.
    source_of: HashMap<LaneId, usize>,
    /// The next turn of each provider. With one turn for all, a mix of providers in step with the turns would leave each provider to one
    /// source.
    turns: HashMap<usize, u64>,
}

impl<'p> SimulatedLanes<'p> {
    pub(super) fn new(policy: &'p Policy, pool: &Name) -> Self {
        let named: BTreeSet<&Name> = policy.pools.values().flat_map(|pool| &pool.sources).map(|(name, _)| name).collect();
        let sources: Vec<Name> = named.into_iter().cloned().collect();
        let number = |name: &Name| sources.iter().position(|known| known == name).expect("a pool's sources are there");
        let members = |sources: &[(Name, u32)]| {
            let weighed = sources.iter().map(|(name, weight)| (number(name), NonZeroU32::new(*weight).unwrap_or(NonZeroU32::MIN)));
            weighed.collect::<Vec<_>>()
        };
        let mut pools: Vec<_> = policy.pools.iter().map(|(name, pool)| (name.clone(), members(&pool.sources))).collect();
        let own = pools.iter().position(|(name, _)| name == pool).expect("a stream's pool is there");
        pools.swap(OWN_POOL, own);
        let (lanes, source_of) = (HashMap::new(), HashMap::new());
        Self { policy, sources, pools, lanes, source_of, turns: HashMap::new() }
    }

    /// Whether the stream's pool takes over mail of a source that a provider has slowed or stopped.
    pub(super) fn relieves(&self) -> bool {
        self.policy.pools[&self.pools[OWN_POOL].0].relieve
    }

    pub(super) fn pool(&self, name: &str) -> Option<usize> {
        self.pools.iter().position(|(pool, _)| pool.as_str() == name)
    }

    /// The sources whose lanes may send the mail on a list, each once.
    pub(super) fn members(&self, list: &WaitListKey) -> Vec<(usize, NonZeroU32)> {
        let mut members: Vec<_> = list.own().map(|own| (own, NonZeroU32::MIN)).into_iter().collect();
        for member in list.other_pool().map_or(&[][..], |pool| &self.pools[pool].1) {
            if !members.iter().any(|(known, _)| *known == member.0) {
                members.push(*member);
            }
        }
        members
    }

    /// The pool's source whose turn it is; sources take turns by their weights.
    pub(super) fn next_by_weight(&mut self, provider: usize) -> usize {
        let members = &self.pools[OWN_POOL].1;
        let total: u64 = members.iter().map(|(_, weight)| u64::from(weight.get())).sum();
        let turn = self.turns.entry(provider).or_default();
        let mut at = *turn % total;
        *turn += 1;
        for (source, weight) in members {
            let weight = u64::from(weight.get());
            if at < weight {
                return *source;
            }
            at -= weight;
        }
        unreachable!("a turn is below the total")
    }

    pub(super) fn open(&mut self, governor: &mut Governor, source: usize, provider: usize, name: &Arc<str>, now: Timestamp) -> LaneId {
        if let Some(lane) = self.lanes.get(&(source, provider)) {
            return *lane;
        }
        let named = &self.sources[source];
        let key = LaneKey { source: named.as_str().into(), provider: name.clone() };
        let (plan, first) = self.policy.plan(named, name);
        let lane = governor.open(&key, plan, first, self.policy.limits(name).shape, now);
        self.lanes.insert((source, provider), lane);
        self.source_of.insert(lane, source);
        lane
    }

    pub(super) fn source_of(&self, lane: LaneId) -> usize {
        self.source_of[&lane]
    }

    /// The day of every lane that warms up.
    pub(super) fn days(&self, governor: &Governor, date: Date) -> Vec<LaneDay> {
        let warming = governor.lanes().filter(|(_, lane)| !lane.plan().curve.is_uncapped());
        let mut days: Vec<_> = warming.map(|(_, lane)| LaneDay::of(lane, date)).collect();
        days.sort_by(|a, b| (&a.source, &a.provider).cmp(&(&b.source, &b.provider)));
        days
    }
}
