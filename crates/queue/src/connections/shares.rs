//! Who may take a connection while they are short.
//!
//! A stream may take one more while it has less than [`TIMES_FREE`] times as many as are free: a stream alone gets nine tenths of all, a second
//! one nine tenths of what is left, and the last few are for streams that have none. A user without a connection may always take one of those
//! that are not the last few. Lanes that may not take one wait, and those for whose mail they wait take turns: the stream with the fewest
//! connections is next, and of its users the one with the fewest. Of the lanes, the one that has waited longest and the newest take turns.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
};

use crate::{
    backlog::{streams::Party, table::StreamIx},
    numbers::NumberMap,
};

/// How many times as many connections as are free a stream may have.
const TIMES_FREE: usize = 9;
/// One in so many connections is for streams that have none.
const LAST: usize = 50;
/// One in so many connections is for a lane whose hosts stall, before all others.
const FOR_STALLING: usize = 8;

/// How many connections a stream has, and how many of them a user of it has. The order is that in which others take connections.
pub(super) type Held = (usize, usize);

/// The connections of each stream and user, and the lanes that wait for one.
#[derive(Debug)]
pub(super) struct Shares<Lane> {
    held: HeldConnections,
    /// Lanes that wait for somebody's mail.
    pub(super) usual: Line<Lane>,
    /// The same for mail to hosts that stall: see [`super::stalling`].
    pub(super) stalling: Line<Lane>,
    /// Connections that were given to lanes that waited.
    given: usize,
}

/// Sessions that carry a job of the stream, and of the user; idle ones count for nobody.
#[derive(Debug, Default)]
struct HeldConnections {
    streams: NumberMap<StreamIx, usize>,
    parties: NumberMap<Party, usize>,
    all: usize,
}

/// Lanes that wait for a connection.
#[derive(Debug)]
pub(super) struct Line<Lane> {
    /// For whose mail, in the order in which they came.
    waiting: HashMap<Party, VecDeque<Lane>>,
    known: HashSet<(Party, Lane)>,
    /// Whether the lane that came last is next, not the one that has waited longest.
    newest: bool,
}

impl<Lane: Copy + Eq + Hash> Shares<Lane> {
    /// A session carries a job of this party from now on.
    pub(super) fn begin(&mut self, party: Party) {
        *self.held.streams.entry(party.stream).or_default() += 1;
        *self.held.parties.entry(party).or_default() += 1;
        self.held.all += 1;
    }

    /// A session carries none any more, or is about to end.
    pub(super) fn end(&mut self, party: Party) {
        one_less(&mut self.held.streams, &party.stream);
        one_less(&mut self.held.parties, &party);
        self.held.all -= 1;
    }

    /// Whether a party may take one more of `most` connections.
    pub(super) fn may_take(&self, party: Party, most: usize) -> bool {
        self.held.may_take(party, most)
    }

    pub(super) fn held(&self, party: Party) -> Held {
        self.held.of(party)
    }

    /// For how many connections lanes wait, those for hosts that stall included if there is `room` for such a one.
    pub(super) fn waiting(&self, room: bool) -> usize {
        self.usual.len() + if room { self.stalling.len() } else { 0 }
    }

    /// What the party that is to have the next connection in a line holds; None if nobody waits there.
    pub(super) fn least(&self, line: &Line<Lane>) -> Option<Held> {
        line.waiting.keys().map(|party| self.held(*party)).min()
    }

    /// Takes out the lane whose turn it is for one of `most` connections. Hosts that stall come behind all others, if there is `room` for such a
    /// one, but every eighth connection is theirs, so that they have their chance, too.
    pub(super) fn next(&mut self, most: usize, room: bool) -> Option<Lane> {
        let Self { held, usual, stalling, given } = self;
        let theirs = room && given.is_multiple_of(FOR_STALLING);
        let before = if theirs { stalling.next(held, most) } else { None };
        let next = before.or_else(|| usual.next(held, most)).or_else(|| if room { stalling.next(held, most) } else { None });
        *given = given.wrapping_add(usize::from(next.is_some()));
        next
    }
}

impl HeldConnections {
    fn of(&self, party: Party) -> Held {
        let stream = self.streams.get(&party.stream).copied().unwrap_or_default();
        (stream, self.parties.get(&party).copied().unwrap_or_default())
    }

    fn may_take(&self, party: Party, most: usize) -> bool {
        let free = most.saturating_sub(self.all);
        if free == 0 {
            return false;
        }
        let (stream, own) = self.of(party);
        stream == 0 || (free > most / LAST && (own == 0 || stream < free.saturating_mul(TIMES_FREE)))
    }
}

