//! Counts and limits concurrent connections: in total, per listener and per client address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use posthaste_access::bans::subject;
use posthaste_mail::Name;
use posthaste_smtp::server::{Answer, Refused};

/// The numbers of open connections.
#[derive(Default)]
pub(super) struct ConnectionCounts(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    all: usize,
    listeners: HashMap<Name, Listener>,
}

#[derive(Default)]
struct Listener {
    all: usize,
    clients: HashMap<IpAddr, usize>,
}

/// One counted connection; the counts decrease when it is dropped.
pub(super) struct ConnectionSlot {
    of: Arc<ConnectionCounts>,
    listener: Name,
    client: IpAddr,
}

impl ConnectionCounts {
    /// Counts a connection from `ip`, or refuses it if a limit is reached.
    pub(super) fn take(
        self: &Arc<Self>,
        listener: &Name,
        ip: IpAddr,
        max: usize,
        max_per_ip: usize,
        max_total: usize,
    ) -> Result<ConnectionSlot, Refused> {
        let too_many = |who: &str| {
            Refused::new(Answer::new(421, 7, 0, format!("too many connections {who}, try again later")), "too_many_connections")
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (total, client) = (counts.all, subject(ip));
        let here = counts.listeners.entry(listener.clone()).or_default();
        if here.clients.get(&client).is_some_and(|n| *n >= max_per_ip) {
            return Err(too_many("from your address"));
        }
        if here.all >= max || total >= max_total {
            return Err(too_many("here"));
        }
        here.all += 1;
        *here.clients.entry(client).or_default() += 1;
        counts.all += 1;
        Ok(ConnectionSlot { of: self.clone(), listener: listener.clone(), client })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        let Some(here) = counts.listeners.get_mut(&self.listener) else { return };
        here.all -= 1;
        if let Some(n) = here.clients.get_mut(&self.client) {
            *n -= 1;
            if *n == 0 {
                here.clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_all_by_listener_and_by_client_and_given_back() {
        let connections = Arc::new(ConnectionCounts::default());
        let name = |text: &str| Name::new(text).unwrap();
        let take = |listener: &str, ip: &str| connections.take(&name(listener), ip.parse().unwrap(), 3, 2, 4);
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
        let connections = Arc::new(ConnectionCounts::default());
        let take = |ip: &str| connections.take(&Name::new("a").unwrap(), ip.parse().unwrap(), 9, 1, 9);
        let _one = take("2001:db8::1").ok();
        assert!(take("2001:db8::2").is_err() && take("2001:db8:0:1::1").is_ok());
    }
}
