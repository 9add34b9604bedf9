//! Wait lists: mail that no lane may send yet.
//!
//! A list lets mail through strictly by urgency, then by the streams' shares, then in the order of acceptance. The time at which a group
//! will go is logged once (see `forecast`), and again when it has become wrong by more than half the duration of a burst.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::LaneId;
use posthaste_mail::Name;

use super::{ahead::Ahead, block::Block};
use crate::{
    backlog::{
        Schedule,
        table::{DomainIx, RecipientGroup, Seq, StreamIx},
    },
    exchange::Wait,
    numbers::NumberMap,
    times::after,
};

/// Waits shorter than this are not logged.
pub(super) const LOGGED_FROM: SignedDuration = SignedDuration::from_secs(10);
/// An expiry that is found this many milliseconds late was missed.
const MISSED: i64 = 60_000;
/// How long mail waits for budget after its expiry was missed, in milliseconds: a day, because budgets are by the day.
const GRACE: i64 = 86_400_000;
/// Groups at the head of a list that are passed over because their routes are being looked up, at most.
pub(crate) const PASSED_MAX: usize = 16;

/// Which wait list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WaitListKey {
    /// Mail for this source only, at this provider.
    Lane(Name, Name),
    /// Mail for any source of this pool, at this provider.
    Pool(Name, Name),
    /// Mail for this source or any of that pool, at this provider.
    Either(Name, Name, Name),
    /// Mail of a stream that has used up its own rate.
    Stream(StreamIx),
}

/// A wait list's number.
pub(crate) type WaitListIx = u32;

/// A group's position in a wait list: the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    class: u64,
    seq: Seq,
    n: u32,
}

/// A group that waits.
pub(crate) struct WaitingGroup {
    /// Its domain.
    pub(crate) domain: DomainIx,
    /// The group.
    pub(crate) group: RecipientGroup,
    /// The lane whose turn it was to send it, if one was chosen.
    pub(crate) turn: Option<LaneId>,
    /// The end of its wait as it was logged; `Timestamp::MAX` if that cannot be foreseen. None: nothing was logged yet.
    pub(super) logged_until: Option<Timestamp>,
}

/// A wait that is to be logged.
pub(crate) struct LoggedWait {
    /// The group.
    pub(crate) group: RecipientGroup,
    /// Why it waits, and until when.
    pub(crate) wait: Wait,
}

pub(super) struct WaitList {
    pub(super) key: WaitListKey,
    pub(super) queue: BTreeMap<Position, WaitingGroup>,
    pub(super) wake: Timestamp,
    pub(super) block: Block,
    pub(super) forecast: Option<Ahead>,
    /// The forecast is out of date.
    pub(super) stale: bool,
    /// The forecast for the whole list may be repeated from this time on.
    pub(super) foreseen: Timestamp,
}

/// A group whose last chance came while it waited.
pub(crate) struct Overdue {
    /// The list on which it waited.
    pub(crate) key: WaitListKey,
    /// Why.
    pub(crate) block: Block,
    /// Its domain.
    pub(crate) domain: DomainIx,
    /// The group.
    pub(crate) group: RecipientGroup,
}

/// All wait lists with mail.
#[derive(Default)]
pub(crate) struct WaitLists {
    by_key: HashMap<WaitListKey, WaitListIx>,
    lists: NumberMap<WaitListIx, WaitList>,
    wakes: BTreeSet<(Timestamp, WaitListIx)>,
    expiries: Schedule<(WaitListIx, Position)>,
    next: u32,
}

impl Position {
    /// Before all others.
    pub(crate) const FIRST: Self = Self { class: 0, seq: 0, n: 0 };

    /// Right behind this one.
    pub(crate) fn next(self) -> Self {
        Self { n: self.n + 1, ..self }
    }
}

impl WaitList {
    /// The groups of a message: one search for each class, of which there are few.
    fn of(&self, seq: Seq) -> Vec<&WaitingGroup> {
        let (mut found, mut from) = (Vec::new(), Position::FIRST);
        while let Some((&Position { class, .. }, _)) = self.queue.range(from..).next() {
            let this = Position { class, seq, n: 0 }..=Position { class, seq, n: u32::MAX };
            found.extend(self.queue.range(this).map(|(_, waiting)| waiting));
            from = Position { class: class + 1, ..Position::FIRST };
        }
        found
    }
}

