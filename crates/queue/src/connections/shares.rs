//! Who may take a connection while they are short, and who gives one up.
//!
//! A stream may take one more while it has less than [`TIMES_FREE`] times as many as are free: a stream alone gets nine tenths of all, a second
//! one nine tenths of what is left, and the last few are for streams that have none. Lanes that may not take one wait, and the streams that
//! they wait for take turns: the one with the fewest connections is next. Of its lanes, the one that has waited longest and the newest take
//! turns.
//!
//! While others wait, a session whose receiver has not let it in within the policy's patience gives its connection up, the one that began
//! first in the stream that has the most. Nobody waits longer for silent hosts than that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
};

use crate::{backlog::table::StreamIx, exchange::SessionId};

/// How many times as many connections as are free a stream may have.
const TIMES_FREE: usize = 9;
/// One in so many connections is for streams that have none.
const LAST: usize = 50;

/// The connections of each stream, and the lanes that wait for one.
#[derive(Debug)]
pub(super) struct Shares<Lane> {
    /// Sessions that carry a job of the stream; idle ones count for nobody.
    busy: HashMap<StreamIx, usize>,
    all: usize,
    /// Lanes that wait for a connection for a stream's mail, in the order in which they came.
    waiting: HashMap<StreamIx, VecDeque<Lane>>,
    known: HashSet<(StreamIx, Lane)>,
    /// Whether the lane that came last is next, not the one that has waited longest.
    newest: bool,
    /// Sessions that were not let in yet, by the stream of their job, in the order of their begin (milliseconds since 1970). They may be
    /// gone or let in meanwhile.
    opening: HashMap<StreamIx, VecDeque<(i64, SessionId)>>,
    /// Sessions that were told to give up, and have not ended.
    leaving: HashSet<SessionId>,
    /// When sessions were last looked through for some to give up.
    looked: i64,
}

impl<Lane: Copy + Eq + Hash> Shares<Lane> {
    /// A session carries a job of this stream from now on.
    pub(super) fn begin(&mut self, stream: StreamIx) {
        *self.busy.entry(stream).or_default() += 1;
        self.all += 1;
    }

    /// A session carries none any more.
    pub(super) fn end(&mut self, stream: StreamIx) {
        let busy = self.busy.get_mut(&stream).expect("a session that carries a job is counted");
        *busy -= 1;
        self.all -= 1;
        if *busy == 0 {
            self.busy.remove(&stream);
        }
    }

    /// Whether a stream may take one more of `most` connections.
    pub(super) fn may_take(&self, stream: StreamIx, most: usize) -> bool {
        let (free, held) = (most.saturating_sub(self.all), self.held(stream));
        free > 0 && (held == 0 || (held < free.saturating_mul(TIMES_FREE) && free > most / LAST))
    }

    fn held(&self, stream: StreamIx) -> usize {
        self.busy.get(&stream).copied().unwrap_or_default()
    }

    /// A lane waits for a connection for mail of these streams.
    pub(super) fn wait(&mut self, lane: Lane, streams: impl IntoIterator<Item = StreamIx>) {
        for stream in streams {
            if self.known.insert((stream, lane)) {
                self.waiting.entry(stream).or_default().push_back(lane);
            }
        }
    }

    /// Whether any lane waits for a connection.
    pub(super) fn has_waiting(&self) -> bool {
        !self.known.is_empty()
    }

    /// Takes out the lane whose turn it is for one of `most` connections.
    pub(super) fn next(&mut self, most: usize) -> Option<Lane> {
        let may = self.waiting.keys().copied().filter(|stream| self.may_take(*stream, most));
        let stream = may.min_by_key(|stream| (self.held(*stream), *stream))?;
        let lanes = self.waiting.get_mut(&stream).expect("it waits");
        // Thousands of lanes with silent hosts may wait: every second connection is for the newest, which need not wait for all of them.
        let lane = if self.newest { lanes.pop_back() } else { lanes.pop_front() };
        let lane = lane.expect("streams without lanes are removed");
        self.newest = !self.newest;
        if lanes.is_empty() {
            self.waiting.remove(&stream);
        }
        self.known.remove(&(stream, lane));
        Some(lane)
    }

    /// A session begins to open for a stream's job.
    pub(super) fn opening(&mut self, stream: StreamIx, session: SessionId, now: i64) {
        self.opening.entry(stream).or_default().push_back((now, session));
    }

    /// Whether a session was told to give up.
    pub(super) fn is_leaving(&self, session: SessionId) -> bool {
        self.leaving.contains(&session)
    }

