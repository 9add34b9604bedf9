//! `-bp`, `mailq` and `-q`: the queue as sendmail's users and scripts (check_mailq) expect to see it.

use std::io::{self, Write};

use jiff::Timestamp;
use posthaste_host::{clock, letterbox};
use posthaste_mail::{Foreign, MessageId, in_one_line};
use posthaste_queue::{MessageSelection, QueueChange};
use posthaste_relay::{
    admin::{self, AskError, Changed, List, Listed, Request},
    why,
};

use super::{failure::Failure, options::Flush, site::Site};
use crate::{commands::operator, screen};

/// Messages that are listed, at most.
const LISTED: usize = 10_000;
/// Letters in the maildrop that are counted, at most.
const COUNTED: usize = 100_000;

/// Lists what waits, in the form of Postfix.
pub(super) fn show(site: &Site) -> Result<(), Failure> {
    let list: List = ask(site, &Request::List { selection: MessageSelection::default(), limit: LISTED })?;
    write(&mut screen::out(), &list, kept(site)).map_err(|error| Failure::Later(error.to_string()))
}

/// Has the relay try what waits.
pub(super) fn flush(site: &Site, which: &Flush) -> Result<(), Failure> {
    let mut selection = MessageSelection::default();
    match which {
        Flush::All => {}
        Flush::Id(id) => selection.id = Some(id.parse::<MessageId>().map_err(|error| Failure::Usage(error.to_string()))?),
        Flush::Domain(domain) => selection.domain = Some(domain.clone()),
    }
    ask::<Changed>(site, &Request::Change(QueueChange::Retry { selection, scheduled: false, by: operator() })).map(drop)
}

fn ask<T: serde::de::DeserializeOwned>(site: &Site, request: &Request) -> Result<T, Failure> {
    admin::ask(&site.socket, request).map_err(|error| match error {
        AskError::NotAllowed(_) => Failure::NotAllowed(format!(
            "the queue is for root and the relay's group (admin.mode), and you are neither: your own mail is on its way, or comes back to you; \
             {}: permission denied",
            site.socket.display()
        )),
        error => {
            let kept = kept(site);
            let waits = if kept == 0 { String::new() } else { format!("; {kept} in the maildrop until it is back") };
            Failure::Unavailable(format!("asking the relay at {}: {error}{waits}", site.socket.display()))
        }
    })
}

/// The letters that wait in the maildrop; 0 for callers who may not list it.
fn kept(site: &Site) -> usize {
    site.maildrop.as_deref().and_then(|dir| letterbox::count(dir, COUNTED).ok()).unwrap_or(0)
}

fn write(out: &mut impl Write, list: &List, kept: usize) -> io::Result<()> {
    if list.total + kept == 0 {
        return writeln!(out, "Mail queue is empty");
    }
    writeln!(out, "-Queue ID-                  --Size-- ----Arrival Time---- -Sender/Recipient-------")?;
    let now = clock::now();
    for message in &list.messages {
        row(out, message, now)?;
    }
    if list.total > list.messages.len() {
        writeln!(out, "and {} more: posthaste queue list", list.total - list.messages.len())?;
    }
    if kept > 0 {
        writeln!(out, "{kept} in the maildrop, until the relay takes them")?;
    }
    let bytes: u64 = list.messages.iter().map(|message| u64::from(message.row.size)).sum();
    let total = list.total + kept;
    writeln!(out, "-- {} Kbytes in {total} Request{}.", bytes.div_ceil(1024), if total == 1 { "" } else { "s" })
}

/// The most characters of an answer.
const SAID_MAX: usize = 300;

fn row(out: &mut impl Write, message: &Listed, now: Timestamp) -> io::Result<()> {
    let sender = if message.from.is_empty() { "MAILER-DAEMON" } else { &message.from };
    let arrived = message.row.arrived.min(now).strftime("%a %b %e %H:%M:%S");
    writeln!(out, "{:<27} {:>8} {arrived}  {sender}", message.row.id.to_string(), message.row.size)?;
    for (at, recipient) in message.addresses.iter().enumerate() {
        // As in Postfix's list, what a recipient waits for stands in brackets above it.
        if let Some(standing) = message.row.standing.get(at) {
            writeln!(out, "  ({})", why::stands(standing, now))?;
        }
        let said = message.answers.get(at).and_then(Option::as_ref).and_then(|told| told.said.as_ref());
        if let Some(said) = said {
            writeln!(out, "  (last answer: {})", Foreign::new(&in_one_line(said, SAID_MAX)))?;
        }
        writeln!(out, "{:>58} {recipient}", "")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_says_so_and_scripts_find_the_number_of_requests() {
        let written = |list: &List, kept| {
            let mut out = Vec::new();
            write(&mut out, list, kept).unwrap();
            String::from_utf8(out).unwrap()
        };
        let none = List { total: 0, messages: Vec::new() };
        assert_eq!(written(&none, 0), "Mail queue is empty\n");
        assert!(written(&none, 1).ends_with("1 in the maildrop, until the relay takes them\n-- 0 Kbytes in 1 Request.\n"));
        assert!(written(&List { total: 3, messages: Vec::new() }, 0).ends_with("-- 0 Kbytes in 3 Requests.\n"));
    }
}
