//! Ready mail: lanes (source × provider) hold ready queues (one for each list of hosts), and these hold the streams' mail.
//!
//! Each level is fair: lanes take turns for connections, ready queues take turns in a lane, streams take turns in a ready queue.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use posthaste_governor::{LaneId, Permit};
use posthaste_mail::{Class, Name};

use crate::{
    Site,
    backlog::{
        streams::Party,
        table::{Rcpts, RecipientGroup, StreamIx},
    },
    exchange::{SessionId, Unroutable},
    numbers::NumberMap,
    policy::LaneLimits,
};

/// A ready queue's number.
pub(crate) type QueueIx = u32;

/// One source at one provider.
pub(crate) struct Lane {
    /// The source that it sends from.
    pub(crate) source: Name,
    /// The provider of the mailboxes.
    pub(crate) provider: Name,
    /// Its ready queues that hold mail, in the order of their turns.
    pub(super) turns: VecDeque<QueueIx>,
    /// Groups ready in it.
    pub(crate) ready: usize,
    /// Groups ready in it that have a permit.
    pub(crate) granted: usize,
    /// Sessions opening or open.
    pub(crate) sessions: usize,
    /// A lower limit of sessions, because the receiver wanted no more: how many, and when one more is tried (milliseconds since 1970).
    pub(super) squeezed: Option<(usize, i64)>,
    /// The last error, for the queue's table.
    pub(crate) last_error: Option<LastError>,
}

/// The last error of a lane.
#[derive(Clone)]
pub(crate) struct LastError {
    pub(crate) at: Timestamp,
    /// What it means.
    pub(crate) class: Class,
    /// Its words, in one line.
    pub(crate) said: Arc<str>,
}

/// A lane's mail for one list of hosts.
pub(crate) struct ReadyQueue {
    /// Its lane.
    pub(crate) lane: LaneId,
    /// The hosts.
    pub(crate) site: Arc<Site>,
    /// Sessions that wait for mail, the one used last at the end.
    pub(super) idle: Vec<SessionId>,
    /// Sessions opening or open.
    pub(super) sessions: usize,
    /// Sessions that are open and can take mail.
    pub(super) established: usize,
    /// The hosts could not be reached.
    pub(crate) down: Option<Down>,
    /// How many times in a row the hosts could not be reached.
    pub(super) failures: u32,
    streams: Vec<StreamQueue>,
    len: usize,
}

/// Hosts that could not be reached and are left alone. Times are in milliseconds since 1970.
#[derive(Clone)]
pub(crate) struct Down {
    /// When that was found out.
    pub(crate) since: i64,
    /// Until when they are left alone.
    pub(crate) until: i64,
    /// Why.
    pub(crate) why: Arc<Unroutable>,
}

/// A group that is ready to be sent over a connection.
#[derive(Debug)]
pub(crate) struct Ready {
    /// Which.
    pub(crate) group: RecipientGroup,
    /// Its part of the lane's budget, if it had to wait for that; other groups get theirs when they have a connection.
    pub(crate) permit: Option<Box<Permit>>,
    /// Whether it was another source's turn to send it, which had no budget.
    pub(crate) spilled: bool,
}

/// How a stream's mail is queued: its share of a connection, and how many recipients go in one transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamShare {
    /// The number that stands for the stream's mail of this priority.
    pub(crate) part: StreamIx,
    /// Whose mail it is; their connections count together.
    pub(crate) party: Party,
    /// Its share of a connection against the others.
    pub(crate) share: u32,
    /// Recipients in one transaction, at most.
    pub(crate) at_once: usize,
}

impl Lane {
    /// How many connections it may have: as configured for its provider, or fewer if the receiver wanted no more.
    pub(crate) fn most_connections(&self, limits: &LaneLimits) -> usize {
        self.squeezed.map_or(limits.connections, |(most, _)| most.min(limits.connections))
    }
}

impl From<RecipientGroup> for Ready {
    fn from(group: RecipientGroup) -> Self {
        Self { group, permit: None, spilled: false }
    }
}

/// One stream's mail in a ready queue.
struct StreamQueue {
    part: StreamIx,
    share: u32,
    turn: i64,
    /// Each party's groups, in the order of their turns; none is empty.
    parties: VecDeque<(Party, VecDeque<Ready>)>,
}

impl StreamQueue {
    /// One party's groups; they are not to be left empty.
    fn of(&mut self, party: Party) -> &mut VecDeque<Ready> {
        let at = self.parties.iter().position(|(known, _)| *known == party).unwrap_or_else(|| {
            self.parties.push_back((party, VecDeque::new()));
            self.parties.len() - 1
        });
        &mut self.parties[at].1
    }

