//! What the guard holds: how much of whose mail, and how it ends.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use posthaste_mail::Name;

use crate::{
    backlog::{
        Backlog,
        table::{Phase, Seq},
    },
    mail_of::MailOf,
};

/// The mail of one user in one stream that the guard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedRow {
    /// The user; None: clients that had not logged in.
    pub user: Option<Arc<str>>,
    /// The stream.
    pub stream: Name,
    /// Messages.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
    /// Their size as stored.
    pub bytes: u64,
    /// When the oldest was accepted.
    pub oldest: Timestamp,
}

/// The end of what the guard holds.
#[derive(Clone, Debug)]
pub struct GuardChange {
    /// Of whom; None: of everybody.
    pub of: Option<MailOf>,
    /// But not what is held because of these too.
    pub except: Vec<MailOf>,
    /// Only what was accepted before this time.
    pub before: Option<Timestamp>,
    /// How.
    pub end: GuardEnd,
}

/// How mail that the guard holds is held no longer.
#[derive(Clone, Debug)]
pub enum GuardEnd {
    /// It goes out.
    Released {
        /// Who wants it, for the log.
        by: Arc<str>,
    },
    /// It is removed, and nobody is notified.
    Dropped {
        /// Who wants it, for the log.
        by: Arc<str>,
        /// Why, for the log.
        reason: Arc<str>,
    },
    /// It has been held for too long: its senders are notified.
    Expired {
        /// For how long, in words.
        detail: String,
    },
}

/// What the guard holds, by user and stream. Looks at what it holds, and at nothing else.
pub(crate) fn rows(backlog: &Backlog) -> Vec<GuardedRow> {
    let mut rows: BTreeMap<(Option<&Arc<str>>, &Name), GuardedRow> = BTreeMap::new();
    for (seq, held) in backlog.guarded().iter() {
        let Some(message) = backlog.table().get(seq) else { continue };
        let (stream, accepted) = (backlog.streams().name(message.stream), message.id.time());
        let row = rows.entry((held.user.as_ref(), stream)).or_insert_with(|| GuardedRow {
            user: held.user.clone(),
            stream: stream.clone(),
            messages: 0,
            recipients: 0,
            bytes: 0,
            oldest: accepted,
        });
        row.messages += 1;
        row.recipients += message.queued().filter(|(_, recipient)| recipient.phase == Phase::Held).count() as u64;
        row.bytes += u64::from(message.size);
        row.oldest = row.oldest.min(accepted);
    }
    rows.into_values().collect()
}

/// The held messages that a change is about, the oldest first.
pub(crate) fn selected(backlog: &Backlog, change: &GuardChange) -> Vec<Seq> {
    let fits = |seq: Seq, user: Option<&str>| {
        let Some(message) = backlog.table().get(seq) else { return false };
        let stream = backlog.streams().name(message.stream);
        change.of.as_ref().is_none_or(|of| of.covers(user, stream))
            && !change.except.iter().any(|of| of.covers(user, stream))
            && change.before.is_none_or(|before| message.id.time() < before)
    };
    backlog.guarded().iter().filter(|(seq, held)| fits(*seq, held.user.as_deref())).map(|(seq, _)| seq).collect()
}
