//! The hosts that did not take a message, or left in doubt whether they did: its next attempt begins with another one.
//!
//! Within an attempt, no second host hears of a message that may have been taken (RFC 5321 §4.5.3.2.6, §6.1): an answer that is late or lost would
//! otherwise make two copies at once. The next attempt, at its own time, makes a second copy with either host if the first had taken the message,
//! and none if it had not. So it goes where it has better chances: a host that dies at each final dot must not hold a message until it expires.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use posthaste_queue::{AttemptResult, Seq};
use posthaste_route::Host;

use crate::refuser::Refuser;

/// Messages that are remembered, at most; the next attempt of the others begins with the best host.
const MESSAGES_MAX: usize = 10_000;
/// Of these, the ones that nothing was added to for longest, so many of which are forgotten when there is no room.
const FORGOTTEN_AT_ONCE: usize = 1_000;
/// Addresses that are remembered for a message, at most.
const ADDRESSES_MAX: usize = 12;

/// What hosts did with messages that are still queued, for this run of the relay.
#[derive(Default)]
pub struct TurnedAway(Mutex<HashMap<Seq, Turned>>);

/// Who turned one message away.
struct Turned {
    /// The addresses, the one that was tried first at the front.
    by: Vec<SocketAddr>,
    /// When the last of them was added.
    at: Instant,
}

impl TurnedAway {
    /// The host at this address did not take a message, or may have taken it.
    pub(crate) fn note(&self, seq: Seq, address: SocketAddr, at: Instant) {
        let mut all = self.lock();
        if all.len() >= MESSAGES_MAX && !all.contains_key(&seq) {
            // Many at once, so that finding them costs little for each.
            let mut times: Vec<Instant> = all.values().map(|turned| turned.at).collect();
            let (_, last, _) = times.select_nth_unstable(FORGOTTEN_AT_ONCE - 1);
            all.retain(|_, turned| turned.at > *last);
        }
        let turned = all.entry(seq).or_insert_with(|| Turned { by: Vec::new(), at });
        turned.by.retain(|known| *known != address);
        turned.by.push(address);
        turned.at = at;
        if turned.by.len() > ADDRESSES_MAX {
            turned.by.remove(0);
        }
    }

    /// An attempt went on from the host at this address to the next one, so that its next attempt may begin there again.
    pub(crate) fn went_on(&self, seq: Seq, address: SocketAddr) {
        self.retain(seq, |turned| *turned != address);
    }

    /// The recipients of a message at these hosts have ended.
    pub(crate) fn forget(&self, seq: Seq, hosts: &[Host]) {
        self.retain(seq, |address| !hosts.iter().any(|host| host.addresses.contains(address)));
    }

    fn retain(&self, seq: Seq, keeps: impl Fn(&SocketAddr) -> bool) {
        let mut all = self.lock();
        let Some(turned) = all.get_mut(&seq) else { return };
        turned.by.retain(keeps);
        if turned.by.is_empty() {
            all.remove(&seq);
        }
    }

    /// Puts a message's candidates in the order in which its attempt tries them: those that have not turned it away first, then the others, the
    /// one whose turn was longest ago first.
    pub(crate) fn order(&self, seq: Seq, candidates: &mut [(Arc<str>, SocketAddr)]) {
        let all = self.lock();
        if let Some(turned) = all.get(&seq) {
            candidates.sort_by_key(|(_, address)| turned.by.iter().position(|by| by == address).map_or(0, |place| place + 1));
        }
    }

    /// Whether the host at this address turned a message away.
    pub(crate) fn has(&self, seq: Seq, address: &SocketAddr) -> bool {
        self.lock().get(&seq).is_some_and(|turned| turned.by.contains(address))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Seq, Turned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a host turned a message away with this result, or left it in doubt whether it has it.
pub(crate) fn turns_away(said: &AttemptResult) -> bool {
    matches!(said, AttemptResult::Unknown(..)) || Refuser::of(said) == Some(Refuser::Host)
}

/// Whether a recipient's delivery ends with this result.
pub(crate) fn ends(said: &AttemptResult) -> bool {
    match said {
        AttemptResult::Delivered(_) | AttemptResult::Suppressed(_) => true,
        AttemptResult::Failed(_, verdict) => verdict.permanent,
        AttemptResult::Unknown(..) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use posthaste_host::clock;

    use super::*;

    fn address(n: u8) -> SocketAddr {
        ([192, 0, 2, n], 25).into()
    }

    fn order(turned: &TurnedAway, seq: Seq) -> Vec<u8> {
        let mut candidates: Vec<(Arc<str>, SocketAddr)> = (1..=3).map(|n| (format!("mx{n}").into(), address(n))).collect();
        turned.order(seq, &mut candidates);
        candidates.iter().map(|(name, _)| name.as_bytes()[2] - b'0').collect()
    }

    #[test]
    fn each_attempt_begins_with_the_host_whose_turn_was_longest_ago() {
        let (turned, now) = (TurnedAway::default(), clock::instant());
        assert_eq!(order(&turned, 1), [1, 2, 3]);
        for expected in [[2, 3, 1], [3, 1, 2], [1, 2, 3], [2, 3, 1]] {
            turned.note(1, address(order(&turned, 1)[0]), now);
            assert_eq!(order(&turned, 1), expected);
        }
        assert_eq!(order(&turned, 2), [1, 2, 3], "another message's hosts are as good as ever");
        let host = |n| Host { name: format!("mx{n}").into(), preference: 10, addresses: vec![address(n)] };
        turned.forget(1, &[host(1), host(2)]);
        assert_eq!(order(&turned, 1), [1, 2, 3], "nothing but the third is remembered, and it comes last anyway");
        turned.forget(1, &[host(3)]);
        assert_eq!((order(&turned, 1), turned.has(1, &address(1))), (vec![1, 2, 3], false));
    }

    #[test]
    fn the_memory_has_a_limit_and_loses_the_oldest() {
        let (turned, now) = (TurnedAway::default(), clock::instant());
        for n in 0..=MESSAGES_MAX as u64 {
            turned.note(n, address(1), now + Duration::from_millis(n));
        }
        let (last_lost, newest) = (FORGOTTEN_AT_ONCE as u64 - 1, MESSAGES_MAX as u64);
        let knows = |seqs: [u64; 2]| seqs.map(|seq| turned.has(seq, &address(1)));
        assert_eq!((knows([0, last_lost]), knows([last_lost + 1, newest])), ([false; 2], [true; 2]));
    }
}
