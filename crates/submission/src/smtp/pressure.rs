//! Limits the memory of messages that are being submitted, over all sessions, from MAIL on. When it runs out, whoever holds most of it is told to
//! give it up, the largest session first, whether it is sending or idle: a user, or without a login a client's address. So many messages that come
//! slowly do not keep out one that is longer than each of them. Strangers have half of it at most, or what one of them alone needs.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The memory that all sessions hold.
#[derive(Default)]
pub(super) struct Pressure(Mutex<Holders>);

#[derive(Default)]
struct Holders {
    next: u64,
    by_number: BTreeMap<u64, Holder>,
    /// What those hold who are no strangers, and what strangers hold; without those who were told to go, who are about to.
    bytes: [u64; 2],
}

struct Holder {
    bytes: u64,
    owner: Arc<str>,
    stranger: bool,
    /// Whether its message is being stored: it is as good as gone, and its client not to blame for the time that this takes.
    stored: bool,
    told: bool,
    go: Arc<Notify>,
}

/// The memory that one session holds of a message; released when dropped.
pub(super) struct Held {
    of: Arc<Pressure>,
    number: u64,
    go: Arc<Notify>,
    bytes: u64,
}

impl Pressure {
    /// Begins with a message of this user or address. `stranger`: see [`super::connection_counts`].
    pub(super) fn begin(self: &Arc<Self>, owner: Arc<str>, stranger: bool) -> Held {
        let mut holders = self.lock();
        holders.next += 1;
        let (number, go) = (holders.next, Arc::<Notify>::default());
        holders.by_number.insert(number, Holder { bytes: 0, owner, stranger, stored: false, told: false, go: go.clone() });
        Held { of: self.clone(), number, go, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Holders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holders {
    /// Changes what a session holds. False: it was told to give that up, now or before.
    fn set(&mut self, number: u64, bytes: u64, max: u64) -> bool {
        let holder = self.by_number.get_mut(&number).expect("a session is known until it lets go");
        if holder.told {
            return false;
        }
        let sum = &mut self.bytes[usize::from(holder.stranger)];
        *sum = *sum - holder.bytes + bytes;
        holder.bytes = bytes;
        while self.bytes[1] > max / 2 && self.has_several_strangers() && self.tell_the_largest(true) {}
        while self.bytes[0] + self.bytes[1] > max
            && (self.tell_the_largest(self.bytes[1] > max / 2) || self.tell_the_largest(self.bytes[1] <= max / 2))
        {}
        !self.by_number[&number].told
    }

    fn has_several_strangers(&self) -> bool {
        self.by_number.values().filter(|holder| holder.stranger && !holder.told && holder.bytes > 0).nth(1).is_some()
    }

    /// Tells the largest session of the stranger that holds most to go, or that of somebody else. False: there is none whose message is not being
    /// stored.
    fn tell_the_largest(&mut self, stranger: bool) -> bool {
        let mut sums: HashMap<&Arc<str>, u64> = HashMap::new();
        for holder in self.by_number.values().filter(|holder| holder.stranger == stranger && !holder.told) {
            *sums.entry(&holder.owner).or_default() += holder.bytes;
        }
        let may_go = |holder: &Holder| holder.stranger == stranger && !holder.told && !holder.stored;
        let candidates = self.by_number.iter().filter(|(_, holder)| may_go(holder));
        let largest = candidates.max_by_key(|(_, holder)| (sums[&holder.owner], holder.bytes)).map(|(number, _)| *number);
        let Some(holder) = largest.and_then(|number| self.by_number.get_mut(&number)) else { return false };
        holder.told = true;
        holder.go.notify_one();
        self.bytes[usize::from(holder.stranger)] -= holder.bytes;
        true
    }
}

impl Held {
    /// It holds `bytes` now. False: all sessions together hold more than `max`, and this one is among those that hold most.
    pub(super) fn set(&mut self, bytes: u64, max: u64) -> bool {
        // Asked after each command, of which most change nothing.
        if bytes == self.bytes {
            return true;
        }
        self.bytes = bytes;
        self.of.lock().set(self.number, bytes, max)
    }

    /// The message is complete, and its memory is given back as soon as it is stored.
    pub(super) fn is_being_stored(&self) {
        self.of.lock().by_number.entry(self.number).and_modify(|holder| holder.stored = true);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut holders = self.of.lock();
        if let Some(holder) = holders.by_number.remove(&self.number).filter(|holder| !holder.told) {
            holders.bytes[usize::from(holder.stranger)] -= holder.bytes;
        }
    }
}

/// Returns when a session is told to give its memory up; never, if it holds none.
pub(super) fn told(held: Option<&Held>) -> impl Future<Output = ()> + use<> {
    let go = held.map(|held| held.go.clone());
    async move {
        match go {
            Some(go) => go.notified().await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_told(held: &Held) -> bool {
        let told = std::pin::pin!(told(Some(held)));
        told.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn below_the_limit_one_may_hold_it_all_and_above_it_the_greedy_go_even_if_they_are_idle() {
        let pressure = Arc::new(Pressure::default());
        let of = |n: u32| Arc::<str>::from(n.to_string());
        let mut greedy = pressure.begin(of(0), false);
        assert!(greedy.set(900, 1000));
        let mut modest: Vec<Held> = (1..10).map(|n| pressure.begin(of(n), false)).collect();
        assert!(modest.iter_mut().all(|held| held.set(100, 1000)), "each has its tenth, whoever else is too greedy");
        assert!(is_told(&greedy) && !greedy.set(901, 1000));
        drop(greedy);
        assert!(modest[0].set(200, 1000), "there is room again");
        assert!(!modest[0].set(201, 1000), "it holds most itself");
        drop(modest);
        let holders = pressure.lock();
        assert_eq!((holders.bytes, holders.by_number.len()), ([0, 0], 0));
    }

    #[test]
    fn all_together_never_hold_more_than_the_limit_whoever_comes_later() {
        let pressure = Arc::new(Pressure::default());
        let mut sessions: Vec<Held> = Vec::new();
        // Each takes what it gets and falls silent.
        for n in 0..200 {
            let mut held = pressure.begin((n % 7).to_string().into(), false);
            if (1..60).all(|n| held.set(n * 10, 5000)) {
                sessions.push(held);
            }
            sessions.retain(|held| !is_told(held));
            assert!(sessions.iter().map(|held| held.bytes).sum::<u64>() <= 5000);
        }
    }

    #[test]
    fn many_slow_messages_of_one_user_do_not_keep_out_a_longer_one_of_another() {
        let (pressure, max) = (Arc::new(Pressure::default()), 256);
        let mut slow: Vec<Held> = (0..20).map(|_| pressure.begin("bob".into(), false)).collect();
        assert!(slow.iter_mut().all(|held| held.set(12, max)));
        let mut long = pressure.begin("ann".into(), false);
        assert!((1..=50).all(|bytes| long.set(bytes, max)), "she holds less than he does");
        assert_eq!(slow.iter().filter(|held| is_told(held)).count(), 3, "no more than need to go");
        let mut more: Vec<Held> = (0..20).map(|_| pressure.begin("ann".into(), false)).collect();
        assert!(!more.iter_mut().all(|held| held.set(12, max)), "now she holds most");
    }

    #[test]
    fn strangers_have_half_at_most_and_a_message_that_is_being_stored_stays() {
        let pressure = Arc::new(Pressure::default());
        let of = |n: u32| Arc::<str>::from(n.to_string());
        let mut alone = pressure.begin(of(0), true);
        assert!(alone.set(900, 1000), "the longest message can come from anybody");
        drop(alone);
        let mut client = pressure.begin(of(20), false);
        assert!(client.set(500, 1000));
        let mut strangers: Vec<Held> = (0..10).map(|n| pressure.begin(of(n), true)).collect();
        assert!(strangers[..5].iter_mut().all(|held| held.set(100, 1000)));
        assert!(!strangers[5].set(101, 1000), "they have their half, and this one holds most of it");
        assert!(!is_told(&client) && !strangers[..5].iter().any(is_told));
        let mut other = pressure.begin(of(21), false);
        client.is_being_stored();
        assert!(!other.set(600, 1000) && !is_told(&client), "it is about to go anyway");
    }
}