    /// A session is gone.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.leaving.remove(&session);
    }

    /// The sessions that give up their connections now: one for each lane that waits, if they began `patience` ago (in milliseconds) and are
    /// `still` opening. Only a stream that has at least as many connections as one that waits loses any.
    pub(super) fn give_up(&mut self, patience: i64, now: i64, still: impl Fn(SessionId) -> bool) -> Vec<SessionId> {
        self.looked = now;
        self.opening.retain(|_, sessions| {
            while sessions.front().is_some_and(|(_, session)| !still(*session) || self.leaving.contains(session)) {
                sessions.pop_front();
            }
            !sessions.is_empty()
        });
        let Some(least) = self.waiting.keys().map(|stream| self.held(*stream)).min() else { return Vec::new() };
        let mut streams: Vec<StreamIx> = self.opening.keys().copied().filter(|stream| self.held(*stream) >= least).collect();
        streams.sort_unstable_by_key(|stream| (std::cmp::Reverse(self.held(*stream)), *stream));
        let mut told = Vec::new();
        for stream in streams {
            let sessions = self.opening.get_mut(&stream).expect("it is one of them");
            while self.leaving.len() < self.known.len() && sessions.front().is_some_and(|(begun, _)| begun + patience <= now) {
                let (_, session) = sessions.pop_front().expect("there is a first one");
                if still(session) && self.leaving.insert(session) {
                    told.push(session);
                }
            }
        }
        told
    }

    /// When the next session may have to give up, in milliseconds since 1970.
    pub(super) fn next_give_up(&self, patience: i64) -> Option<i64> {
        let short = self.leaving.len() < self.known.len();
        let begun = self.opening.values().filter_map(|sessions| sessions.front()).map(|(begun, _)| begun + patience);
        begun.filter(|at| short && *at > self.looked).min()
    }

    /// The clock went back by `ms` milliseconds.
    pub(super) fn clock_went_back(&mut self, ms: i64) {
        self.looked = self.looked.saturating_sub(ms);
        self.opening.values_mut().flatten().for_each(|(begun, _)| *begun -= ms);
    }
}

impl<Lane> Default for Shares<Lane> {
    fn default() -> Self {
        Self {
            busy: HashMap::new(),
            all: 0,
            waiting: HashMap::new(),
            known: HashSet::new(),
            newest: false,
            opening: HashMap::new(),
            leaving: HashSet::new(),
            looked: i64::MIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 500;
    const NONE: [SessionId; 0] = [];

    /// How many connections a stream can take.
    fn fill(shares: &mut Shares<u32>, stream: StreamIx) -> usize {
        std::iter::from_fn(|| shares.may_take(stream, MOST).then(|| shares.begin(stream))).count()
    }

    #[test]
    fn each_stream_leaves_a_tenth_of_what_it_found_free() {
        let mut shares = Shares::<u32>::default();
        assert_eq!([0, 1, 2, 3].map(|stream| fill(&mut shares, stream)), [450, 40, 1, 1]);
        shares.end(0);
        assert!(!shares.may_take(0, MOST), "who has most is last");
        assert!(shares.may_take(4, MOST), "who has none is first");
    }

    #[test]
    fn a_few_connections_can_be_used_up() {
        for most in 1..5 {
            let mut shares = Shares::<u32>::default();
            let taken = std::iter::from_fn(|| shares.may_take(0, most).then(|| shares.begin(0))).count();
            assert_eq!(taken, most);
        }
    }

    #[test]
    fn lanes_wait_in_turn_and_streams_with_the_fewest_connections_go_first() {
        let mut shares = Shares::<u32>::default();
        fill(&mut shares, 0);
        let lanes = [1, 2, 3];
        shares.wait(lanes[0], [0]);
        shares.wait(lanes[1], [0, 1]);
        shares.wait(lanes[1], [0, 1]);
        assert_eq!(shares.next(MOST), Some(lanes[1]), "the second stream has none");
        assert_eq!(shares.next(MOST), None, "the first one has its share");
        (0..50).for_each(|_| shares.end(0));
        assert_eq!([shares.next(MOST), shares.next(MOST), shares.next(MOST)], [Some(lanes[1]), Some(lanes[0]), None], "newest and oldest");
    }

    #[test]
    fn with_connections_for_all_the_stream_with_the_fewest_is_next() {
        let mut shares = Shares::<u32>::default();
        (0..5).for_each(|_| shares.begin(0));
        shares.wait(1, [0]);
        shares.wait(2, [1]);
        assert_eq!([shares.next(MOST), shares.next(MOST), shares.next(MOST)], [Some(2), Some(1), None]);
        assert!(!shares.has_waiting());
    }

    #[test]
    fn the_longest_silence_of_the_greediest_ends_first_and_nobodys_without_need() {
        let mut shares = Shares::<u32>::default();
        for (session, stream) in [(1, 0), (2, 0), (3, 1), (4, 0)] {
            shares.begin(stream);
            shares.opening(stream, session, i64::try_from(session).unwrap() * 1000);
        }
        assert_eq!(shares.give_up(5000, 60_000, |_| true), NONE, "nobody waits");
        shares.wait(1, [2]);
        assert_eq!(shares.give_up(5000, 6999, |session| session != 1), NONE, "the first was let in, the second has time left");
        assert_eq!(shares.next_give_up(5000), Some(7000));
        assert_eq!(shares.give_up(5000, 7000, |session| session != 1), [2]);
        assert_eq!(shares.give_up(5000, 60_000, |_| true), NONE, "one waits, and one leaves");
        shares.wait(2, [2]);
        shares.wait(3, [2]);
        assert_eq!(shares.give_up(5000, 60_000, |_| true), [4, 3]);
        shares.forget(2);
        assert!(shares.is_leaving(4) && !shares.is_leaving(2));
        assert_eq!(shares.next_give_up(5000), None);
    }
}
