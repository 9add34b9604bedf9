//! A message in memory.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{MessageFacts, RecipientFacts};

use crate::{body_cache::WarmShare, record::MessageRecord};

/// A message with the facts that its events repeat, and its body if that is in memory.
#[derive(Debug)]
pub struct Message {
    /// The message record, as the spool keeps it.
    pub record: MessageRecord,
    /// The facts that each of its events repeats.
    pub facts: Arc<MessageFacts>,
    /// The message in parts: the relay's header lines, the rest. Empty if it has to be read back from the spool.
    pub body: Vec<Bytes>,
    _share: Option<WarmShare>,
}

impl Message {
    /// A message from its record; `body` may be empty.
    pub fn new(record: MessageRecord, body: Vec<Bytes>, share: Option<WarmShare>) -> Self {
        let facts = MessageFacts {
            message: record.id,
            message_id: record.message_id.clone(),
            stream: record.stream.clone(),
            user: record.user.clone(),
            from_domain: record.from_domain.clone(),
            dkim: record.aligned.map(|aligned| if aligned { "aligned" } else { "unaligned" }),
            one_click: record.one_click,
            hold_ms: record.held_until().map(|until| u64::try_from(until.duration_since(record.arrived).as_millis()).unwrap_or(0)),
            tags: record.tags.clone().into(),
            meta: record.meta.clone().into(),
            from: record.envelope.reverse_path.as_str().into(),
            size: record.size,
        };
        Self { record, facts: Arc::new(facts), body, _share: share }
    }

    /// The facts of one recipient's event at `now`.
    pub fn about(&self, rcpt: u16, now: Timestamp) -> RecipientFacts {
        let address = &self.record.envelope.recipients[usize::from(rcpt)];
        let age = now.duration_since(self.record.arrived).as_millis();
        RecipientFacts {
            message: self.facts.clone(),
            rcpt: address.as_str().into(),
            domain: address.domain().into(),
            age_ms: u64::try_from(age).unwrap_or(0),
        }
    }
}
