//! Index changes kept in memory, so that a message stored and removed between two flushes never touches sled.

use std::collections::BTreeMap;

use bytes::Bytes;
use posthaste_mail::MessageId;

use crate::{fact::Fact, locations::Locations};

#[derive(Debug, Default)]
pub(crate) struct Overlay {
    pub(crate) messages: BTreeMap<u64, (MessageId, Bytes)>,
    /// In order, because sled is many times faster with ordered keys.
    pub(crate) states: BTreeMap<u64, Vec<u8>>,
    /// Removed messages that the index may hold, and whether it may hold a state for them.
    pub(crate) gone: BTreeMap<u64, bool>,
    /// Buckets in which no message is live any more.
    pub(crate) spent: Vec<u64>,
    /// `None`: the key is removed from the index.
    pub(crate) facts: BTreeMap<Vec<u8>, Option<Fact>>,
    /// The approximate size in bytes.
    pub(crate) bytes: usize,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.states.is_empty() && self.gone.is_empty() && self.facts.is_empty()
    }

    pub(crate) fn store(&mut self, seq: u64, id: MessageId, meta: Bytes) {
        self.bytes += PER_ITEM + meta.len();
        self.messages.insert(seq, (id, meta));
    }

    pub(crate) fn state(&mut self, seq: u64, state: Vec<u8>) {
        self.bytes += PER_ITEM + state.len();
        if let Some(old) = self.states.insert(seq, state) {
            self.bytes = self.bytes.saturating_sub(PER_ITEM + old.len());
        }
    }

    pub(crate) fn remove(&mut self, seq: u64, has_state: bool) {
        if let Some(state) = self.states.remove(&seq) {
            self.bytes = self.bytes.saturating_sub(PER_ITEM + state.len());
        }
        match self.messages.remove(&seq) {
            Some((_, meta)) => self.bytes = self.bytes.saturating_sub(PER_ITEM + meta.len()),
            None => {
                self.gone.insert(seq, has_state);
                self.bytes += PER_ITEM;
            }
        }
    }

    /// Records the buckets of these dead messages in which no message is live. A bucket with a live message is checked again when that
    /// message dies: it is in the index by then, or gets there with this overlay.
    pub(crate) fn find_spent(&mut self, dead: impl Iterator<Item = u64>, locations: &Locations) {
        let mut buckets: Vec<u64> = dead.map(|seq| seq & !(BUCKET - 1)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        self.spent.extend(buckets.into_iter().filter(|bucket| !locations.has_any(*bucket..*bucket + BUCKET)));
    }

    pub(crate) fn fact(&mut self, key: Vec<u8>, fact: Option<Fact>) {
        let len = |fact: &Option<Fact>| fact.as_ref().and_then(|fact| fact.value.as_ref()).map_or(0, Vec::len);
        self.bytes += PER_ITEM + key.len() + len(&fact);
        let key_len = key.len();
        if let Some(old) = self.facts.insert(key, fact) {
            self.bytes = self.bytes.saturating_sub(PER_ITEM + key_len + len(&old));
        }
    }
}

const PER_ITEM: usize = 100;
/// How many neighbouring seqs share a value in the index; the value is removed when none of them is live.
pub(crate) const BUCKET: u64 = 64;
