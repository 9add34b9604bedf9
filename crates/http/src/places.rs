//! The places of connections: counted in all and by client. A refusal that waits, so that guessing takes time, holds none; and
//! when places are short, the connection is ended that has been open longest without showing a token.

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
    next: u64,
}

#[derive(Debug)]
struct Stranger {
    client: IpAddr,
    since: Instant,
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
    /// It is a user's.
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
            counts.send_away(now, full_for_client.then_some(client))?;
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

    /// Tells the oldest stranger to leave, of this client if one is given. Its place is free at once. None: there is none.
    fn send_away(&mut self, now: Instant, of: Option<IpAddr>) -> Option<()> {
        let long = |stranger: &Stranger| now.saturating_duration_since(stranger.since) >= PATIENCE;
        let mut old = self.strangers.iter().take_while(|(_, stranger)| long(stranger));
        let number = *old.find(|(_, stranger)| of.is_none_or(|client| client == stranger.client))?.0;
        let stranger = self.strangers.remove(&number)?;
        self.leave(stranger.client);
        stranger.leave.notify_one();
        Some(())
    }
}

impl Place {
    /// Returns when the connection has to end, because others need its place.
    pub(crate) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }

    /// The connection is a user's.
    pub fn known(&self) {
        let mut state = self.state();
        if *state == State::Stranger && self.of.lock().strangers.remove(&self.number).is_some() {
            *state = State::Known;
        }
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
            State::Stranger if counts.strangers.remove(&self.number).is_none() => return false,
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
            State::Stranger if counts.strangers.remove(&self.number).is_none() => return false,
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
            State::Known => counts.leave(self.client),
            State::Stranger => {
                if counts.strangers.remove(&self.number).is_some() {
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
        first.known();
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
    fn the_oldest_connection_without_a_token_makes_room() {
        let (places, begun) = (Arc::new(Places::default()), clock::instant());
        let take = |last: u8, seconds| places.take([192, 0, 2, last].into(), 3, 2, begun + Duration::from_secs(seconds));
        let (user, idle, late) = (take(1, 0).unwrap(), take(1, 0).unwrap(), take(2, 3).unwrap());
        user.known();
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
