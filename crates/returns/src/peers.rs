//! The names of the hosts that bring returned mail. They are looked up beside the session, from the moment when a host names a reverse-path
//! in force: no answer to a command waits for DNS.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use posthaste_route::Resolver;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::timeout,
};

/// Hosts whose names are looked up at once; others wait.
const LOOKING_MAX: usize = 16;
/// Hosts whose names are kept, or are to be looked up; those beyond it have none.
const HOSTS_MAX: usize = 2048;
/// How long names are kept.
const KEPT: SignedDuration = SignedDuration::from_mins(10);
/// How long a look-up may take.
const WITHIN: Duration = Duration::from_secs(10);

/// The confirmed names of hosts that were looked up lately.
pub(crate) struct Peers {
    hosts: Mutex<HashMap<IpAddr, Peer>>,
    looking: Arc<Semaphore>,
}

#[derive(Clone)]
struct Peer {
    since: Timestamp,
    names: Arc<OnceCell<Arc<[String]>>>,
}

impl Default for Peers {
    fn default() -> Self {
        Self { hosts: Mutex::default(), looking: Arc::new(Semaphore::new(LOOKING_MAX)) }
    }
}

impl Peers {
    /// Starts to look up the names of a host, unless they are known or being looked up.
    pub(crate) fn look_up(&self, resolver: &Resolver, ip: IpAddr, now: Timestamp) {
        let Some((peer, is_new)) = self.peer(ip, now) else { return };
        if is_new {
            let (resolver, looking) = (resolver.clone(), self.looking.clone());
            tokio::spawn(async move { names(&peer, &resolver, &looking, ip).await });
        }
    }

    /// The names of a host, if they have been looked up.
    pub(crate) fn known(&self, ip: IpAddr, now: Timestamp) -> Option<Arc<[String]>> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(&ip).filter(|peer| peer.is_fresh(now))?.names.get().cloned()
    }

    /// The names of a host; None if DNS gives no answer in time.
    pub(crate) async fn names(&self, resolver: &Resolver, ip: IpAddr, now: Timestamp) -> Option<Arc<[String]>> {
        let (peer, _) = self.peer(ip, now)?;
        names(&peer, resolver, &self.looking, ip).await
    }

    /// The host, and whether it is new; None if there are too many.
    fn peer(&self, ip: IpAddr, now: Timestamp) -> Option<(Peer, bool)> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = hosts.get(&ip).filter(|peer| peer.is_fresh(now)) {
            return Some((peer.clone(), false));
        }
        if hosts.len() >= HOSTS_MAX {
            hosts.retain(|_, peer| peer.is_fresh(now));
            if hosts.len() >= HOSTS_MAX {
                return None;
            }
        }
        let peer = Peer { since: now, names: Arc::default() };
        hosts.insert(ip, peer.clone());
        Some((peer, true))
    }
}

impl Peer {
    /// The clock may have been set back.
    fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.since).abs() < KEPT
    }
}

/// Looks the names up once, for all who ask meanwhile. A look-up without an answer may be made again.
async fn names(peer: &Peer, resolver: &Resolver, looking: &Semaphore, ip: IpAddr) -> Option<Arc<[String]>> {
    let look_up = async {
        let _turn = looking.acquire().await.map_err(drop)?;
        let found = timeout(WITHIN, resolver.names_of(ip)).await.map_err(drop)?;
        found.map(Arc::from).map_err(|error| tracing::debug!(%ip, %error, "the names of a host that returns mail were not found"))
    };
    peer.names.get_or_try_init(|| look_up).await.ok().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_names_are_kept_for_a_while_and_only_so_many() {
        let (peers, at) = (Peers::default(), |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap());
        let ip = |n: usize| IpAddr::from([10, 0, (n >> 8) as u8, n as u8]);
        for n in 0..HOSTS_MAX {
            assert!(peers.peer(ip(n), at(0)).is_some_and(|(_, is_new)| is_new), "{n}");
        }
        assert!(peers.peer(ip(HOSTS_MAX), at(1)).is_none());
        assert!(peers.peer(ip(0), at(1)).is_some_and(|(_, is_new)| !is_new));
        let (peer, _) = peers.peer(ip(0), at(1)).unwrap();
        peer.names.set(["mx.example".to_owned()].into()).unwrap();
        assert_eq!((peers.known(ip(0), at(2)).map(|names| names.len()), peers.known(ip(1), at(2))), (Some(1), None));
        // Later, or after the clock was set back.
        for then in [at(600), at(-600)] {
            assert_eq!(peers.known(ip(0), then), None);
        }
        assert!(peers.peer(ip(HOSTS_MAX), at(600)).is_some());
        assert_eq!(peers.hosts.lock().unwrap().len(), 1);
    }
}