    /// The next group of the party whose turn it is, among those that `may` send.
    fn pop(&mut self, may: impl Fn(Party) -> bool) -> Option<(Ready, Party)> {
        let at = self.parties.iter().position(|(party, _)| may(*party))?;
        let (party, mut groups) = self.parties.remove(at)?;
        let next = groups.pop_front();
        if !groups.is_empty() {
            self.parties.push_back((party, groups));
        }
        next.map(|ready| (ready, party))
    }
}

impl Ready {
    /// Takes in more recipients of the same message if they fit into one transaction and one permit; else they are returned.
    fn join(&mut self, mut more: Self, at_once: usize) -> Result<(), Self> {
        let (here, there) = (self.group.rcpts.as_slice(), more.group.rcpts.as_slice());
        let same = self.group.seq == more.group.seq && self.group.epoch == more.group.epoch;
        if !same || here.len() + there.len() > at_once {
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
    fn new(lane: LaneId, site: Arc<Site>) -> Self {
        Self { lane, site, idle: Vec::new(), sessions: 0, established: 0, down: None, failures: 0, streams: Vec::new(), len: 0 }
    }

    /// Puts a group behind its stream's others, or joins it to the last one if that is of the same message and has room. True if it was not
    /// joined.
    fn push(&mut self, share: StreamShare, ready: Ready) -> bool {
        let queue = self.stream(share).of(share.party);
        let ready = match queue.back_mut() {
            Some(last) => match last.join(ready, share.at_once) {
                Ok(()) => return false,
                Err(ready) => ready,
            },
            None => ready,
        };
        queue.push_back(ready);
        self.len += 1;
        true
    }

    /// Puts a group before its stream's others, because it had its turn already.
    fn push_front(&mut self, share: StreamShare, ready: Ready) {
        self.stream(share).of(share.party).push_front(ready);
        self.len += 1;
    }

    /// Those that have mail here.
    pub(super) fn parties(&self) -> impl Iterator<Item = Party> {
        self.streams.iter().flat_map(|stream| stream.parties.iter().map(|(party, _)| *party))
    }

    /// The next group of the parties that `may` send. Streams take turns by their shares, evenly mixed (smooth weighted round robin): with
    /// shares 20 and 10, two of the one, one of the other, and so on.
    fn pop(&mut self, may: impl Fn(Party) -> bool) -> Option<(Ready, Party)> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for i in 0..self.streams.len() {
            if !self.streams[i].parties.iter().any(|(party, _)| may(*party)) {
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
        stream.pop(may)
    }

    fn stream(&mut self, StreamShare { part, share, .. }: StreamShare) -> &mut StreamQueue {
        let at = self.streams.iter().position(|s| s.part == part).unwrap_or_else(|| {
            self.streams.push(StreamQueue { part, share, turn: 0, parties: VecDeque::new() });
            self.streams.len() - 1
        });
        self.streams[at].share = share;
        &mut self.streams[at]
    }
}

/// Every lane and ready queue that holds mail or sessions, or did so lately.
#[derive(Default)]
pub(crate) struct Lanes {
    pub(super) lanes: NumberMap<LaneId, Lane>,
    pub(super) queues: NumberMap<QueueIx, ReadyQueue>,
    by_name: HashMap<(Name, Name), LaneId>,
    by_key: HashMap<(LaneId, Arc<str>), QueueIx>,
    next: QueueIx,
}

impl Lanes {
    /// The ready queue of a lane for these hosts, created if it does not exist. A newer site replaces the addresses of an older one.
    pub(crate) fn queue(&mut self, lane: LaneId, site: &Arc<Site>) -> QueueIx {
        let queue = *self.by_key.entry((lane, site.key.clone())).or_insert_with(|| {
            self.next += 1;
            self.queues.insert(self.next, ReadyQueue::new(lane, site.clone()));
            self.next
        });
        let existing = self.queues.get_mut(&queue).expect("by_key leads to queues that exist");
        if !Arc::ptr_eq(&existing.site, site) {
            existing.site = site.clone();
        }
        queue
    }

    /// The lane of this source at this provider, if it is here.
    pub(crate) fn find(&self, source: &Name, provider: &Name) -> Option<LaneId> {
        self.by_name.get(&(source.clone(), provider.clone())).copied()
    }

    /// Adds a lane that is not here yet.
    pub(crate) fn add(&mut self, id: LaneId, source: &Name, provider: &Name) {
        self.by_name.insert((source.clone(), provider.clone()), id);
        let lane = Lane {
            source: source.clone(),
            provider: provider.clone(),
            turns: VecDeque::new(),
            ready: 0,
            granted: 0,
            sessions: 0,
            squeezed: None,
            last_error: None,
        };
        self.lanes.insert(id, lane);
    }

    /// A lane, if it is here.
    pub(crate) fn get(&self, lane: LaneId) -> Option<&Lane> {
        self.lanes.get(&lane)
    }

    /// All lanes.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LaneId, &Lane)> {
        self.lanes.iter().map(|(id, lane)| (*id, lane))
    }

    /// All ready queues.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &ReadyQueue> {
        self.queues.values()
    }

    /// A ready queue that exists.
    pub(crate) fn at(&self, queue: QueueIx) -> &ReadyQueue {
        &self.queues[&queue]
    }

    /// The lane of a queue that exists.
    pub(crate) fn lane_of(&self, queue: QueueIx) -> &Lane {
        &self.lanes[&self.queues[&queue].lane]
    }

    /// The same, to change.
    pub(super) fn lane_of_mut(&mut self, queue: QueueIx) -> &mut Lane {
        let lane = self.queues[&queue].lane;
        self.lanes.get_mut(&lane).expect("a queue's lane outlives it")
    }

    /// Queues a group, and gives its ready queue a turn.
    pub(crate) fn push(&mut self, ix: QueueIx, share: StreamShare, ready: Ready) {
        let queue = self.queues.get_mut(&ix).expect("pushed to a queue that exists");
        let was_empty = queue.len == 0;
        let granted = ready.permit.is_some();
        if queue.push(share, ready) {
            self.pushed(ix, granted, was_empty);
        }
    }

    /// Queues a group that was not sent first in line again.
    pub(crate) fn push_front(&mut self, ix: QueueIx, share: StreamShare, ready: Ready) {
        let queue = self.queues.get_mut(&ix).expect("pushed to a queue that exists");
        let was_empty = queue.len == 0;
        let granted = ready.permit.is_some();
        queue.push_front(share, ready);
        self.pushed(ix, granted, was_empty);
    }

    fn pushed(&mut self, queue: QueueIx, granted: bool, was_empty: bool) {
        let lane = self.lane_of_mut(queue);
        lane.ready += 1;
        lane.granted += usize::from(granted);
        if was_empty {
            lane.turns.push_back(queue);
        }
    }

    /// The next group of a ready queue, of a party that `may` send, with that party.
    pub(super) fn pop(&mut self, ix: QueueIx, may: impl Fn(Party) -> bool) -> Option<(Ready, Party)> {
        let queue = self.queues.get_mut(&ix)?;
        let ready = queue.pop(may);
        let left = queue.len;
        let lane = self.lanes.get_mut(&queue.lane).expect("a queue's lane outlives it");
        if let Some((ready, _)) = &ready {
            lane.ready -= 1;
            lane.granted -= usize::from(ready.permit.is_some());
        }
        if left == 0 {
            lane.turns.retain(|turn| *turn != ix);
        }
        ready
    }

    /// Takes all groups out of a ready queue.
    pub(crate) fn empty(&mut self, queue: QueueIx) -> Vec<Ready> {
        std::iter::from_fn(|| self.pop(queue, |_| true)).map(|(ready, _)| ready).collect()
    }

    /// Forgets which hosts could not be reached.
    pub(crate) fn forget_down_hosts(&mut self) {
        self.forget_down(|_| true);
    }

    /// The same for the sites that fit.
    pub(crate) fn forget_down(&mut self, fits: impl Fn(&Site) -> bool) {
        let queues = self.queues.values_mut().filter(|queue| fits(&queue.site));
        queues.for_each(|queue| (queue.down, queue.failures) = (None, 0));
    }

    /// Forgets queues without mail, sessions and hosts that are left alone, and lanes without queues. Returns the lanes that were
    /// forgotten.
    pub(crate) fn sweep(&mut self, now: i64) -> Vec<LaneId> {
        let idle = |q: &ReadyQueue| q.len == 0 && q.sessions == 0 && q.down.as_ref().is_none_or(|down| down.until <= now);
        self.by_key.retain(|_, queue| !idle(&self.queues[queue]));
        self.queues.retain(|_, queue| !idle(queue));
        let used: HashSet<LaneId> = self.queues.values().map(|queue| queue.lane).collect();
        self.by_name.retain(|_, lane| used.contains(lane));
        self.lanes.extract_if(|lane, _| !used.contains(lane)).map(|(lane, _)| lane).collect()
    }
}