impl WaitLists {
    /// Whether there is a list with this key, and so mail that waits.
    pub(crate) fn is_waited_at(&self, key: &WaitListKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// When the first list may let something through, or something in one expires.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let expiry = self.expiries.next().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        [self.wakes.first().map(|(at, _)| *at), expiry].into_iter().flatten().min()
    }

    /// The forecasts for lists of this provider may be wrong, and the lists may let something through earlier.
    pub(crate) fn look_again(&mut self, provider: &str) {
        self.lists.values_mut().filter(|list| list.block.provider.as_str() == provider).for_each(|list| list.stale = true);
        self.open_soon(provider);
    }

    /// The same for all lists.
    pub(crate) fn look_again_everywhere(&mut self) {
        let providers: BTreeSet<Name> = self.lists.values().map(|list| list.block.provider.clone()).collect();
        providers.iter().for_each(|provider| self.look_again(provider.as_str()));
    }

    /// The clock went back: all that was foreseen is wrong.
    pub(crate) fn clock_went_back(&mut self) {
        self.lists.values_mut().for_each(|list| list.foreseen = Timestamp::MIN);
        self.look_again_everywhere();
    }

    /// The lists of this provider may let something through earlier: budget came back.
    pub(crate) fn open_soon(&mut self, provider: &str) {
        for (ix, list) in &mut self.lists {
            if list.block.provider.as_str() == provider {
                self.wakes.remove(&(list.wake, *ix));
                list.wake = Timestamp::MIN;
                self.wakes.insert((list.wake, *ix));
            }
        }
    }

    /// A route was found, or is known not to exist: lists whose foremost groups wait for it are looked at again.
    pub(crate) fn route_known(&mut self, domain: DomainIx) {
        let waits = |list: &WaitList| list.queue.values().take(PASSED_MAX).any(|waiting| waiting.domain == domain);
        let found: Vec<WaitListIx> = self.lists.iter().filter(|(_, list)| waits(list)).map(|(ix, _)| *ix).collect();
        found.into_iter().for_each(|ix| self.wake_at(ix, Timestamp::MIN));
    }

