//! WaitLists: where mail waits that no lane may send yet, and when it will go.
//!
//! What waits at a gate goes strictly by urgency, then by the streams' priorities, then in the order in which it was accepted. Each is told once when it
//! will go (see `foresee`), and again when that has become wrong by more than a burst's time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Order, Priority, Selection};
use posthaste_mail::Name;

use crate::Way;
use crate::{
    Action, Dispatcher, Fate, Next, Rcpt, Seq, Unroutable,
    backlog::{
        domains::Known,
        schedule::Schedule,
        table::{DomainIx, Rcpts, RecipientGroup, StreamIx},
    },
    budget::{
        block::{Block, Wait},
        forecast::Ahead,
        permits::{expires, out_of_budget},
    },
    connections::lanes::Ready,
};

/// Waits shorter than this are not worth a line.
pub(crate) const TOLD_FROM: SignedDuration = SignedDuration::from_secs(10);
/// Groups with a permit that may wait for a connection in one lane: more would take budget out of sight.
const GRANTED_MAX: usize = 200;
/// How many may be passed over because their ways are being looked up.
const PASSED_MAX: usize = 16;
/// How soon a gate looks again whose lanes have all they can carry, or whose sources are gone.
pub(crate) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

/// Which gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WaitListKey {
    /// Only this source will do, at this provider.
    Lane(Name, Name),
    /// Any source of this pool.
    Pool(Name, Name),
    /// This source, or any of that pool.
    Either(Name, Name, Name),
    /// The stream itself sends as much as it may.
    Stream(StreamIx),
}

/// A gate's number.
pub(crate) type WaitListIx = u32;

/// Where something stands at a gate: the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    class: u64,
    seq: Seq,
    n: u32,
}

pub(crate) struct Waiting {
    domain: DomainIx,
    pub(crate) group: RecipientGroup,
    /// What was said of it: nothing yet, or until when it waits (`Timestamp::MAX` where that is not to be foreseen).
    pub(crate) told: Option<Timestamp>,
}

pub(crate) struct WaitList {
    pub(crate) key: WaitListKey,
    pub(crate) queue: BTreeMap<Position, Waiting>,
    pub(crate) wake: Timestamp,
    block: Block,
    pub(crate) forecast: Option<Ahead>,
    /// Something happened that no forecast knew.
    pub(crate) stale: bool,
    /// All of it may be looked at again from then on.
    pub(crate) foreseen: Timestamp,
}

/// What goes first.
struct Head {
    place: Position,
    n: u32,
    stream: StreamIx,
    way: Arc<Way>,
}

/// All gates at which something waits.
#[derive(Default)]
pub(crate) struct WaitLists {
    by_key: HashMap<WaitListKey, WaitListIx>,
    pub(crate) gates: HashMap<WaitListIx, WaitList>,
    wakes: BTreeSet<(Timestamp, WaitListIx)>,
    expiries: Schedule<(WaitListIx, Position)>,
    next: u32,
}

impl WaitLists {
    pub(crate) fn is_waited_at(&self, key: &WaitListKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// When the first gate opens, or something at one expires; milliseconds.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let expiry = self.expiries.next().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        [self.wakes.first().map(|(at, _)| *at), expiry].into_iter().flatten().min()
    }

    /// What was foreseen for gates of this provider may be wrong, and they may open earlier.
    pub(crate) fn look_again(&mut self, provider: &str) {
        self.gates.values_mut().filter(|gate| gate.block.provider.as_str() == provider).for_each(|gate| gate.stale = true);
        self.open_soon(provider);
    }

    /// The same for all gates.
    pub(crate) fn look_again_everywhere(&mut self) {
        let providers: BTreeSet<Name> = self.gates.values().map(|gate| gate.block.provider.clone()).collect();
        providers.iter().for_each(|provider| self.look_again(provider.as_str()));
    }

    /// The gates of this provider may open earlier: budget came back.
    pub(crate) fn open_soon(&mut self, provider: &str) {
        for (ix, gate) in &mut self.gates {
            if gate.block.provider.as_str() == provider {
                self.wakes.remove(&(gate.wake, *ix));
                gate.wake = Timestamp::MIN;
                self.wakes.insert((gate.wake, *ix));
            }
        }
    }

    /// A way was found, or is known not to exist: gates whose foremost wait for it look again.
    pub(crate) fn way_known(&mut self, domain: DomainIx) {
        let waits = |gate: &WaitList| gate.queue.values().take(PASSED_MAX).any(|waiting| waiting.domain == domain);
        let found: Vec<WaitListIx> = self.gates.iter().filter(|(_, gate)| waits(gate)).map(|(ix, _)| *ix).collect();
        found.into_iter().for_each(|ix| self.wake_at(ix, Timestamp::MIN));
    }

