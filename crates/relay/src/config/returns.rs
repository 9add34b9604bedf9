//! `[returns]`: mail that comes back, where to, and how far it is believed.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use posthaste_mail::{Address, Domain, Name};
use posthaste_verp::{Secret, Verp};

use super::{
    Auth, Config, Listener, NextHop, Place, Role, Stream,
    reader::{Item, Parsed, Table, fault},
    route::next_hop,
    value::{duration, from_text, line, list, one_of, path, string, zero_is_none},
};
use crate::returns::{Believe, REMEMBERED};

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
    /// How often mailboxes are read.
    pub read_every: Duration,
    /// Mailboxes that are read.
    pub mailboxes: Vec<(Name, Mailbox)>,
}

/// A mailbox that is read for what comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailbox {
    /// A Maildir.
    Maildir(PathBuf),
    /// A file in mbox form (RFC 4155).
    Mbox(PathBuf),
    /// IMAP over TLS (RFC 8314 §3.2).
    Imap(Imap),
}

/// A folder at an IMAP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imap {
    /// The server.
    pub server: NextHop,
    /// Who reads.
    pub auth: Auth,
    /// The folder.
    pub folder: String,
}

impl Returns {
    pub(super) fn read(t: &Table<'_>, place: &Place<'_>) -> Self {
        let days = |n: u64| Duration::from_hours(24 * n);
        Self {
            domain: t.given("domain", bounce_domain),
            prefix: t.get("prefix", prefix),
            // What is remembered no longer must not be believed any more, or it would count twice.
            good_for: t.get("good_for", duration(days(1)..=REMEMBERED)),
            addresses: t.get("addresses", list(from_text::<Address>)),
            trust: t.get("trust", one_of(&[("verp", Believe::Verp), ("hints", Believe::Hints)])),
            look_back: t.get("look_back", zero_is_none(duration(Duration::from_secs(60)..=days(60)))),
            read_every: t.get("read_every", duration(Duration::from_secs(1)..=days(1))),
            mailboxes: t.table("mailbox", |t| {
                let name = |word: &str| Name::new(word).map_err(|e| e.to_string());
                t.entries(name, |t, word| t.entry(word, |t| Mailbox::read(t, place)))
            }),
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

impl Mailbox {
    fn read(t: &Table<'_>, place: &Place<'_>) -> Option<Self> {
        let file = |item: Item<'_>| path(item).map(|p| place.path(&p.to_string_lossy()));
        let (maildir, mbox) = (t.given("maildir", file), t.given("mbox", file));
        let server = t.given("imap", |item| next_hop(item, IMAPS));
        let (auth, folder) = (Auth::read(t, place), t.given("folder", line(255)).unwrap_or_else(|| "INBOX".into()));
        let kinds = ["maildir", "mbox", "imap"];
        if kinds.iter().filter(|kind| t.has(kind)).count() != 1 {
            t.object_to(&kinds, "a mailbox is one of maildir, mbox and imap");
            return None;
        }
        if t.has("imap") && !t.has("user") && !t.has("password_file") {
            t.object("imap", "nobody may read there without a user and a password_file");
        }
        let only_imap = ["user", "password_file", "folder"].into_iter().find(|key| t.has(key) && !t.has("imap"));
        if let Some(key) = only_imap {
            t.object(key, "only imap has this");
        }
        let imap = || Some(Self::Imap(Imap { server: server?, auth: auth?, folder }));
        maildir.map(Self::Maildir).or(mbox.map(Self::Mbox)).or_else(imap)
    }
}

/// RFC 8314 §3.2.
const IMAPS: u16 = 993;

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
