//! Ready mail: lanes (source × provider), inside them the host lists they lead to, inside those the streams.
//!
//! Fair at each step: lanes take turns for connections, host lists take turns inside a lane, streams take turns on a host list.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use posthaste_governor::{LaneId, Permit};
use posthaste_mail::Name;

use crate::Way;
use crate::backlog::{
    domains::Unroutable,
    table::{Rcpts, RecipientGroup, StreamIx},
};

/// A lane's number.
pub(crate) type LaneIx = u32;
/// A host list's number.
pub(crate) type QueueIx = u32;
/// A session's number.
pub type SessionId = u64;

/// One source at one provider.
pub(crate) struct Lane {
    /// Where it sends from.
    pub(crate) source: Name,
    /// Who runs the mailboxes.
    pub(crate) provider: Name,
    /// Its budget.
    pub(crate) governed: LaneId,
    /// Groups ready in it that have a permit.
    pub(crate) granted: usize,
    /// Its host lists that hold mail, in the order of their turns.
    pub(crate) turns: VecDeque<QueueIx>,
    /// Groups ready in it.
    pub(crate) ready: usize,
    /// Sessions opening or open.
    pub(crate) sessions: usize,
    /// Fewer sessions than configured, because the receiver wanted no more: how many, and when one more is tried.
    pub(crate) squeezed: Option<(usize, i64)>,
    /// Whether it waits in line for a connection.
    pub(crate) hungry: bool,
    /// The last trouble, for the queue's table.
    pub(crate) last_error: Option<(Timestamp, Arc<str>)>,
}

/// One list of hosts that a lane leads to.
pub(crate) struct ReadyQueue {
    /// Whose it is.
    pub(crate) lane: LaneIx,
    /// Which hosts.
    pub(crate) route: Arc<Way>,
    /// Sessions that wait for mail, the warmest last.
    pub(crate) idle: Vec<SessionId>,
    /// Sessions opening or open.
    pub(crate) sessions: usize,
    /// Sessions that got as far as taking mail.
    pub(crate) established: usize,
    /// Left alone until then, and why.
    pub(crate) down: Option<(i64, Arc<Unroutable>)>,
    /// How many times in a row it could not be reached.
    pub(crate) failures: u32,
    streams: Vec<StreamQueue>,
    len: usize,
}

/// A group whose turn for a connection comes.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Which.
    pub(crate) group: RecipientGroup,
    /// Its part of the lane's budget, where it had to wait for that; the others ask when they have a connection.
    pub(crate) permit: Option<Box<Permit>>,
}

impl From<RecipientGroup> for Ready {
    fn from(group: RecipientGroup) -> Self {
        Self { group, permit: None }
    }
}

/// One stream's mail for one host list.
struct StreamQueue {
    stream: StreamIx,
    share: u32,
    turn: i64,
    groups: VecDeque<Ready>,
}

impl Ready {
    /// Takes in more recipients of the same message, where they fit into one transaction and one permit.
    fn join(&mut self, mut more: Self, max_rcpts: usize) -> Result<(), Self> {
        let (here, there) = (self.group.rcpts.as_slice(), more.group.rcpts.as_slice());
        let same = self.group.seq == more.group.seq && self.group.epoch == more.group.epoch;
        if !same || here.len() + there.len() > max_rcpts {
            return Err(more);
        }
        match (&mut self.permit, more.permit.take()) {
            (None, None) => {}
            (Some(mine), Some(other)) => {
                if let Err(other) = mine.join(*other) {
                    more.permit = Some(Box::new(other));
                    return Err(more);
                }
            }
            (_, other) => {
                more.permit = other;
                return Err(more);
            }
        }
        self.group.rcpts = Rcpts::new([self.group.rcpts.as_slice(), more.group.rcpts.as_slice()].concat());
        Ok(())
    }
}

impl ReadyQueue {
    /// A host list without mail.
    pub(crate) fn new(lane: LaneIx, route: Arc<Way>) -> Self {
        Self { lane, route, idle: Vec::new(), sessions: 0, established: 0, down: None, failures: 0, streams: Vec::new(), len: 0 }
    }

    /// Groups that wait here.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts a group behind its stream's others (`stream`: which, and its share); joins it to the last one where that is the same message and room is left.
    pub(crate) fn push(&mut self, stream: (StreamIx, u32), ready: Ready, max_rcpts: usize) -> bool {
        let queue = self.stream(stream.0, stream.1);
        let ready = match queue.back_mut() {
            Some(last) => match last.join(ready, max_rcpts) {
                Ok(()) => return false,
                Err(ready) => ready,
            },
            None => ready,
        };
        queue.push_back(ready);
        self.len += 1;
        true
    }

    /// Puts a group before its stream's others: it was in hand already.
    pub(crate) fn push_front(&mut self, stream: (StreamIx, u32), ready: Ready) {
        self.stream(stream.0, stream.1).push_front(ready);
        self.len += 1;
    }

    /// The next group. Streams take turns by their shares, evenly mixed (smooth weighted round robin): with shares 20 and 10, two of the
    /// one, one of the other, and so on.
    pub(crate) fn pop(&mut self) -> Option<Ready> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for i in 0..self.streams.len() {
            if self.streams[i].groups.is_empty() {
                continue;
            }
            let share = i64::from(self.streams[i].share.max(1));
            self.streams[i].turn += share;
            total += share;
            if best.is_none_or(|b| self.streams[i].turn > self.streams[b].turn) {
                best = Some(i);
            }
        }
        let stream = &mut self.streams[best?];
        stream.turn -= total;
        self.len -= 1;
        stream.groups.pop_front()
    }

    fn stream(&mut self, stream: StreamIx, share: u32) -> &mut VecDeque<Ready> {
        let at = self.streams.iter().position(|s| s.stream == stream).unwrap_or_else(|| {
            self.streams.push(StreamQueue { stream, share, turn: 0, groups: VecDeque::new() });
            self.streams.len() - 1
        });
        self.streams[at].share = share;
        &mut self.streams[at].groups
    }
}