    /// All that waits, and until when, as far as that was said.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&RecipientGroup, Option<Timestamp>)> {
        self.gates.values().flat_map(|gate| gate.queue.values().map(|waiting| (&waiting.group, waiting.told)))
    }

    /// The same, with what stands in the way.
    pub(crate) fn all_blocked(&self) -> impl Iterator<Item = (&RecipientGroup, Option<Timestamp>, &Block)> {
        self.gates.values().flat_map(|gate| gate.queue.values().map(|waiting| (&waiting.group, waiting.told, &gate.block)))
    }

    fn gate(&mut self, key: &WaitListKey, block: &Block) -> WaitListIx {
        if let Some(ix) = self.by_key.get(key) {
            return *ix;
        }
        self.next += 1;
        let (queue, forecast) = (BTreeMap::new(), None);
        let gate =
            WaitList { key: key.clone(), queue, wake: block.at, block: block.clone(), forecast, stale: false, foreseen: Timestamp::MIN };
        self.by_key.insert(key.clone(), self.next);
        self.wakes.insert((gate.wake, self.next));
        self.gates.insert(self.next, gate);
        self.next
    }

    fn wake_at(&mut self, ix: WaitListIx, at: Timestamp) {
        let Some(gate) = self.gates.get_mut(&ix) else { return };
        self.wakes.remove(&(gate.wake, ix));
        gate.wake = at;
        self.wakes.insert((at, ix));
    }

    fn close(&mut self, ix: WaitListIx) {
        if let Some(gate) = self.gates.remove(&ix) {
            self.by_key.remove(&gate.key);
            self.wakes.remove(&(gate.wake, ix));
        }
    }
}

impl Dispatcher {
    /// Lets a group wait behind those that wait already.
    pub(crate) fn join_gate(&mut self, key: &WaitListKey, group: &RecipientGroup) {
        let Some(block) = self.gates.by_key.get(key).and_then(|ix| self.gates.gates.get(ix)).map(|gate| gate.block.clone()) else { return };
        self.wait(key, group, &block);
    }

    /// Lets a group wait, and says so. Recipients at different domains wait apart: their ways may part.
    pub(crate) fn wait(&mut self, key: &WaitListKey, group: &RecipientGroup, block: &Block) {
        let Some((owed, rcpts)) = self.table.open(group) else { return };
        let stream = owed.stream;
        let mut by_domain: Vec<(DomainIx, Vec<Rcpt>)> = Vec::new();
        for rcpt in rcpts {
            let domain = owed.recipient(rcpt).domain;
            match by_domain.iter_mut().find(|(known, _)| *known == domain) {
                Some((_, rcpts)) => rcpts.push(rcpt),
                None => by_domain.push((domain, vec![rcpt])),
            }
        }
        let arrived = owed.arrived;
        let (policy, share) = (self.stream_policy(stream), self.share(stream));
        let class = (u64::from(policy.priority != Priority::Urgent) << 32) | u64::from(u32::MAX - share);
        let expires = self.deadlines.expires(group.seq, expires(arrived, policy.retry.expire));
        let ix = self.gates.gate(key, block);
        for (domain, rcpts) in by_domain {
            self.gates.next += 1;
            let place = Position { class, seq: group.seq, n: self.gates.next };
            let waiting =
                Waiting { domain, group: RecipientGroup { seq: group.seq, rcpts: Rcpts::new(rcpts), epoch: group.epoch }, told: None };
            let gate = self.gates.gates.get_mut(&ix).expect("made above");
            let last = gate.queue.last_key_value().is_none_or(|(last, _)| *last < place);
            let first = gate.queue.first_key_value().is_some_and(|(first, _)| place < *first);
            gate.queue.insert(place, waiting);
            self.gates.expiries.add(expires, (ix, place));
            if !last {
                gate.stale = true;
            }
            if first {
                // What is more urgent may be let through where the others are not.
                self.gates.wake_at(ix, Timestamp::MIN);
            }
            self.foresee(ix, place, last);
        }
    }

    /// Opens the gates whose time has come, and ends what is too old.
    pub(crate) fn open_gates(&mut self) {
        while let Some((at, ix)) = self.gates.wakes.first().copied().filter(|(at, _)| *at <= self.now) {
            self.gates.wakes.remove(&(at, ix));
            self.open_gate(ix);
        }
        while let Some(due) = self.gates.expiries.take_due(self.now.as_millisecond()) {
            due.into_iter().for_each(|(ix, place)| self.expire(ix, place));
        }
    }