    /// All groups that wait, each with the logged end of its wait and the reason.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&RecipientGroup, Option<Timestamp>, &Block)> {
        self.lists.values().flat_map(|list| list.queue.values().map(|waiting| (&waiting.group, waiting.logged_until, &list.block)))
    }

    /// The same for these messages. For a single message no list is scanned.
    pub(crate) fn of(&self, seqs: &[Seq]) -> Vec<(&RecipientGroup, Option<Timestamp>, &Block)> {
        let [seq] = seqs else {
            let seqs: HashSet<Seq> = seqs.iter().copied().collect();
            return self.all().filter(|(group, ..)| seqs.contains(&group.seq)).collect();
        };
        self.lists
            .values()
            .flat_map(|list| list.of(*seq).into_iter().map(|waiting| (&waiting.group, waiting.logged_until, &list.block)))
            .collect()
    }

    /// The list with this key. If there is none, it is created if a reason is given.
    pub(super) fn at(&mut self, key: &WaitListKey, block: Option<Block>) -> Option<WaitListIx> {
        if let Some(ix) = self.by_key.get(key) {
            return Some(*ix);
        }
        let block = block?;
        self.next += 1;
        let (queue, forecast) = (BTreeMap::new(), None);
        let list = WaitList { key: key.clone(), queue, wake: block.at, block, forecast, stale: false, foreseen: Timestamp::MIN };
        self.by_key.insert(key.clone(), self.next);
        self.wakes.insert((list.wake, self.next));
        self.lists.insert(self.next, list);
        Some(self.next)
    }

    /// Adds a group to a list that exists, with the lane whose turn it was. Returns its position and whether it is behind all others.
    pub(super) fn add(
        &mut self,
        ix: WaitListIx,
        class: u64,
        (domain, group, turn): (DomainIx, RecipientGroup, Option<LaneId>),
        expires: i64,
    ) -> (Position, bool) {
        self.next += 1;
        let position = Position { class, seq: group.seq, n: self.next };
        let list = self.lists.get_mut(&ix).expect("added to a list that exists");
        let last = list.queue.last_key_value().is_none_or(|(last, _)| *last < position);
        let first = list.queue.first_key_value().is_some_and(|(first, _)| position < *first);
        list.queue.insert(position, WaitingGroup { domain, group, turn, logged_until: None });
        self.expiries.add(expires, (ix, position));
        if !last {
            list.stale = true;
        }
        if first {
            // More urgent mail may be let through when the others are not.
            self.wake_at(ix, Timestamp::MIN);
        }
        (position, last)
    }

    pub(super) fn get(&self, ix: WaitListIx) -> Option<&WaitList> {
        self.lists.get(&ix)
    }

    pub(super) fn get_mut(&mut self, ix: WaitListIx) -> Option<&mut WaitList> {
        self.lists.get_mut(&ix)
    }

    /// The key of a list.
    pub(crate) fn key(&self, ix: WaitListIx) -> Option<&WaitListKey> {
        self.lists.get(&ix).map(|list| &list.key)
    }

    /// The first group of a list at this position or after it.
    pub(crate) fn first_from(&self, ix: WaitListIx, from: Position) -> Option<(Position, &WaitingGroup)> {
        self.lists.get(&ix)?.queue.range(from..).next().map(|(position, waiting)| (*position, waiting))
    }

    /// Takes a group out of a list.
    pub(crate) fn take(&mut self, ix: WaitListIx, position: Position) -> Option<RecipientGroup> {
        self.lists.get_mut(&ix)?.queue.remove(&position).map(|waiting| waiting.group)
    }

    /// Leaves the rest of a group in a list.
    pub(crate) fn leave(&mut self, ix: WaitListIx, position: Position, rest: RecipientGroup) {
        if let Some(waiting) = self.lists.get_mut(&ix).and_then(|list| list.queue.get_mut(&position)) {
            waiting.group = rest;
        }
    }

    /// Whether nothing waits in a list.
    pub(crate) fn is_empty(&self, ix: WaitListIx) -> bool {
        self.lists.get(&ix).is_none_or(|list| list.queue.is_empty())
    }

    /// Takes out a list whose time has come to let something through.
    pub(crate) fn take_open(&mut self, now: Timestamp) -> Option<WaitListIx> {
        let (at, ix) = self.wakes.first().copied().filter(|(at, _)| *at <= now)?;
        self.wakes.remove(&(at, ix));
        Some(ix)
    }

    /// Takes out some groups whose last chance came while they waited. If nobody looked at that time (the clock was set, the relay was down), they
    /// had no chance: they wait for a day more, so that a day's budget counts for them.
    pub(crate) fn take_overdue(&mut self, now: Timestamp) -> Option<Vec<Overdue>> {
        let now = now.as_millisecond();
        let missed = self.expiries.next().is_some_and(|due| due < now - MISSED);
        let due = self.expiries.take_due(now)?;
        let mut overdue = Vec::new();
        for (ix, position) in due {
            let Some(list) = self.lists.get_mut(&ix) else { continue };
            if missed {
                self.expiries.add(now + GRACE, (ix, position));
                continue;
            }
            let Some(waiting) = list.queue.remove(&position) else { continue };
            let (key, block) = (list.key.clone(), list.block.clone());
            overdue.push(Overdue { key, block, domain: waiting.domain, group: waiting.group });
            if list.queue.is_empty() {
                self.close(ix);
            }
        }
        Some(overdue)
    }

    pub(super) fn wake_at(&mut self, ix: WaitListIx, at: Timestamp) {
        let Some(list) = self.lists.get_mut(&ix) else { return };
        self.wakes.remove(&(list.wake, ix));
        list.wake = at;
        self.wakes.insert((at, ix));
    }

    /// Forgets a list in which nothing waits.
    pub(super) fn close(&mut self, ix: WaitListIx) {
        if let Some(list) = self.lists.remove(&ix) {
            self.by_key.remove(&list.key);
            self.wakes.remove(&(list.wake, ix));
        }
    }

    /// Sets the end of a group's wait. Returns the wait to be logged; None if it is too short for that.
    pub(super) fn tell(&mut self, ix: WaitListIx, position: Position, until: Option<Timestamp>, now: Timestamp) -> Option<LoggedWait> {
        let list = self.lists.get_mut(&ix)?;
        let waiting = list.queue.get_mut(&position)?;
        if waiting.logged_until.is_none() && until.is_some_and(|until| until < after(now, LOGGED_FROM)) {
            return None;
        }
        waiting.logged_until = Some(until.unwrap_or(Timestamp::MAX));
        Some(LoggedWait { group: waiting.group.clone(), wait: Wait { until, ..list.block.wait() } })
    }
}
