//! A message in memory.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{MessageFacts, RecipientFacts};

use crate::{body_cache::WarmShare, record::MessageRecord};

/// A message with what its events repeat, and its body where that is in memory.
#[derive(Debug)]
pub struct Message {
    /// What the spool keeps.
    pub meta: MessageRecord,
    /// What every event of it repeats.
    pub facts: Arc<MessageFacts>,
    /// The message in parts: the relay's header lines, the rest. Empty where it has to be read back.
    pub body: Vec<Bytes>,
    _share: Option<WarmShare>,
}

impl Message {
    /// From its meta; `body` may be empty.
    pub fn new(meta: MessageRecord, body: Vec<Bytes>, share: Option<WarmShare>) -> Self {
        let facts = MessageFacts {
            message: meta.id,
            message_id: meta.message_id.clone(),
            stream: meta.stream.clone(),
            tags: meta.tags.clone().into(),
            meta: meta.meta.clone().into(),
            from: meta.envelope.reverse_path.as_str().into(),
            size: meta.size,
        };
        Self { meta, facts: Arc::new(facts), body, _share: share }
    }

    /// The facts of one recipient's event at `now`.
    pub fn about(&self, rcpt: u16, now: Timestamp) -> RecipientFacts {
        let address = &self.meta.envelope.recipients[usize::from(rcpt)];
        let age = now.duration_since(self.meta.arrived).as_millis();
        RecipientFacts {
            message: self.facts.clone(),
            rcpt: address.as_str().into(),
            domain: address.domain().into(),
            age_ms: u64::try_from(age).unwrap_or(0),
        }
    }
}
