//! The places of connections: counted in all, by client and by user. A refusal that waits, so that guessing takes time, holds none. When places
//! are short, room is made by ending, in this order: the connection that has been open longest without showing a token; one without a token of
//! the client that has most of those; one of the user who has most, if that is more than an equal share and strangers have few. From a user who has
//! no more than a quarter, one is taken at most once a second: whoever comes and goes without a token ends few requests. The places of one client are
//! shared in the same way.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_access::bans::subject;
use tokio::{sync::Notify, time::sleep};

/// How long a connection may be open without a token even if places are short.
const PATIENCE: Duration = Duration::from_secs(5);

/// A user with more than this part of all places makes room at any time.
const LARGE_PART: usize = 4;
/// Other users make room no more often than this.
const SMALL_MAKE_ROOM: Duration = Duration::from_secs(1);
/// As long as strangers have less than this part of all places, users make room for them: one of them may be about to show a token. With more, they
/// would take the places of users from them.
const STRANGERS_PART: usize = 10;

/// The longest delay of the answer to a wrong password or token: a relay that stops has to wait for it too.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    clients: HashMap<IpAddr, usize>,
    /// Connections without a place, whose refusals wait.
    waiting: usize,
    /// Connections without a place, whose answers go on.
    live: usize,
    /// Connections that showed no token, by their numbers.
    strangers: BTreeMap<u64, Stranger>,
    /// Connections of users, by their numbers.
    known: BTreeMap<u64, Known>,
    /// How many each user has.
    users: HashMap<Arc<str>, usize>,
    /// When a user who had no large part made room last.
    small_made_room: Option<Instant>,
    next: u64,
}

#[derive(Debug)]
struct Stranger {
    client: IpAddr,
    since: Instant,
    leave: Arc<Notify>,
}

#[derive(Debug)]
struct Known {
    client: IpAddr,
    user: Arc<str>,
    leave: Arc<Notify>,
}

/// One counted connection; the counts decrease when it is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Places>,
    client: IpAddr,
    number: u64,
    leave: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It showed no token. If it is not in the list any more, it was told to leave and is not counted.
    Stranger,
    /// It is a user's. The same goes for it.
    Known,
    /// Its place was given up for a refusal that waits.
    GivenUp,
    /// Its place was given up for an answer that goes on.
    Live,
}

