//! Counts and limits concurrent connections: in total, by listener, by client address, and of strangers.
//!
//! A stranger is who is not in a submission listener's `allow` and has not logged in. Strangers leave a tenth of each listener's places to
//! others, and some of all places. A listener may take one more place while its strangers, or its other clients, have less than
//! [`TIMES_FREE`] times as many as are free: none can take the last places of another.
//!
//! When there is no place for a client, an idle stranger is told to leave: one of the network that has the most connections, if that makes the
//! shares more even; for clients of `allow` and of networks from which users have logged in lately, in any case. So whoever holds many places
//! and comes back at once does not get them all again. If the networks have equally many, the stranger that has been idle longest leaves: one
//! that neither logged in nor handed over a message for a while. A stranger of a network of [`Loiterers`] leaves for anybody else at once, and
//! a network that is none of them waits less long for the rest: so whoever logs in at once finds a place, however many networks hold one each.

mod loiterers;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use posthaste_access::bans::subject;
use posthaste_journal::network;
use posthaste_mail::Name;
use posthaste_smtp::server::{Answer, Refused};
use tokio::sync::Notify;

use self::loiterers::Loiterers;

/// How many times as many places as are free a listener may have.
const TIMES_FREE: usize = 9;
/// The part of a listener's places, and of all, that strangers leave to others.
const RESERVE: usize = 10;
/// The same for all places: a listener's share leaves some already.
const RESERVE_IN_ALL: usize = 20;
/// The networks remembered from which users logged in.
const KNOWN_NETWORKS: usize = 1024;
/// How long a stranger may be idle even if places are short and no network has more than its share: long enough for TLS and a login over a bad line.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same while the next one is of a network that is not known to loiter: a login takes less, and nobody who means to log in waits for it.
const LESS_PATIENCE: Duration = Duration::from_secs(3);

/// The numbers of open connections.
#[derive(Default)]
pub(super) struct ConnectionCounts(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    places: Places,
    listeners: HashMap<Name, Listener>,
    /// Strangers that could be told to leave, by the time since which they are idle and the numbers of their connections.
    idle: BTreeMap<(Instant, u64), Occupant>,
    next: u64,
    /// Places of strangers by network.
    networks: HashMap<IpAddr, usize>,
    /// The networks from which users logged in last, the latest at the end.
    known: VecDeque<IpAddr>,
    loiterers: Loiterers,
    /// The time of the last connection.
    now: Option<Instant>,
}

/// Places that are taken, and how many of them by strangers.
#[derive(Clone, Copy, Default)]
struct Places {
    all: usize,
    strangers: usize,
}

#[derive(Default)]
struct Listener {
    places: Places,
    clients: HashMap<IpAddr, usize>,
}

/// Who has a place.
#[derive(Clone)]
struct Occupant {
    listener: Name,
    client: IpAddr,
    network: IpAddr,
    stranger: bool,
    /// It has begun a message.
    useful: bool,
    leave: Arc<Notify>,
}

/// The limits of a listener, and of all together.
#[derive(Clone, Copy)]
pub(super) struct Most {
    /// Places of the listener.
    pub(super) here: usize,
    /// Places of one client at the listener.
    pub(super) per_client: usize,
    /// Places of all listeners.
    pub(super) in_all: usize,
}

/// One counted connection; the counts decrease when it is dropped.
pub(super) struct ConnectionSlot {
    of: Arc<ConnectionCounts>,
    number: u64,
    who: Occupant,
    /// Since when it is idle; None: it sends a message.
    idle: Option<Instant>,
}