    fn open_gate(&mut self, ix: WaitListIx) {
        let Some(gate) = self.gates.gates.get(&ix) else { return };
        let key = gate.key.clone();
        let next = match &key {
            WaitListKey::Stream(stream) => self.let_through_stream(ix, *stream),
            _ => self.let_through_lanes(ix, &key),
        };
        match next {
            None => self.gates.close(ix),
            Some(at) => {
                let soonest = after(self.now, SignedDuration::from_nanos(1));
                self.gates.wake_at(ix, at.max(soonest));
                self.foresee_all(ix);
                if let Some(gate) = self.gates.gates.get(&ix).filter(|gate| gate.stale) {
                    // Too soon to look at all of it again, and not to be forgotten until the gate opens.
                    let again = gate.wake.min(gate.foreseen).max(soonest);
                    self.gates.wake_at(ix, again);
                }
            }
        }
    }

    /// Lets through what lanes may send; when the next may go, `None` when nothing is left.
    fn let_through_lanes(&mut self, ix: WaitListIx, key: &WaitListKey) -> Option<Timestamp> {
        let all = self.choices(key);
        loop {
            let Head { place, n, stream, way } = match self.head(ix)? {
                Ok(head) => head,
                Err(again) => return Some(again),
            };
            if way.provider != self.gates.gates.get(&ix)?.block.provider {
                let group = self.take_out(ix, place, usize::MAX)?;
                self.choose(&way, stream, group);
                continue;
            }
            let choices: Vec<_> = all.iter().copied().filter(|choice| self.carries_more(choice.lane)).collect();
            let priority = self.stream_policy(stream).priority;
            match self.governor.admit_any(&choices, Order::WarmFirst, n, priority, self.now) {
                Selection::Go(permit) => {
                    let lane = self.governor.lane(permit.lane()).key().clone();
                    let source = Name::new(&lane.source).expect("lanes are opened for sources");
                    let lane = self.lane(&source, &way.provider);
                    let group = self.take_out(ix, place, permit.count() as usize)?;
                    self.send_by(lane, &way, Ready { group, permit: Some(Box::new(permit)) });
                }
                Selection::NotBefore { at, lane, hold } => {
                    let source = Name::new(&self.governor.lane(lane).key().source).ok();
                    let gate = self.gates.gates.get_mut(&ix)?;
                    gate.block = Block { source, provider: gate.block.provider.clone(), at, hold: Some(hold) };
                    return Some(at);
                }
                Selection::NoLane => return Some(after(self.now, LOOK_AGAIN)),
            }
        }
    }

    /// Lets through what the stream may send.
    fn let_through_stream(&mut self, ix: WaitListIx, stream: StreamIx) -> Option<Timestamp> {
        loop {
            let Head { place, n, way, .. } = match self.head(ix)? {
                Ok(head) => head,
                Err(again) => return Some(again),
            };
            let n = NonZeroU32::new(n)?;
            let granted = self.tenants.get_mut(&stream).map_or(Ok(n), |shaper| shaper.take(n, self.now));
            match granted {
                Ok(granted) => {
                    let group = self.take_out(ix, place, granted.get() as usize)?;
                    self.choose(&way, stream, group);
                }
                Err(at) => return Some(at),
            }
        }
    }

    /// The first that still waits and whose way is known; `Err`: none of the foremost has one yet, look again then; `None`: nothing is left.
    fn head(&mut self, ix: WaitListIx) -> Option<Result<Head, Timestamp>> {
        let mut passed = Position { class: 0, seq: 0, n: 0 };
        for _ in 0..PASSED_MAX {
            let gate = self.gates.gates.get_mut(&ix)?;
            let Some((place, waiting)) = gate.queue.range(passed..).next() else { break };
            let (place, domain) = (*place, waiting.domain);
            let Some((owed, rcpts)) = self.table.open(&waiting.group) else {
                gate.queue.remove(&place);
                continue;
            };
            let (n, stream) = (u32::try_from(rcpts.len()).unwrap_or(u32::MAX), owed.stream);
            match self.known_way(domain) {
                Some(Ok(way)) => return Some(Ok(Head { place, n, stream, way })),
                Some(Err(why)) => {
                    let waiting = self.gates.gates.get_mut(&ix)?.queue.remove(&place)?;
                    self.unroutable(&why, &waiting.group, self.now);
                }
                None => passed = Position { n: place.n + 1, ..place },
            }
        }
        let left = !self.gates.gates.get(&ix)?.queue.is_empty();
        left.then(|| Err(after(self.now, LOOK_AGAIN)))
    }

