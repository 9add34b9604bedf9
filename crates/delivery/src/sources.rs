//! Which sources' addresses are on this host. All are checked every few seconds, and one at once when its bind fails.
//!
//! An address may leave a running host: a failover moves it, an interface goes down, a cloud provider takes it back. The dispatcher then
//! leaves the source out while the pool's others go on, and uses it again as soon as the address is back.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use posthaste_host::{Host, InForce, ThisHost};
use posthaste_journal::{Finding, Journal, Part, State};
use posthaste_mail::Name;
use posthaste_queue::QueueHandle;
use tokio::sync::Mutex;

use crate::settings::{Settings, Source};

/// How often every source is checked by a bind to its address, which costs microseconds.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Which sources are not on this host.
#[derive(Debug, Default)]
struct Presence {
    gone: HashSet<Name>,
}

/// A source's address went or came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    source: Name,
    address: IpAddr,
    /// True if it came back, false if it went.
    back: bool,
}

impl Presence {
    /// Checks these of the configured sources against the host, and returns what changed. A source that is no longer configured, or that
    /// lets the kernel choose its address, does not count as gone.
    fn look<'s>(
        &mut self,
        configured: &BTreeMap<Name, Source>,
        which: impl IntoIterator<Item = &'s Name>,
        has: impl Fn(IpAddr) -> bool,
    ) -> Vec<Change> {
        let address = |name: &Name| configured.get(name).and_then(|source| source.address);
        self.gone.retain(|name| address(name).is_some());
        let mut changes = Vec::new();
        for source in which {
            let Some(ip) = address(source) else { continue };
            let here = has(ip);
            let changed = if here { self.gone.remove(source) } else { self.gone.insert(source.clone()) };
            if changed {
                changes.push(Change { source: source.clone(), address: ip, back: here });
            }
        }
        changes
    }
}

/// Checks the sources, and reports changes to the log and the dispatcher.
pub struct Watch {
    /// The known state, and the sources that the dispatcher was last told to be gone.
    presence: Mutex<(Presence, HashSet<Name>)>,
    settings: InForce<Settings>,
    journal: Journal,
    queue: QueueHandle,
}

impl Watch {
    /// Begins with all sources on this host: a configuration with others is refused.
    pub fn new(settings: InForce<Settings>, journal: Journal, queue: QueueHandle) -> Self {
        Self { presence: Mutex::default(), settings, journal, queue }
    }

    /// Checks all sources for as long as the relay runs.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let settings = self.settings.get();
            self.look(&settings, settings.sources.keys()).await;
        }
    }

    /// The sources whose addresses are not on this host, as the last look found.
    pub async fn gone(&self) -> HashSet<Name> {
        self.presence.lock().await.0.gone.clone()
    }

    /// Checks a source whose bind failed. If it is gone, the dispatcher has been told so when this returns.
    pub(crate) async fn look_at(&self, source: &Name) {
        let settings = self.settings.get();
        self.look(&settings, [source]).await;
    }

    async fn look<'s>(&self, settings: &Settings, which: impl IntoIterator<Item = &'s Name>) {
        // Held until the dispatcher is told, so that it hears of changes in their order.
        let mut presence = self.presence.lock().await;
        let (presence, reported) = &mut *presence;
        for change in presence.look(&settings.sources, which, |ip| ThisHost.has(ip)) {
            self.say(&change);
        }
        if presence.gone != *reported {
            reported.clone_from(&presence.gone);
            self.queue.sources_gone(reported.clone()).await;
        }
    }

    fn say(&self, change: &Change) {
        let Change { source, address, back } = change;
        if *back {
            self.journal.mended_silently("source_gone", source.as_str());
            return self.journal.say(
                Part::Sources,
                State::SourceBack,
                format!("{source}: {address} is on this host again; mail leaves from it"),
            );
        }
        let what = format!("{source}: {address} is no longer on this host; nothing leaves from it until it is");
        let remedy = "Give the address back to this host, or take the source out of its pool".into();
        let (rule, key, part) = ("source_gone", source.to_string(), Some(Part::Sources));
        self.journal.raise_as(State::SourceGone, Finding { rule, key, part, what, remedy });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn configured(sources: &[(&str, Option<&str>)]) -> BTreeMap<Name, Source> {
        let source = |ip: Option<&str>| Source { address: ip.map(|ip| ip.parse().unwrap()), ehlo: "mx.example.org".parse().unwrap() };
        sources.iter().map(|(text, ip)| (name(text), source(*ip))).collect()
    }

    #[test]
    fn each_address_that_goes_or_comes_back_is_reported_once() {
        let sources = configured(&[("default", None), ("a", Some("192.0.2.1")), ("b", Some("192.0.2.2"))]);
        let (a, b): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut presence = Presence::default();
        let change = |source: &str, address, back| Change { source: name(source), address, back };
        assert_eq!(presence.look(&sources, sources.keys(), |_| true), []);
        assert_eq!(presence.look(&sources, sources.keys(), |ip| ip != a), [change("a", a, false)]);
        assert_eq!(presence.look(&sources, sources.keys(), |ip| ip != a), []);
        assert_eq!(presence.gone, HashSet::from([name("a")]));
        assert_eq!(presence.look(&sources, sources.keys(), |ip| ip != b), [change("a", a, true), change("b", b, false)]);
        assert_eq!(presence.gone, HashSet::from([name("b")]));
    }

    #[test]
    fn one_alone_can_be_looked_at_and_the_others_stay_as_they_are() {
        let sources = configured(&[("a", Some("192.0.2.1")), ("b", Some("192.0.2.2"))]);
        let mut presence = Presence::default();
        presence.look(&sources, sources.keys(), |_| false);
        assert_eq!(presence.look(&sources, [&name("a")], |_| true).len(), 1);
        assert_eq!(presence.gone, HashSet::from([name("b")]));
        assert_eq!(presence.look(&sources, [&name("nobody")], |_| false), []);
    }

    #[test]
    fn a_source_that_is_no_longer_configured_is_not_gone() {
        let before = configured(&[("a", Some("192.0.2.1")), ("b", Some("192.0.2.2"))]);
        let mut presence = Presence::default();
        presence.look(&before, before.keys(), |_| false);
        let after = configured(&[("default", None), ("b", Some("192.0.2.2"))]);
        assert_eq!(presence.look(&after, after.keys(), |_| false), []);
        assert_eq!(presence.gone, HashSet::from([name("b")]));
    }
}
