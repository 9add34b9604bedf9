//! What log and queue are told of a message that is in the spool.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_host::clock;
use posthaste_journal::{Journal, Ticket, PendingToken};
use posthaste_mail::What;
use posthaste_message::{Message, MessageRecord, Progress, SavedRecipient};
use posthaste_queue::{Arrival, Deadline};

/// When a message's `accepted` lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// When it was accepted.
    Now,
    /// At a later start: a crash fell between spool and log.
    Late,
}

/// What the dispatcher is told of a message in the spool.
pub fn arrival(meta: &MessageRecord, seq: u64, warm: Option<Arc<Message>>) -> Arrival {
    // A message that waits for its time counts its age from then, and is due then.
    let held = meta.held_until();
    let due = |rcpt, until: Timestamp| SavedRecipient(rcpt, 0, until.as_millisecond(), false);
    let all = || (0..).zip(&meta.envelope.recipients).map(|(rcpt, _)| rcpt);
    let late = meta.late_at().map(|at| Deadline { at, returns: false });
    Arrival {
        seq,
        id: meta.id,
        arrived: held.unwrap_or(meta.arrived),
        stream: meta.stream.clone(),
        priority: meta.priority(),
        deliver_by: meta.returned_at().map(|at| Deadline { at, returns: true }).or(late),
        size: meta.size,
        domains: meta.envelope.recipients.iter().map(posthaste_mail::Address::to_domain).collect(),
        progress: held.map(|until| Progress { owed: all().map(|rcpt| due(rcpt, until)).collect(), told_late: false }),
        warm,
    }
}

/// Appends the `accepted` lines of those recipients that `missing` says yes to, as one: no checkpoint falls between them.
pub fn announce(journal: &Journal, letter: &Message, seq: u64, token: PendingToken, when: Announced, missing: impl Fn(&str) -> bool) {
    let recovered = when == Announced::Late;
    let meta = &letter.meta;
    let wanted = (0..).zip(&meta.envelope.recipients).filter(|(_, r)| missing(r.as_str()));
    let now = if recovered { clock::now() } else { meta.arrived };
    let lines = wanted.map(|(rcpt, _)| What::Accepted {
        about: letter.about(rcpt, meta.arrived),
        client_ip: meta.client_ip,
        client_ehlo: meta.client_ehlo.clone(),
        user: meta.user.clone(),
        priority: meta.priority(),
        spool_seq: seq,
        notice_of: meta.notice_of,
        recovered,
    });
    journal.append_all(now, lines, Some(Ticket::Accepted(seq, token)));
}