impl ConnectionCounts {
    /// Counts a connection from `ip` at `now`, or refuses it if a limit is reached.
    pub(super) fn take(
        self: &Arc<Self>,
        listener: &Name,
        ip: IpAddr,
        stranger: bool,
        most: Most,
        now: Instant,
    ) -> Result<ConnectionSlot, Refused> {
        let too_many = |who: &str| {
            Refused::new(Answer::new(421, 7, 0, format!("too many connections {who}, try again later")), "too_many_connections")
        };
        let mut counts = self.lock();
        counts.now = Some(now);
        counts.loiterers.pass(now);
        let client = subject(ip);
        if counts.listeners.get(listener).is_some_and(|here| here.clients.get(&client).is_some_and(|n| *n >= most.per_client)) {
            return Err(too_many("from your address"));
        }
        let who = Occupant { listener: listener.clone(), client, network: network(ip), stranger, useful: false, leave: Arc::default() };
        while !counts.has_room(listener, stranger, most) {
            // Whoever leaves makes room in all; if it is the listener that is full, it has to be one of there.
            let full_here = !counts.here(listener).has_room(stranger, most.here, RESERVE);
            if !counts.send_away_for(&who, now, full_here) {
                return Err(too_many("here"));
            }
        }
        counts.next += 1;
        let number = counts.next;
        counts.enter(&who);
        if stranger {
            counts.idle.insert((now, number), who.clone());
        }
        Ok(ConnectionSlot { of: self.clone(), number, who, idle: Some(now) })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Whether one more fits, given that strangers leave one in `reserve` places to others.
    fn has_room(self, stranger: bool, most: usize, reserve: usize) -> bool {
        self.all < most && (!stranger || self.strangers < (most - most / reserve).max(1))
    }
}

/// Whether somebody who has so many places may take one more of those that are free.
fn fair(held: usize, free: usize) -> bool {
    held < free.saturating_mul(TIMES_FREE).max(1)
}

impl Counts {
    fn here(&self, listener: &Name) -> Places {
        self.listeners.get(listener).map_or_else(Places::default, |here| here.places)
    }

    fn has_room(&self, listener: &Name, stranger: bool, most: Most) -> bool {
        let here = self.here(listener);
        let like_it = if stranger { here.strangers } else { here.all - here.strangers };
        here.has_room(stranger, most.here, RESERVE)
            && self.places.has_room(stranger, most.in_all, RESERVE_IN_ALL)
            && fair(like_it, most.in_all - self.places.all)
    }

    fn enter(&mut self, who: &Occupant) {
        let here = self.listeners.entry(who.listener.clone()).or_default();
        *here.clients.entry(who.client).or_default() += 1;
        for places in [&mut here.places, &mut self.places] {
            places.all += 1;
            places.strangers += usize::from(who.stranger);
        }
        if who.stranger {
            *self.networks.entry(who.network).or_default() += 1;
        }
    }

    fn leave(&mut self, who: &Occupant) {
        if who.stranger {
            self.one_less(who.network);
        }
        let Some(here) = self.listeners.get_mut(&who.listener) else { return };
        for places in [&mut here.places, &mut self.places] {
            places.all -= 1;
            places.strangers -= usize::from(who.stranger);
        }
        if let Some(n) = here.clients.get_mut(&who.client) {
            *n -= 1;
            if *n == 0 {
                here.clients.remove(&who.client);
            }
        }
    }

    /// A network has one stranger less.
    fn one_less(&mut self, network: IpAddr) {
        if let Some(n) = self.networks.get_mut(&network) {
            *n -= 1;
            if *n == 0 {
                self.networks.remove(&network);
            }
        }
    }

    /// Tells an idle stranger to leave for this client, if its listener is full, one of there. Its place is free at once. False: there is none
    /// that has to give way.
    fn send_away_for(&mut self, who: &Occupant, now: Instant, full_here: bool) -> bool {
        let loiters = who.stranger && self.loiterers.has(&who.network) && !self.known.contains(&who.network);
        let key = self.of_the_largest(who, full_here).or_else(|| match loiters {
            true => self.idle_long(who, now, PATIENCE, full_here),
            false => self.loiterer(who, full_here).or_else(|| self.idle_long(who, now, LESS_PATIENCE, full_here)),
        });
        let Some(key) = key else { return false };
        let gone = self.idle.remove(&key).expect("it was there");
        let long = now.saturating_duration_since(key.0) >= LESS_PATIENCE;
        if !gone.useful && (long || self.loiterers.has(&gone.network)) {
            self.loiterers.count(gone.network, long);
        }
        self.leave(&gone);
        gone.leave.notify_one();
        true
    }

    /// The stranger of a network that loiters, and from which no user logged in lately, that is idle longest.
    fn loiterer(&self, who: &Occupant, full_here: bool) -> Option<(Instant, u64)> {
        let is_one = |other: &Occupant| {
            (!full_here || other.listener == who.listener) && self.loiterers.has(&other.network) && !self.known.contains(&other.network)
        };
        self.idle.iter().find(|(_, other)| is_one(other)).map(|(key, _)| *key)
    }

