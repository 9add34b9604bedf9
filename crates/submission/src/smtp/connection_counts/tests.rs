use posthaste_host::clock;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// An address in the network of this number.
fn ip(n: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0x0a00_0001 + (n << 8)).into()
}

/// How many of these a listener takes.
fn fill(counts: &Arc<ConnectionCounts>, listener: &str, stranger: bool, now: Instant) -> Vec<ConnectionSlot> {
    let most = Most { here: 1000, per_client: 1, in_all: 1000 };
    let first = if stranger { 0 } else { 3000 };
    (first..first + 2000).map_while(|n| counts.take(&name(listener), ip(n), stranger, most, now).ok()).collect()
}

#[test]
fn connections_are_counted_in_all_by_listener_and_by_client_and_given_back() {
    let (connections, now) = (Arc::new(ConnectionCounts::default()), clock::instant());
    let most = Most { here: 3, per_client: 2, in_all: 4 };
    let take = |listener: &str, ip: &str| connections.take(&name(listener), ip.parse().unwrap(), false, most, now);
    let first = take("a", "192.0.2.1").ok();
    let _second = take("a", "192.0.2.1").ok();
    assert!(take("a", "192.0.2.1").is_err_and(|refused| refused.answer.text.contains("from your address")));
    let _third = take("a", "2001:db8::1").ok();
    assert!(take("a", "192.0.2.2").is_err_and(|refused| refused.answer.text.contains("connections here")), "the listener has three");
    let _fourth = take("b", "192.0.2.1").ok();
    assert!(take("b", "192.0.2.2").is_err(), "there are four in all");
    drop(first);
    assert!(take("b", "192.0.2.2").is_ok());
}

#[test]
fn a_client_of_ipv6_is_its_network() {
    let (connections, most) = (Arc::new(ConnectionCounts::default()), Most { here: 9, per_client: 1, in_all: 9 });
    let take = |ip: &str| connections.take(&name("a"), ip.parse().unwrap(), false, most, clock::instant());
    let _one = take("2001:db8::1").ok();
    assert!(take("2001:db8::2").is_err() && take("2001:db8:0:1::1").is_ok());
}

#[test]
fn no_listener_takes_the_last_places_of_another_and_strangers_leave_some_to_clients() {
    let (counts, now) = (Arc::new(ConnectionCounts::default()), clock::instant());
    let strangers = fill(&counts, "returns", true, now);
    assert_eq!(strangers.len(), 900);
    let more = fill(&counts, "app", true, now);
    assert_eq!(more.len(), 50, "strangers find places at another listener, and leave some");
    assert_eq!(fill(&counts, "app", false, now).len(), 900, "clients of another listener find places, and idle strangers make room");
    drop((strangers, more));
    let clients = fill(&counts, "app", false, now);
    assert_eq!(clients.len(), 900);
    assert!(!fill(&counts, "returns", true, now).is_empty());
}

#[test]
fn the_stranger_that_is_idle_longest_makes_room_for_the_next() {
    let (counts, begun) = (Arc::new(ConnectionCounts::default()), clock::instant());
    let at = |seconds| begun + Duration::from_secs(seconds);
    let mut early = fill(&counts, "app", true, begun);
    let most = Most { here: 1000, per_client: 1, in_all: 1000 };
    let mut next = 5000;
    let mut come = |now| {
        next += 1;
        counts.take(&name("app"), ip(next), true, most, now)
    };
    assert!(come(at(2)).is_err(), "all are new");
    let [busy, known, useful, idle] = early.get_disjoint_mut([0, 1, 2, 3]).unwrap();
    busy.busy();
    known.known();
    useful.busy();
    useful.idle(at(5));
    let told = idle.told_to_leave();
    let newcomer = come(at(10)).expect("there is room for one more stranger, because one is known");
    let second = come(at(10)).expect("one leaves");
    assert!(futures_ready(told), "the first of those that are idle since the beginning");
    for slot in [&early[0], &early[1], &early[2]] {
        assert!(!futures_ready(slot.told_to_leave()));
    }
    drop((newcomer, second, early));
    let counts = counts.lock();
    assert_eq!((counts.places.all, counts.places.strangers, counts.idle.len(), counts.here(&name("app")).all), (0, 0, 0, 0));
    assert!(counts.networks.is_empty());
}