impl<Lane: Copy + Eq + Hash> Line<Lane> {
    /// A lane waits for a connection for mail of these parties.
    pub(super) fn wait(&mut self, lane: Lane, parties: impl IntoIterator<Item = Party>) {
        for party in parties {
            if self.known.insert((party, lane)) {
                self.waiting.entry(party).or_default().push_back(lane);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// The lane that waits, if it is the only one.
    pub(super) fn lone(&self) -> Option<Lane> {
        let mut lanes = self.known.iter().map(|(_, lane)| *lane);
        let first = lanes.next()?;
        lanes.all(|lane| lane == first).then_some(first)
    }

    fn next(&mut self, held: &HeldConnections, most: usize) -> Option<Lane> {
        let may = self.waiting.keys().copied().filter(|party| held.may_take(*party, most));
        let party = may.min_by_key(|party| (held.of(*party), *party))?;
        let lanes = self.waiting.get_mut(&party).expect("it waits");
        // Thousands of lanes with silent hosts may wait: every second connection is for the newest, which need not wait for all of them.
        let lane = if self.newest { lanes.pop_back() } else { lanes.pop_front() };
        let lane = lane.expect("parties without lanes are removed");
        self.newest = !self.newest;
        if lanes.is_empty() {
            self.waiting.remove(&party);
        }
        self.known.remove(&(party, lane));
        Some(lane)
    }
}

fn one_less<Key: Eq + Hash>(counts: &mut NumberMap<Key, usize>, key: &Key) {
    let count = counts.get_mut(key).expect("a session that carries a job is counted");
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}

impl<Lane> Default for Shares<Lane> {
    fn default() -> Self {
        Self { held: HeldConnections::default(), usual: Line::default(), stalling: Line::default(), given: 0 }
    }
}

impl<Lane> Default for Line<Lane> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), known: HashSet::new(), newest: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 500;

    fn of(stream: StreamIx) -> Party {
        Party { stream, user: 0 }
    }

    /// How many connections a party can take.
    fn fill(shares: &mut Shares<u32>, party: Party) -> usize {
        std::iter::from_fn(|| shares.may_take(party, MOST).then(|| shares.begin(party))).count()
    }

    #[test]
    fn each_stream_leaves_a_tenth_of_what_it_found_free() {
        let mut shares = Shares::<u32>::default();
        assert_eq!([0, 1, 2, 3].map(|stream| fill(&mut shares, of(stream))), [450, 40, 1, 1]);
        shares.end(of(0));
        assert!(!shares.may_take(of(0), MOST), "who has most is last");
        assert!(shares.may_take(of(4), MOST), "who has none is first");
    }

    #[test]
    fn a_user_leaves_some_to_the_others_of_its_stream_and_all_of_them_some_to_other_streams() {
        let mut shares = Shares::<u32>::default();
        let user = |user| Party { stream: 0, user };
        assert_eq!(fill(&mut shares, user(1)), 450);
        assert_eq!([2, 3].map(|other| fill(&mut shares, user(other))), [1, 1]);
        assert_eq!((4..100).map(|other| fill(&mut shares, user(other))).sum::<usize>(), 38, "the last ten are for other streams");
        assert!(shares.may_take(of(1), MOST));
        shares.usual.wait(1, [user(1)]);
        shares.usual.wait(2, [user(2)]);
        shares.usual.wait(3, [user(200)]);
        (0..60).for_each(|_| shares.end(user(1)));
        assert_eq!(
            [shares.next(MOST, true), shares.next(MOST, true), shares.next(MOST, true)],
            [Some(3), Some(2), Some(1)],
            "who has the fewest is next"
        );
    }

    #[test]
    fn a_few_connections_can_be_used_up() {
        for most in 1..5 {
            let mut shares = Shares::<u32>::default();
            let taken = std::iter::from_fn(|| shares.may_take(of(0), most).then(|| shares.begin(of(0)))).count();
            assert_eq!(taken, most);
        }
    }

    #[test]
    fn lanes_wait_in_turn_and_streams_with_the_fewest_connections_go_first() {
        let mut shares = Shares::<u32>::default();
        fill(&mut shares, of(0));
        let lanes = [1, 2, 3];
        shares.usual.wait(lanes[0], [of(0)]);
        shares.usual.wait(lanes[1], [of(0), of(1)]);
        shares.usual.wait(lanes[1], [of(0), of(1)]);
        assert_eq!((shares.waiting(true), shares.least(&shares.usual), shares.usual.lone()), (3, Some((0, 0)), None));
        assert_eq!(shares.next(MOST, true), Some(lanes[1]), "the second stream has none");
        assert_eq!(shares.next(MOST, true), None, "the first one has its share");
        (0..50).for_each(|_| shares.end(of(0)));
        assert_eq!(
            [shares.next(MOST, true), shares.next(MOST, true), shares.next(MOST, true)],
            [Some(lanes[1]), Some(lanes[0]), None],
            "newest and oldest"
        );
    }

    #[test]
    fn with_connections_for_all_the_stream_with_the_fewest_is_next() {
        let mut shares = Shares::<u32>::default();
        (0..5).for_each(|_| shares.begin(of(0)));
        shares.usual.wait(1, [of(0)]);
        assert_eq!(shares.usual.lone(), Some(1));
        shares.usual.wait(2, [of(1)]);
        assert_eq!([shares.next(MOST, true), shares.next(MOST, true), shares.next(MOST, true)], [Some(2), Some(1), None]);
        assert_eq!((shares.waiting(true), shares.least(&shares.usual)), (0, None));
    }

    #[test]
    fn hosts_that_stall_come_last_and_have_every_eighth_turn() {
        let mut shares = Shares::<u32>::default();
        shares.usual.wait(99, [of(0)]);
        assert_eq!(shares.next(MOST, true), Some(99), "nobody else waits");
        (0..20).for_each(|lane| shares.usual.wait(lane, [of(0)]));
        (100..110).for_each(|lane| shares.stalling.wait(lane, [of(1)]));
        assert_eq!((shares.waiting(true), shares.waiting(false)), (30, 20));
        let given: Vec<u32> = std::iter::from_fn(|| shares.next(MOST, true)).collect();
        let theirs: Vec<usize> = given.iter().enumerate().filter(|(_, lane)| **lane >= 100).map(|(turn, _)| turn).collect();
        assert_eq!(theirs, [7, 15, 22, 23, 24, 25, 26, 27, 28, 29]);
        shares.stalling.wait(100, [of(1)]);
        assert_eq!(shares.next(MOST, false), None, "they have their part of the connections");
    }
}
