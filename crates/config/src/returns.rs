//! `[returns]`: returned mail, where it arrives, and how far it is trusted.

use std::{collections::BTreeMap, time::Duration};

use posthaste_mail::{Address, Domain, Name};
use posthaste_returns::{Believe, REMEMBERED};
use posthaste_returns::{Imap, Mailbox, Returns};
use posthaste_submission::{Listener, Role};
use posthaste_verp::{Verp, VerpSecret};

use super::{
    environment::Environment,
    reader::{Item, Parsed, Table, fault},
    reference,
    route::{self, next_hop},
    stream::Stream,
    value::{duration, line, list, mail_address, number, one_of, path, string, zero_is_none},
};

pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> Returns {
    let days = |n: u64| Duration::from_hours(24 * n);
    Returns {
        domain: t.given("domain", reference::bounce_domain),
        prefix: t.get("prefix", prefix),
        // A report that is no longer remembered must not be valid any more, or it would count twice.
        good_for: t.get("good_for", duration(days(1)..=REMEMBERED)),
        addresses: t.get("addresses", list(mail_address)),
        trust: t.get("trust", one_of(&[("verp", Believe::Verp), ("hints", Believe::Hints)])),
        look_back: t.get("look_back", zero_is_none(duration(Duration::from_secs(60)..=days(60)))),
        forwards_per_hour: t.get("forwards_per_hour", number(1..=100_000)),
        read_every: t.get("read_every", duration(Duration::from_secs(1)..=days(1))),
        mailboxes: t.table("mailbox", |t| {
            let name = |word: &str| Name::new(word).map_err(|e| e.to_string());
            t.entries(name, |t, word| t.entry(word, |t| mailbox(t, environment)))
        }),
    }
}

pub(super) fn hold_together(returns: &Returns, root: &Table<'_>, streams: &BTreeMap<Name, Stream>, listeners: &BTreeMap<Name, Listener>) {
    let bouncing: Vec<_> = streams.iter().filter(|(_, s)| bounce_domain_of(returns, s).is_some()).collect();
    if let Some((name, _)) = bouncing.iter().find(|(_, s)| s.retry.expire >= returns.good_for) {
        let message = format!("must be longer than stream.{name} is tried (expire), or late bounces would be refused");
        root.object_at(&["returns", "good_for"], message);
    }
    for (name, _) in listeners.iter().filter(|(_, l)| l.role == Role::Returns) {
        if bouncing.is_empty() && returns.addresses.is_empty() {
            let message = "no mail could be accepted here: give returns.domain, a stream's bounce_domain, or returns.addresses";
            root.object_at(&["listen", name.as_str(), "role"], message.into());
        }
    }
}

/// What is passed on to the postmaster must not come back to be passed on.
pub(super) fn leads_elsewhere(returns: &Returns, root: &Table<'_>, streams: &BTreeMap<Name, Stream>, postmaster: Option<&Address>) {
    let Some(postmaster) = postmaster else { return };
    let is_bounce_domain =
        streams.values().filter_map(|s| bounce_domain_of(returns, s)).any(|domain| domain.as_str() == postmaster.domain());
    if is_bounce_domain || returns.addresses.iter().any(|address| address.folded() == postmaster.folded()) {
        root.object_at(&["postmaster"], "mail to this address returns to this relay: give an address that people read elsewhere".into());
    }
}

/// The bounce domain of a stream's mail; None where reverse-paths are the application's own.
pub fn bounce_domain_of<'a>(returns: &'a Returns, stream: &'a Stream) -> Option<&'a Domain> {
    stream.bounce_domain.as_ref().map_or(returns.domain.as_ref(), Option::as_ref)
}

fn mailbox(t: &Table<'_>, environment: &Environment<'_>) -> Option<Mailbox> {
    let file = |item: Item<'_>| path(item).map(|p| environment.path(&p.to_string_lossy()));
    let (maildir, mbox) = (t.given("maildir", file), t.given("mbox", file));
    let server = t.given("imap", |item| next_hop(item, IMAPS));
    let (auth, folder) = (route::login(t, environment), t.given("folder", line(255)).unwrap_or_else(|| "INBOX".into()));
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
    let imap = || Some(Mailbox::Imap(Imap { server: server?, auth: auth?, folder }));
    maildir.map(Mailbox::Maildir).or(mbox.map(Mailbox::Mbox)).or_else(imap)
}

/// RFC 8314 §3.2.
const IMAPS: u16 = 993;

fn prefix(item: Item<'_>) -> Parsed<String> {
    let text = string(item)?;
    let domain = Domain::new("bounce.invalid").expect("a reserved name (RFC 2606 §2)");
    Verp::new(&[SOME], domain, text).map(|_| text.to_owned()).or_else(|why| fault(item, why.to_string()))
}

/// A placeholder for the secret, for checks of the format alone.
const SOME: VerpSecret = VerpSecret::new([0; 32]);