impl Places {
    /// Counts a connection from `ip` at `now`; None if it is one too many.
    pub(crate) fn take(self: &Arc<Self>, ip: IpAddr, most: usize, most_per_client: usize, now: Instant) -> Option<Arc<Place>> {
        let client = subject(ip);
        let mut counts = self.lock();
        loop {
            let full_for_client = counts.clients.get(&client).is_some_and(|here| *here >= most_per_client);
            if !full_for_client && counts.all < most {
                break;
            }
            match full_for_client {
                true => counts.make_room_at(client, most_per_client, now),
                false => counts.make_room(client, most, now),
            }?;
        }
        *counts.clients.entry(client).or_default() += 1;
        counts.all += 1;
        counts.next += 1;
        let (number, leave) = (counts.next, Arc::new(Notify::new()));
        counts.strangers.insert(number, Stranger { client, since: now, leave: leave.clone() });
        Some(Arc::new(Place { of: self.clone(), client, number, leave, state: Mutex::new(State::Stranger) }))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn leave(&mut self, client: IpAddr) {
        self.all -= 1;
        if let Some(n) = self.clients.get_mut(&client) {
            *n -= 1;
            if *n == 0 {
                self.clients.remove(&client);
            }
        }
    }

    /// Tells one connection to leave for one of `client`. Its place is free at once. None: there is none that has to.
    fn make_room(&mut self, client: IpAddr, most: usize, now: Instant) -> Option<()> {
        let old = self.old_strangers(now).next();
        if let Some(old) = old {
            return self.send_away_stranger(old);
        }
        let mut of_clients: HashMap<IpAddr, usize> = HashMap::new();
        self.strangers.values().for_each(|stranger| *of_clients.entry(stranger.client).or_default() += 1);
        let mine = self.clients.get(&client).copied().unwrap_or_default();
        let greedy = of_clients.into_iter().max_by_key(|(_, many)| *many);
        // Taking turns among equals would end everybody's.
        if let Some((greedy, _)) = greedy.filter(|(_, many)| *many > mine + 1) {
            let oldest = *self.strangers.iter().find(|(_, stranger)| stranger.client == greedy)?.0;
            return self.send_away_stranger(oldest);
        }
        if self.strangers.len() >= (most / STRANGERS_PART).max(1) {
            return None;
        }
        let (user, many) = self.users.iter().max_by_key(|(_, many)| **many).map(|(user, many)| (user.clone(), *many))?;
        self.may_lose_one(many, self.users.len(), most, now)?;
        self.send_away_user(&user)
    }

    /// The same among the places of one client, of which each user gets a share too: many may sit behind one address.
    fn make_room_at(&mut self, client: IpAddr, most: usize, now: Instant) -> Option<()> {
        let old = self.old_strangers(now).find(|number| self.strangers[number].client == client);
        if let Some(old) = old {
            return self.send_away_stranger(old);
        }
        if self.strangers.values().filter(|stranger| stranger.client == client).count() >= (most / STRANGERS_PART).max(1) {
            return None;
        }
        let mut of_users: HashMap<&Arc<str>, (usize, u64)> = HashMap::new();
        for (number, known) in self.known.iter().filter(|(_, known)| known.client == client) {
            of_users.entry(&known.user).or_insert((0, *number)).0 += 1;
        }
        let (users, (many, oldest)) = (of_users.len(), of_users.into_values().max()?);
        self.may_lose_one(many, users, most, now)?;
        self.send_away_known(oldest)
    }

    /// Whether one of so many users who has `many` of `most` places has to give one up for somebody else.
    fn may_lose_one(&mut self, many: usize, users: usize, most: usize, now: Instant) -> Option<()> {
        let has_more = |part: usize| many > (most / part).max(1);
        if has_more(LARGE_PART) {
            return Some(());
        }
        let is_time = self.small_made_room.is_none_or(|last| now.saturating_duration_since(last) >= SMALL_MAKE_ROOM);
        let gives = is_time && has_more(users + 1);
        gives.then(|| self.small_made_room = Some(now))
    }

    /// Strangers that have had their time, the oldest first.
    fn old_strangers(&self, now: Instant) -> impl Iterator<Item = u64> {
        let old = self.strangers.iter().take_while(move |(_, stranger)| now.saturating_duration_since(stranger.since) >= PATIENCE);
        old.map(|(number, _)| *number)
    }

    fn send_away_stranger(&mut self, number: u64) -> Option<()> {
        let stranger = self.strangers.remove(&number)?;
        self.leave(stranger.client);
        stranger.leave.notify_one();
        Some(())
    }

    /// Tells the oldest connection of a user to leave.
    fn send_away_user(&mut self, user: &str) -> Option<()> {
        let number = *self.known.iter().find(|(_, known)| &*known.user == user)?.0;
        self.send_away_known(number)
    }

    fn send_away_known(&mut self, number: u64) -> Option<()> {
        let known = self.forget_known(number)?;
        self.leave(known.client);
        known.leave.notify_one();
        Some(())
    }

    fn forget_known(&mut self, number: u64) -> Option<Known> {
        let known = self.known.remove(&number)?;
        if let Some(n) = self.users.get_mut(&known.user) {
            *n -= 1;
            if *n == 0 {
                self.users.remove(&known.user);
            }
        }
        Some(known)
    }

    /// Takes a connection out of its list; false if it was told to leave.
    fn forget(&mut self, state: State, number: u64) -> bool {
        match state {
            State::Stranger => self.strangers.remove(&number).is_some(),
            State::Known => self.forget_known(number).is_some(),
            State::GivenUp | State::Live => true,
        }
    }
}

impl Place {
    /// Returns when the connection has to end, because others need its place.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// The connection is this user's.
    pub fn known(&self, user: &str) {
        let mut state = self.state();
        if *state != State::Stranger {
            return;
        }
        let mut counts = self.of.lock();
        let Some(Stranger { client, leave, .. }) = counts.strangers.remove(&self.number) else { return };
        let user: Arc<str> = user.into();
        *counts.users.entry(user.clone()).or_default() += 1;
        counts.known.insert(self.number, Known { client, user, leave });
        *state = State::Known;
    }

    /// Lets whoever guessed wait before the refusal: without a place, and hung up on afterwards; with too many that wait, not at all. `most`: as many
    /// wait at once.
    pub async fn wait_without(&self, most: usize, wait: Duration) {
        if self.give_up(most) {
            sleep(wait.min(WAIT_MAX)).await;
        }
    }

    /// Gives the place up: the connection ends with the refusal that is to wait. False if it must not wait, because as many wait already
    /// as there may be connections, or because it was told to leave.
    pub(crate) fn give_up(&self, most: usize) -> bool {
        let mut state = self.state();
        let mut counts = self.of.lock();
        match *state {
            State::GivenUp => return true,
            State::Live => return false,
            _ if counts.waiting >= most => return false,
            State::Stranger | State::Known if !counts.forget(*state, self.number) => return false,
            State::Stranger | State::Known => {}
        }
        counts.leave(self.client);
        counts.waiting += 1;
        *state = State::GivenUp;
        true
    }