    /// A domain's way, or why there is none; asked for where nobody knows.
    fn known_way(&mut self, domain: DomainIx) -> Option<Result<Arc<Way>, Arc<Unroutable>>> {
        let entry = self.domains.get_mut(domain)?;
        let now = self.now.as_millisecond();
        match &entry.known {
            Known::Route(way, until) if *until > now => Some(Ok(way.clone())),
            Known::Nowhere(why, until) if *until > now => Some(Err(why.clone())),
            Known::Asking => None,
            _ => {
                entry.known = Known::Asking;
                self.actions.push(Action::Resolve(domain, entry.name.clone()));
                None
            }
        }
    }

    /// Takes up to `n` recipients of a group out of the gate.
    fn take_out(&mut self, ix: WaitListIx, place: Position, n: usize) -> Option<RecipientGroup> {
        let gate = self.gates.gates.get_mut(&ix)?;
        let waiting = gate.queue.get_mut(&place)?;
        let (seq, epoch) = (waiting.group.seq, waiting.group.epoch);
        let (_, mut rcpts) = self.table.open(&waiting.group)?;
        let rest = rcpts.split_off(n.min(rcpts.len()));
        if rest.is_empty() {
            gate.queue.remove(&place);
        } else {
            waiting.group.rcpts = Rcpts::new(rest);
        }
        Some(RecipientGroup { seq, rcpts: Rcpts::new(rcpts), epoch })
    }

    /// Whether a lane has less in hand than it may keep waiting for connections.
    fn carries_more(&self, lane: posthaste_governor::LaneId) -> bool {
        self.lanes.of_budget(lane).is_none_or(|lane| lane.granted < GRANTED_MAX)
    }

    /// Too old: its story ends here.
    fn expire(&mut self, ix: WaitListIx, place: Position) {
        let Some(gate) = self.gates.gates.get_mut(&ix) else { return };
        let Some(waiting) = gate.queue.remove(&place) else { return };
        let detail = format!("expired while it waited: {}", gate.block.told().detail);
        if gate.queue.is_empty() {
            self.gates.close(ix);
        }
        let Some((owed, rcpts)) = self.table.open(&waiting.group) else { return };
        let (id, warm, seq) = (owed.id, owed.warm.clone(), waiting.group.seq);
        let (failure, verdict) = out_of_budget(detail);
        let fate = |rcpt: Rcpt, attempt: u16| Fate {
            rcpt,
            attempt: u32::from(attempt),
            said: Some(crate::Said::Failed(failure.clone(), verdict.clone())),
            next: Next::Expired,
            was_due: Timestamp::UNIX_EPOCH,
        };
        let fates: Vec<Fate> = rcpts.iter().map(|rcpt| fate(*rcpt, owed.recipient(*rcpt).attempts)).collect();
        rcpts.iter().for_each(|rcpt| self.end(seq, *rcpt));
        self.record(seq, id, warm, Arc::default(), fates, self.now);
    }

    /// Writes down until when something waits.
    pub(crate) fn tell(&mut self, ix: WaitListIx, place: Position, until: Option<Timestamp>) {
        let now = self.now;
        let Some(gate) = self.gates.gates.get_mut(&ix) else { return };
        let wait = Wait { until, ..gate.block.told() };
        let Some(waiting) = gate.queue.get_mut(&place) else { return };
        if waiting.told.is_none() && until.is_some_and(|until| until < after(now, TOLD_FROM)) {
            return;
        }
        waiting.told = Some(until.unwrap_or(Timestamp::MAX));
        let Some((owed, rcpts)) = self.table.open(&waiting.group) else { return };
        let (id, warm, seq) = (owed.id, owed.warm.clone(), waiting.group.seq);
        let wait = Arc::new(wait);
        let fate = |rcpt: Rcpt, attempt: u16| Fate {
            rcpt,
            attempt: u32::from(attempt),
            said: None,
            next: Next::Waits(wait.clone()),
            was_due: Timestamp::UNIX_EPOCH,
        };
        let fates = rcpts.iter().map(|rcpt| fate(*rcpt, owed.recipient(*rcpt).attempts)).collect();
        self.record(seq, id, warm, Arc::default(), fates, now);
    }
}

pub(crate) fn after(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}
