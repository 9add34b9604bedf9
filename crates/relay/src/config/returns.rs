//! `[returns]`: mail that comes back, where to, and how far it is believed.

use std::{collections::BTreeMap, time::Duration};

use posthaste_mail::{Address, Domain, Name};

use super::{
    Config, Listener, Role, Stream,
    reader::{Item, Parsed, Table, fault},
    value::{duration, from_text, list, one_of, string, zero_is_none},
};
use crate::{
    returns::{Believe, REMEMBERED},
    verp::{Secret, Verp},
};

/// What is done about returning mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returns {
    /// The domain of reverse-paths, for streams that name none; None: those are the applications' own.
    pub domain: Option<Domain>,
    /// What stands before the '+' in a reverse-path.
    pub prefix: String,
    /// How long after acceptance a reverse-path is believed.
    pub good_for: Duration,
    /// Other addresses whose mail is read.
    pub addresses: Vec<Address>,
    /// What may suppress.
    pub trust: Believe,
    /// How far back a Message-ID is sought.
    pub look_back: Option<Duration>,
}

impl Returns {
    pub(super) fn read(t: &Table<'_>) -> Self {
        let days = |n: u64| Duration::from_hours(24 * n);
        Self {
            domain: t.given("domain", bounce_domain),
            prefix: t.get("prefix", prefix),
            // What is remembered no longer must not be believed any more, or it would count twice.
            good_for: t.get("good_for", duration(days(1)..=REMEMBERED)),
            addresses: t.get("addresses", list(from_text::<Address>)),
            trust: t.get("trust", one_of(&[("verp", Believe::Verp), ("hints", Believe::Hints)])),
            look_back: t.get("look_back", zero_is_none(duration(Duration::from_secs(60)..=days(60)))),
        }
    }

    pub(super) fn hold_together(&self, root: &Table<'_>, streams: &BTreeMap<Name, Stream>, listeners: &BTreeMap<Name, Listener>) {
        let bouncing: Vec<_> = streams.iter().filter(|(_, s)| self.domain_of(s).is_some()).collect();
        if let Some((name, _)) = bouncing.iter().find(|(_, s)| s.retry.expire >= self.good_for) {
            let message = format!("must be longer than stream.{name} is tried (expire), or what comes back late could not be believed");
            root.object_at(&["returns", "good_for"], message);
        }
        for (name, _) in listeners.iter().filter(|(_, l)| l.role == Role::Returns) {
            if bouncing.is_empty() && self.addresses.is_empty() {
                let message = "nothing could come back here: give returns.domain, a stream's bounce_domain, or returns.addresses";
                root.object_at(&["listen", name.as_str(), "role"], message.into());
            }
        }
    }

    /// Where a stream's mail comes back to.
    pub fn domain_of<'a>(&'a self, stream: &'a Stream) -> Option<&'a Domain> {
        stream.bounce_domain.as_ref().map_or(self.domain.as_ref(), Option::as_ref)
    }
}

impl Config {
    /// The domains that mail comes back to, each once.
    pub fn bounce_domains(&self) -> Vec<&Domain> {
        let mut domains: Vec<_> = self.streams.values().filter_map(|s| self.returns.domain_of(s)).collect();
        domains.sort();
        domains.dedup();
        domains
    }
}

/// A domain that leaves room for a reverse-path.
pub(super) fn bounce_domain(item: Item<'_>) -> Parsed<Domain> {
    let domain = from_text::<Domain>(item)?;
    Verp::new(&[SOME], domain.clone(), "b").map(|_| domain).or_else(|why| fault(item, why.to_string()))
}

fn prefix(item: Item<'_>) -> Parsed<String> {
    let text = string(item)?;
    let domain = Domain::new("bounce.invalid").expect("a reserved name (RFC 2606 §2)");
    Verp::new(&[SOME], domain, text).map(|_| text.to_owned()).or_else(|why| fault(item, why.to_string()))
}

/// Stands for the true secret where only the form is looked at.
const SOME: Secret = Secret::new([0; 32]);