/// Every lane and host list that holds mail or sessions, or did so lately.
#[derive(Default)]
pub(crate) struct Lanes {
    /// By number.
    pub(crate) lanes: HashMap<LaneIx, Lane>,
    /// By number.
    pub(crate) paths: HashMap<QueueIx, ReadyQueue>,
    by_name: HashMap<(Name, Name), LaneIx>,
    by_budget: HashMap<LaneId, LaneIx>,
    by_key: HashMap<(LaneIx, Arc<str>), QueueIx>,
    next: u32,
}

impl Lanes {
    /// The host list of `route` for mail from `source`; made where it does not exist. A newer route replaces the older one's addresses.
    pub(crate) fn path(&mut self, lane: LaneIx, route: &Arc<Way>) -> QueueIx {
        let path = *self.by_key.entry((lane, route.key.clone())).or_insert_with(|| {
            self.next += 1;
            self.paths.insert(self.next, ReadyQueue::new(lane, route.clone()));
            self.next
        });
        let existing = self.paths.get_mut(&path).expect("by_key leads to paths that exist");
        if !Arc::ptr_eq(&existing.route, route) {
            existing.route = route.clone();
        }
        path
    }

    /// The lane of this source at this provider, if it holds anything.
    pub(crate) fn find(&self, source: &Name, provider: &Name) -> Option<LaneIx> {
        self.by_name.get(&(source.clone(), provider.clone())).copied()
    }

    /// A lane that is not there yet, with its budget.
    pub(crate) fn add(&mut self, source: &Name, provider: &Name, governed: LaneId) -> LaneIx {
        self.next += 1;
        self.by_name.insert((source.clone(), provider.clone()), self.next);
        self.by_budget.insert(governed, self.next);
        let lane = Lane {
            source: source.clone(),
            provider: provider.clone(),
            governed,
            granted: 0,
            turns: VecDeque::new(),
            ready: 0,
            sessions: 0,
            squeezed: None,
            hungry: false,
            last_error: None,
        };
        self.lanes.insert(self.next, lane);
        self.next
    }

    /// The lane with this budget, if it holds anything.
    pub(crate) fn of_budget(&self, governed: LaneId) -> Option<&Lane> {
        self.lanes.get(self.by_budget.get(&governed)?)
    }

    /// The lane of a path that exists.
    pub(crate) fn lane_of(&mut self, path: QueueIx) -> &mut Lane {
        let lane = self.paths[&path].lane;
        self.lanes.get_mut(&lane).expect("a path's lane outlives it")
    }

    /// Queues a group and gives its host list a turn.
    pub(crate) fn push(&mut self, path: QueueIx, stream: (StreamIx, u32), ready: Ready, max_rcpts: usize) {
        let queue = self.paths.get_mut(&path).expect("pushed to a path that exists");
        let was_empty = queue.len() == 0;
        let granted = ready.permit.is_some();
        if queue.push(stream, ready, max_rcpts) {
            let lane = self.lane_of(path);
            lane.ready += 1;
            lane.granted += usize::from(granted);
            if was_empty {
                lane.turns.push_back(path);
            }
        }
    }

    /// Queues again, first in line, what a session gave back unsent.
    pub(crate) fn push_front(&mut self, path: QueueIx, stream: (StreamIx, u32), ready: Ready) {
        let queue = self.paths.get_mut(&path).expect("pushed to a path that exists");
        let was_empty = queue.len() == 0;
        let granted = ready.permit.is_some();
        queue.push_front(stream, ready);
        let lane = self.lane_of(path);
        lane.ready += 1;
        lane.granted += usize::from(granted);
        if was_empty {
            lane.turns.push_back(path);
        }
    }

    /// The next group of a host list.
    pub(crate) fn pop(&mut self, path: QueueIx) -> Option<Ready> {
        let queue = self.paths.get_mut(&path)?;
        let ready = queue.pop();
        let left = queue.len();
        let lane = self.lane_of(path);
        if let Some(ready) = &ready {
            lane.ready -= 1;
            lane.granted -= usize::from(ready.permit.is_some());
        }
        if left == 0 {
            lane.turns.retain(|p| *p != path);
        }
        ready
    }

    /// Forgets host lists and lanes that hold nothing and are not left alone; the budgets of these lanes.
    pub(crate) fn sweep(&mut self, now: i64) -> Vec<LaneId> {
        let idle = |p: &ReadyQueue| p.len() == 0 && p.sessions == 0 && p.down.as_ref().is_none_or(|(until, _)| *until <= now);
        self.by_key.retain(|_, path| !idle(&self.paths[path]));
        self.paths.retain(|_, p| !idle(p));
        let used: std::collections::HashSet<LaneIx> = self.paths.values().map(|p| p.lane).collect();
        self.by_name.retain(|_, lane| used.contains(lane));
        let gone: Vec<LaneId> = self.lanes.extract_if(|ix, _| !used.contains(ix)).map(|(_, lane)| lane.governed).collect();
        self.by_budget.retain(|governed, _| !gone.contains(governed));
        gone
    }
}
