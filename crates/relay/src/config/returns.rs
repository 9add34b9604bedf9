//! `[returns]`: returned mail, where it arrives, and how far it is trusted.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use posthaste_mail::{Address, Domain, Name};

use super::{
    Auth, Config, Listener, NextHop, Place, Role, Stream,
    reader::{Item, Parsed, Table, fault},
    route::next_hop,
    value::{duration, from_text, line, list, one_of, path, string, zero_is_none},
};
use crate::{
    returns::{Believe, REMEMBERED},
    verp::{Secret, Verp},
};

/// How returned mail is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returns {
    /// The domain of reverse-paths, for streams that name none; None: applications' reverse-paths are kept.
    pub domain: Option<Domain>,
    /// The part before the '+' in a reverse-path.
    pub prefix: String,
    /// How long after acceptance a reverse-path is valid.
    pub good_for: Duration,
    /// Other addresses whose mail is read.
    pub addresses: Vec<Address>,
    /// Which reports may suppress an address.
    pub trust: Believe,
    /// How far back the log is searched for a Message-ID.
    pub look_back: Option<Duration>,
    /// How often mailboxes are read.
    pub read_every: Duration,
    /// Mailboxes that are read.
    pub mailboxes: Vec<(Name, Mailbox)>,
}

/// A mailbox that is read for returned mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mailbox {
    /// A Maildir.
    Maildir(PathBuf),
    /// A file in mbox format (RFC 4155).
    Mbox(PathBuf),
    /// IMAP over TLS (RFC 8314 §3.2).
    Imap(Imap),
}

/// A folder at an IMAP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imap {
    /// The server.
    pub server: NextHop,
    /// The user.
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
            // A report that is no longer remembered must not be valid any more, or it would count twice.
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
            let message = format!("must be longer than stream.{name} is tried (expire), or late bounces would be refused");
            root.object_at(&["returns", "good_for"], message);
        }
        for (name, _) in listeners.iter().filter(|(_, l)| l.role == Role::Returns) {
            if bouncing.is_empty() && self.addresses.is_empty() {
                let message = "no mail could be accepted here: give returns.domain, a stream's bounce_domain, or returns.addresses";
                root.object_at(&["listen", name.as_str(), "role"], message.into());
            }
        }
    }

    /// The domain that a stream's mail is returned to.
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
            t.object_to(&kinds, "a mailbox needs exactly one of maildir, mbox and imap");
            return None;
        }
        if t.has("imap") && !t.has("user") && !t.has("password_file") {
            t.object("imap", "reading by IMAP needs a user and a password_file");
        }
        let only_imap = ["user", "password_file", "folder"].into_iter().find(|key| t.has(key) && !t.has("imap"));
        if let Some(key) = only_imap {
            t.object(key, "only a mailbox with imap has this key");
        }
        let imap = || Some(Self::Imap(Imap { server: server?, auth: auth?, folder }));
        maildir.map(Self::Maildir).or(mbox.map(Self::Mbox)).or_else(imap)
    }
}

/// RFC 8314 §3.2.
const IMAPS: u16 = 993;

impl Config {
    /// The domains that mail is returned to, without duplicates.
    pub fn bounce_domains(&self) -> Vec<&Domain> {
        let mut domains: Vec<_> = self.streams.values().filter_map(|s| self.returns.domain_of(s)).collect();
        domains.sort();
        domains.dedup();
        domains
    }
}

/// A domain that is short enough for a reverse-path in it.
pub(super) fn bounce_domain(item: Item<'_>) -> Parsed<Domain> {
    let domain = from_text::<Domain>(item)?;
    Verp::new(&[SOME], domain.clone(), "b").map(|_| domain).or_else(|why| fault(item, why.to_string()))
}

fn prefix(item: Item<'_>) -> Parsed<String> {
    let text = string(item)?;
    let domain = Domain::new("bounce.invalid").expect("a reserved name (RFC 2606 §2)");
    Verp::new(&[SOME], domain, text).map(|_| text.to_owned()).or_else(|why| fault(item, why.to_string()))
}

/// A placeholder for the secret, for checks of the format alone.
const SOME: Secret = Secret::new([0; 32]);