    /// The stranger that is idle longest in the network with the most places, if the client's own has fewer even with one more.
    fn of_the_largest(&self, who: &Occupant, full_here: bool) -> Option<(Instant, u64)> {
        let known: HashSet<_> = self.known.iter().collect();
        let own = self.networks.get(&who.network).copied().unwrap_or_default();
        let more_than = if !who.stranger || known.contains(&who.network) { 0 } else { own + 1 };
        if !self.networks.values().any(|n| *n > more_than) {
            return None;
        }
        let weigh = |other: &Occupant| {
            let n = self.networks.get(&other.network).copied().unwrap_or_default();
            // Of networks from which users log in, only those give way that have more than the client's own.
            let most = if known.contains(&other.network) && who.stranger { own + 1 } else { more_than };
            (n > most).then_some(n)
        };
        let mut largest: Option<(usize, (Instant, u64))> = None;
        for (key, other) in self.idle.iter().filter(|(_, other)| !full_here || other.listener == who.listener) {
            if let Some(n) = weigh(other).filter(|n| largest.is_none_or(|(most, _)| *n > most)) {
                largest = Some((n, *key));
            }
        }
        largest.map(|(_, key)| key)
    }

    /// The stranger that is idle longest, if that is at least so long.
    fn idle_long(&self, who: &Occupant, now: Instant, at_least: Duration, full_here: bool) -> Option<(Instant, u64)> {
        let mut long = self.idle.range(..=(now.checked_sub(at_least).unwrap_or(now), u64::MAX));
        long.find(|(_, other)| !full_here || other.listener == who.listener).map(|(key, _)| *key)
    }

    /// A user has logged in from this network.
    fn remember(&mut self, network: IpAddr) {
        self.loiterers.forget(&network);
        self.known.retain(|known| *known != network);
        self.known.push_back(network);
        if self.known.len() > KNOWN_NETWORKS {
            self.known.pop_front();
        }
    }
}

impl ConnectionSlot {
    /// Whether the client is a stranger.
    pub(super) fn is_stranger(&self) -> bool {
        self.who.stranger
    }

    /// Returns when the client has to leave, because others need its place.
    pub(super) fn told_to_leave(&self) -> impl Future<Output = ()> + use<> {
        let leave = self.who.leave.clone();
        async move { leave.notified().await }
    }

    /// The client sends a message, and is not told to leave meanwhile.
    pub(super) fn busy(&mut self) {
        self.who.useful = true;
        self.idle_since(None);
    }

    /// The client begins to be idle: it has handed over a message, or has broken off.
    pub(super) fn idle(&mut self, now: Instant) {
        self.idle_since(Some(now));
    }

    fn idle_since(&mut self, since: Option<Instant>) {
        let before = std::mem::replace(&mut self.idle, since);
        if !self.who.stranger {
            return;
        }
        let mut counts = self.of.lock();
        // One that was told to leave stays told.
        if before.is_some_and(|before| counts.idle.remove(&(before, self.number)).is_none()) {
            self.idle = before;
        } else if let Some(since) = since {
            counts.idle.insert((since, self.number), self.who.clone());
        }
    }

    /// The client has logged in: it is no stranger any more.
    pub(super) fn known(&mut self) {
        let mut counts = self.of.lock();
        let told = self.idle.is_some_and(|since| counts.idle.remove(&(since, self.number)).is_none());
        counts.remember(self.who.network);
        if self.who.stranger && !told {
            self.who.stranger = false;
            counts.one_less(self.who.network);
            counts.places.strangers -= 1;
            if let Some(here) = counts.listeners.get_mut(&self.who.listener) {
                here.places.strangers -= 1;
            }
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.of.lock();
        let told = self.who.stranger && self.idle.is_some_and(|since| counts.idle.remove(&(since, self.number)).is_none());
        if told {
            return;
        }
        if self.who.stranger && !self.who.useful {
            let stayed = self.idle.zip(counts.now).map_or(Duration::ZERO, |(since, now)| now.saturating_duration_since(since));
            counts.loiterers.count(self.who.network, stayed >= LESS_PATIENCE);
        }
        counts.leave(&self.who);
    }
}