const WIDE: Most = Most { here: 1000, per_client: 200, in_all: 1000 };

#[test]
fn who_has_many_places_and_comes_back_at_once_keeps_nobody_out() {
    let now = clock::instant();
    for (listener, networks) in [("app", 20), ("app", 5), ("returns", 5), ("returns", 100)] {
        let counts = Arc::new(ConnectionCounts::default());
        let attack = |n: u32| counts.take(&name(listener), ip(n % networks), true, WIDE, now);
        let mut held: Vec<_> = (0..5000).filter_map(|n| attack(n).ok()).collect();
        assert!(held.len() >= 900, "{listener}");
        for turn in 0..200 {
            let user = counts.take(&name("app"), ip(5000 + turn), true, WIDE, now);
            let allowed = counts.take(&name("app"), ip(9000), false, WIDE, now);
            assert!(user.is_ok() && allowed.is_ok(), "{listener} {networks}: {turn}");
            // Those who were told to leave come back before the others have gone, and after it.
            held.extend((0..networks).filter_map(|n| attack(n).ok()));
            drop((user, allowed));
            held.extend((0..networks).filter_map(|n| attack(n).ok()));
        }
    }
}

#[test]
fn networks_from_which_users_log_in_and_clients_of_allow_come_before_strangers_from_everywhere() {
    let (counts, now) = (Arc::new(ConnectionCounts::default()), clock::instant());
    counts.take(&name("app"), ip(7000), true, WIDE, now).ok().unwrap().known();
    let _strangers = fill(&counts, "app", true, now);
    assert!(counts.take(&name("app"), ip(7001), true, WIDE, now).is_err(), "all are new");
    assert!(counts.take(&name("app"), ip(7000), true, WIDE, now).is_ok());
    let clients = fill(&counts, "app", false, now);
    assert!(clients.len() >= 900, "strangers make room: {}", clients.len());
}

/// 1,400 networks with a connection each, which say nothing of use and come back at once, and users from networks that nobody has seen.
#[test]
fn many_networks_with_a_connection_each_keep_nobody_out_for_longer_than_a_few_seconds() {
    let (counts, begun) = (Arc::new(ConnectionCounts::default()), clock::instant());
    let mut held: HashMap<u32, ConnectionSlot> = HashMap::new();
    let (mut refused, mut users) = (Vec::new(), Vec::new());
    for tenth in 0_u32..100 {
        let now = begun + Duration::from_millis(100 * u64::from(tenth));
        held.retain(|_, slot| !futures_ready(slot.told_to_leave()));
        for n in 0..1400 {
            if let (false, Ok(slot)) = (held.contains_key(&n), counts.take(&name("app"), ip(n), true, WIDE, now)) {
                held.insert(n, slot);
            }
        }
        match counts.take(&name("app"), ip(10_000 + tenth), true, WIDE, now) {
            Ok(slot) => users.push((tenth, slot)),
            Err(_) => refused.push(tenth),
        }
        // They log in over a bad line.
        users.retain_mut(|(since, slot)| {
            assert!(!futures_ready(slot.told_to_leave()), "the user of {since} was told to leave at {tenth}");
            let done = tenth - *since >= 20;
            done.then(|| slot.known());
            !done
        });
    }
    assert!(refused.iter().all(|tenth| *tenth < 40), "{refused:?}");
    assert!(held.len() > 500, "places that nobody needs are theirs: {}", held.len());
}

#[test]
fn shares_become_even_and_then_nobody_is_told_to_leave() {
    let (counts, now) = (Arc::new(ConnectionCounts::default()), clock::instant());
    let take = |n: u32| counts.take(&name("app"), ip(n), true, WIDE, now);
    let _many: Vec<_> = (0..200).map_while(|_| take(0).ok()).collect();
    let _others: Vec<_> = (1..2000).filter_map(|n| take(n % 10).ok()).collect();
    let sizes = || counts.lock().networks.values().copied().collect::<Vec<_>>();
    assert!(sizes().iter().all(|n| (89..=91).contains(n)), "{:?}", sizes());
    assert!((0..10).all(|n| take(n).is_err()));
}

fn futures_ready(told: impl Future<Output = ()>) -> bool {
    std::pin::pin!(told).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
}
