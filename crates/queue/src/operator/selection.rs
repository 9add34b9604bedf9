//! Selections of messages.

use std::{collections::HashSet, fmt};

use posthaste_mail::MessageId;
use serde::{Deserialize, Serialize};

use crate::backlog::{
    Backlog,
    table::{DomainIx, QueuedMessage, Seq},
};

/// The messages that an operator means: those that fit every field that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSelection {
    /// This message.
    pub id: Option<MessageId>,
    /// Recipients at this domain.
    pub domain: Option<String>,
    /// Recipients whose mailboxes this provider runs.
    pub provider: Option<String>,
    /// Messages of this stream.
    pub stream: Option<String>,
    /// Messages that this user submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// As the log tells it: `all`, `domain a.test`, `provider google, stream news`.
impl fmt::Display for MessageSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.map(|id| id.to_string());
        let fields =
            [("message", &id), ("domain", &self.domain), ("provider", &self.provider), ("stream", &self.stream), ("user", &self.user)];
        let given: Vec<String> = fields.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))).collect();
        f.write_str(if given.is_empty() { "all" } else { "" })?;
        f.write_str(&given.join(", "))
    }
}

/// A selection, applied to the queue.
pub(crate) struct Selected {
    /// The messages that fit, the oldest first.
    pub(crate) messages: Vec<Seq>,
    domains: Option<HashSet<DomainIx>>,
}

impl MessageSelection {
    /// One message.
    pub fn one(id: MessageId) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// The queue's messages and domains that fit.
    pub(crate) fn of(&self, backlog: &Backlog) -> Selected {
        let domains = self.domains(backlog);
        let messages = match self.id {
            Some(id) => backlog.table().find(id).into_iter().collect(),
            None => self.messages(backlog, domains.as_ref()),
        };
        Selected { messages, domains }
    }

    fn messages(&self, backlog: &Backlog, domains: Option<&HashSet<DomainIx>>) -> Vec<Seq> {
        let stream = |message: &QueuedMessage| self.stream.as_ref().is_none_or(|s| backlog.streams().name(message.stream).as_str() == s);
        let domain = |message: &QueuedMessage| domains.is_none_or(|d| message.queued().any(|(_, r)| d.contains(&r.domain)));
        let user = |message: &QueuedMessage| self.user.as_ref().is_none_or(|user| backlog.streams().is_of(message.stream, user));
        let fits = backlog.table().iter().filter(|(_, message)| stream(message) && user(message) && domain(message));
        let mut seqs: Vec<Seq> = fits.map(|(seq, _)| seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// The domains that it names; None where it names none.
    fn domains(&self, backlog: &Backlog) -> Option<HashSet<DomainIx>> {
        if self.domain.is_none() && self.provider.is_none() {
            return None;
        }
        let domains = backlog.domains();
        let fits = |ix: &DomainIx| {
            self.domain.as_ref().is_none_or(|d| domains.name(*ix).eq_ignore_ascii_case(d))
                && self.provider.as_ref().is_none_or(|p| domains.provider(*ix).eq_ignore_ascii_case(p))
        };
        Some(domains.numbers().filter(fits).collect())
    }
}

impl Selected {
    /// Whether recipients at this domain are selected.
    pub(crate) fn has(&self, domain: DomainIx) -> bool {
        self.domains.as_ref().is_none_or(|domains| domains.contains(&domain))
    }
}
