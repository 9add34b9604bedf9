//! What waits, by provider and stream: what the rules of the monitoring look at.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use posthaste_mail::Name;
use serde::{Deserialize, Serialize};

use crate::{
    backlog::table::{DomainIx, Phase, Seq, StreamIx},
    budget::waitlist::WaitLists,
    times::timestamp,
    view::View,
};

/// What waits for a provider in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingRow {
    /// The provider, or a domain whose provider is not known yet.
    pub provider: String,
    /// The stream.
    pub stream: Name,
    /// Recipients that wait or are in flight; those that an operator or their sender holds are not among them.
    pub recipients: usize,
    /// When the oldest of them was accepted.
    pub oldest: Option<Timestamp>,
    /// Recipients that could go now: neither their next attempt, nor budget, nor an operator keeps them.
    pub due: usize,
    /// Since when one of these has been due.
    pub due_since: Option<Timestamp>,
}

/// In milliseconds since 1970.
#[derive(Clone, Copy)]
struct Sums {
    recipients: usize,
    oldest: i64,
    due: usize,
    due_since: i64,
}

const NOTHING: Sums = Sums { recipients: 0, oldest: i64::MAX, due: 0, due_since: i64::MAX };

impl Sums {
    fn add(&mut self, other: Self) {
        self.recipients += other.recipients;
        self.oldest = self.oldest.min(other.oldest);
        self.due += other.due;
        self.due_since = self.due_since.min(other.due_since);
    }
}

/// What waits. Scans every message.
pub(crate) fn waiting_rows(view: View<'_>, lists: &WaitLists) -> Vec<WaitingRow> {
    let (table, domains, now) = (view.backlog.table(), view.backlog.domains(), view.now.as_millisecond());
    let mut budgeted: Vec<(Seq, DomainIx)> = lists
        .all()
        .filter_map(|(group, ..)| {
            let (message, rcpts) = table.open(group)?;
            Some((group.seq, message.recipient(*rcpts.first()?).domain))
        })
        .collect();
    budgeted.sort_unstable();
    let mut sums: HashMap<(DomainIx, StreamIx), Sums> = HashMap::new();
    for (seq, message) in table.iter() {
        for (_, recipient) in message.queued() {
            if recipient.phase == Phase::Held || message.is_scheduled(recipient, now) {
                continue;
            }
            let sum = sums.entry((recipient.domain, message.stream)).or_insert(NOTHING);
            let is_due =
                recipient.phase == Phase::Waiting && recipient.due <= now && budgeted.binary_search(&(seq, recipient.domain)).is_err();
            let due_since = if is_due { recipient.due.max(message.arrived) } else { i64::MAX };
            sum.add(Sums { recipients: 1, oldest: message.arrived, due: usize::from(is_due), due_since });
        }
    }
    let mut rows: BTreeMap<(&str, StreamIx), Sums> = BTreeMap::new();
    for ((domain, stream), sum) in &sums {
        rows.entry((domains.provider(*domain), *stream)).or_insert(NOTHING).add(*sum);
    }
    let time = |milliseconds: i64| (milliseconds < i64::MAX).then(|| timestamp(milliseconds));
    let row = |((provider, stream), sum): ((&str, StreamIx), Sums)| WaitingRow {
        provider: provider.to_owned(),
        stream: view.backlog.streams().name(stream).clone(),
        recipients: sum.recipients,
        oldest: time(sum.oldest),
        due: sum.due,
        due_since: time(sum.due_since),
    };
    rows.into_iter().map(row).collect()
}