    /// Gives the place up for an answer that goes on. False if as many go on already as may, or the connection was told to leave.
    pub(crate) fn go_live(&self, most: usize) -> bool {
        let mut state = self.state();
        let mut counts = self.of.lock();
        match *state {
            State::GivenUp | State::Live => return false,
            _ if counts.live >= most => return false,
            State::Stranger | State::Known if !counts.forget(*state, self.number) => return false,
            State::Stranger | State::Known => {}
        }
        counts.leave(self.client);
        counts.live += 1;
        *state = State::Live;
        true
    }

    /// Whether the place was given up for an answer that goes on.
    pub(crate) fn is_live(&self) -> bool {
        *self.state() == State::Live
    }

    /// Whether the place was given up, so that the connection ends with the answer under way.
    pub(crate) fn is_left(&self) -> bool {
        matches!(*self.state(), State::GivenUp | State::Live)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let state = *self.state();
        let mut counts = self.of.lock();
        match state {
            State::GivenUp => counts.waiting -= 1,
            State::Live => counts.live -= 1,
            State::Stranger | State::Known => {
                if counts.forget(state, self.number) {
                    counts.leave(self.client);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use posthaste_host::clock;

    use super::*;

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let (places, now) = (Arc::new(Places::default()), clock::instant());
        let take = |ip: &str| places.take(ip.parse().unwrap(), 9, 1, now);
        let one = take("2001:db8::1");
        assert!(one.is_some() && take("2001:db8::2").is_none() && take("2001:db8:0:1::1").is_some());
        drop(one);
        assert!(take("2001:db8::2").is_some());
    }

    #[test]
    fn refusals_that_wait_hold_no_place_and_only_so_many_wait() {
        let (places, now) = (Arc::new(Places::default()), clock::instant());
        let take = || places.take([192, 0, 2, 1].into(), 2, 2, now);
        let first: Vec<_> = (0..2).map(|_| take().unwrap()).collect();
        assert!(take().is_none());
        assert!(first.iter().all(|place| place.give_up(2)));
        let second = take().expect("nobody has a place");
        assert!(!second.give_up(2), "two wait already");
        drop(first);
        assert!(second.give_up(2) && second.is_left());
        drop(second);
        let counts = places.lock();
        assert_eq!((counts.all, counts.waiting, counts.clients.len()), (0, 0, 0));
    }

    #[test]
    fn answers_that_go_on_hold_no_place_and_only_so_many_go_on() {
        let (places, now) = (Arc::new(Places::default()), clock::instant());
        let take = || places.take([192, 0, 2, 1].into(), 2, 2, now);
        let (first, second) = (take().unwrap(), take().unwrap());
        first.known("app");
        assert!(first.go_live(1) && first.is_left() && !first.go_live(2), "once");
        let third = take().expect("one place is free again");
        assert!(!second.go_live(1) && !second.is_left() && !first.give_up(9));
        drop(first);
        assert!(second.go_live(1));
        drop((second, third));
        let counts = places.lock();
        assert_eq!((counts.all, counts.live, counts.clients.len(), counts.strangers.len()), (0, 0, 0, 0));
    }

    #[test]
    fn who_was_told_to_leave_does_not_stay_by_an_answer_that_goes_on() {
        let (places, begun) = (Arc::new(Places::default()), clock::instant());
        let take = |seconds| places.take([192, 0, 2, 1].into(), 1, 1, begun + Duration::from_secs(seconds));
        let (old, _new) = (take(0).unwrap(), take(6).unwrap());
        assert!(!old.go_live(9));
        drop(old);
        let counts = places.lock();
        assert_eq!((counts.all, counts.live), (1, 0));
    }

    #[test]
    fn a_user_who_has_most_places_makes_room_down_to_a_share() {
        let (places, begun) = (Arc::new(Places::default()), clock::instant());
        let take = |last: u8, seconds| places.take([192, 0, 2, last].into(), 8, 8, begun + Duration::from_secs(seconds));
        let of = |last, user: &str, seconds| {
            let place = take(last, seconds).unwrap();
            place.known(user);
            place
        };
        let bobs: Vec<_> = (1..=8).map(|last| of(last, "bob", 0)).collect();
        let alices: Vec<_> = (0..3).map(|_| of(20, "alice", 0)).collect();
        assert_eq!(places.lock().users, HashMap::from([("alice".into(), 3), ("bob".into(), 5)]));
        let carols: Vec<_> = (0..2).map(|_| of(30, "carol", 0)).collect();
        assert_eq!(places.lock().users, HashMap::from([("alice".into(), 3), ("bob".into(), 3), ("carol".into(), 2)]));
        let daves: Vec<_> = (0..2).map(|_| of(40, "dave", 0)).collect();
        assert_eq!(places.lock().users.values().copied().collect::<Vec<_>>(), [2; 4]);
        // Four who share all leave some to others, but nobody takes all of that at once.
        let first = of(50, "other", 10);
        assert!(take(51, 10).is_none());
        let others: Vec<_> = (1..4).map(|n| of(50 + n, &format!("other{n}"), 10 + u64::from(n))).collect();
        assert_eq!(places.lock().users.values().copied().collect::<Vec<_>>(), [1; 8]);
        assert!(take(60, 99).is_none(), "each has one");
        drop((bobs, alices, carols, daves, first, others));
        let counts = places.lock();
        assert_eq!((counts.all, counts.clients.len(), counts.users.len(), counts.known.len()), (0, 0, 0, 0));
    }

    #[test]
    fn who_has_most_places_at_one_address_makes_room_for_others_there() {
        let (places, now) = (Arc::new(Places::default()), clock::instant());
        let of = |user: &str| {
            let place = places.take([192, 0, 2, 1].into(), 100, 8, now)?;
            place.known(user);
            Some(place)
        };
        let bobs: Vec<_> = (0..8).map_while(|_| of("bob")).collect();
        let alices: Vec<_> = (0..6).map_while(|_| of("alice")).collect();
        assert_eq!((bobs.len(), alices.len()), (8, 6));
        assert_eq!(places.lock().users, HashMap::from([("alice".into(), 4), ("bob".into(), 4)]));
        let stranger = places.take([192, 0, 2, 1].into(), 100, 8, now);
        assert!(stranger.is_some() && of("carol").is_none(), "strangers take one at a time");
        drop((bobs, alices, stranger));
        let counts = places.lock();
        assert_eq!((counts.all, counts.clients.len(), counts.users.len(), counts.known.len()), (0, 0, 0, 0));
    }

    #[test]
    fn strangers_take_few_places_from_users() {
        let (places, now) = (Arc::new(Places::default()), clock::instant());
        let take = |last: u8| places.take([192, 0, 2, last].into(), 20, 20, now);
        let _bobs: Vec<_> = (0..20)
            .map(|_| {
                let place = take(1).unwrap();
                place.known("bob");
                place
            })
            .collect();
        let strangers: Vec<_> = (10..30).map_while(take).collect();
        assert_eq!((strangers.len(), places.lock().users["bob"]), (2, 18), "each of a client of its own");
        strangers[0].known("alice");
        assert!(take(40).is_some(), "she is none any more");
    }

    #[test]
    fn the_client_with_most_strangers_makes_room_for_one_with_fewer() {
        let (places, now) = (Arc::new(Places::default()), clock::instant());
        let take = |last: u8| places.take([192, 0, 2, last].into(), 6, 6, now);
        let many: Vec<_> = [1, 1, 1, 2, 2, 2].map(|last| take(last).unwrap()).into();
        let alice = take(9).expect("each of the others has three");
        alice.known("alice");
        assert!(take(1).is_none(), "nobody has more than one more than it would have");
        drop(many);
        drop(alice);
        let counts = places.lock();
        assert_eq!((counts.all, counts.strangers.len(), counts.known.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_connection_without_a_token_makes_room() {
        let (places, begun) = (Arc::new(Places::default()), clock::instant());
        let take = |last: u8, seconds| places.take([192, 0, 2, last].into(), 3, 2, begun + Duration::from_secs(seconds));
        let (user, idle, late) = (take(1, 0).unwrap(), take(1, 0).unwrap(), take(2, 3).unwrap());
        user.known("app");
        assert!(take(3, 4).is_none() && take(1, 4).is_none(), "all are new");
        let one = take(1, 5).expect("its client's other connection showed none");
        assert!(take(3, 7).is_none(), "the rest is not old enough");
        let two = take(3, 8).expect("one is now");
        drop((idle, late));
        assert_eq!(places.lock().all, 3, "who was told to leave is counted no more");
        drop((user, one, two));
        let counts = places.lock();
        assert_eq!((counts.all, counts.strangers.len(), counts.clients.len()), (0, 0, 0));
    }
}
