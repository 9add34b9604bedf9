//! Announces a message that is in the spool to the log and to the queue.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_host::clock;
use posthaste_journal::{Journal, PendingToken, Ticket};
use posthaste_mail::{Hold, What};
use posthaste_message::{Message, MessageRecord, Progress, SavedRecipient};
use posthaste_queue::{Arrival, Deadline, PutOff};

/// When a message's `accepted` lines are written to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// When the message is accepted.
    Now,
    /// At a later start, because the relay crashed after it wrote the spool and before it wrote the log.
    Late,
}

/// The arrival of a stored message, as the dispatcher needs it.
pub fn arrival(record: &MessageRecord, seq: u64, warm: Option<Arc<Message>>) -> Arrival {
    // A message held until a given time (FUTURERELEASE) is due at that time, and its age counts from it.
    let held = record.held_until();
    let due = |rcpt, until: Timestamp| SavedRecipient(rcpt, 0, until.as_millisecond(), record.guarded.is_some());
    let all = || (0..).zip(&record.envelope.recipients).map(|(rcpt, _)| rcpt);
    let late = record.late_at().map(|at| Deadline { at, returns: false });
    Arrival {
        seq,
        id: record.id,
        arrived: held.unwrap_or(record.arrived),
        put_off: record.envelope.parameters.hold.filter(|_| held.is_some()).map(|hold| match hold {
            Hold::For(_) => PutOff::For,
            Hold::Until(_) => PutOff::Until,
        }),
        stream: record.stream.clone(),
        user: record.user.clone(),
        priority: record.priority(),
        deliver_by: record.returned_at().map(|at| Deadline { at, returns: true }).or(late),
        size: record.size,
        domains: record.envelope.recipients.iter().map(posthaste_mail::Address::to_domain).collect(),
        progress: held.map(|until| Progress::of(all().map(|rcpt| due(rcpt, until)).collect())),
        guarded: record.guarded.clone(),
        warm,
    }
}

/// Appends the `accepted` lines of the recipients for which `missing` returns true, and the `held` lines of what the guard holds, as one unit: no
/// checkpoint falls between them.
pub fn announce(journal: &Journal, message: &Message, seq: u64, token: PendingToken, when: Announced, missing: impl Fn(&str) -> bool) {
    let recovered = when == Announced::Late;
    let record = &message.record;
    let wanted = || (0..).zip(&record.envelope.recipients).filter(|(_, r)| missing(r.as_str()));
    let now = if recovered { clock::now() } else { record.arrived };
    let accepted = wanted().map(|(rcpt, _)| What::Accepted {
        about: message.about(rcpt, record.arrived),
        client_ip: record.client_ip,
        client_ehlo: record.client_ehlo.clone(),
        priority: record.priority(),
        spool_seq: seq,
        notice_of: record.notice_of,
        recovered,
    });
    let held = record.guarded.iter().flat_map(|why| {
        wanted().map(|(rcpt, _)| What::Held {
            about: message.about(rcpt, record.arrived),
            reason: "guard".into(),
            until: None,
            detail: Some(why.clone()),
            budget: None,
        })
    });
    journal.append_all(now, accepted.chain(held), Some(Ticket::Accepted(seq, token)));
}
