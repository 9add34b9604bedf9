//! The messages that the guard holds, and those that it held: new mail of a user or a stream that behaves like a stolen account.
//!
//! Few messages are held, so they are kept beside the table and cost the others nothing. A message that the guard holds is held for all its
//! recipients, from its acceptance until it is released: then its age begins to count.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::table::Seq;

/// What the guard holds, and what it has released.
#[derive(Default)]
pub(crate) struct Guarded {
    held: BTreeMap<Seq, HeldMessage>,
    /// From when the age of released messages counts, in milliseconds since 1970.
    begins: HashMap<Seq, i64>,
}

/// What is known of a message that the guard holds.
pub(crate) struct HeldMessage {
    /// The user who submitted it, if the client logged in.
    pub(crate) user: Option<Arc<str>>,
    /// Why the guard holds it, and the command that ends it.
    pub(crate) why: Arc<str>,
}

impl Guarded {
    /// Takes a message in.
    pub(super) fn hold(&mut self, seq: Seq, user: Option<Arc<str>>, why: Arc<str>) {
        self.held.insert(seq, HeldMessage { user, why });
    }

    /// Takes in a message whose age counts from then, because it was released then.
    pub(super) fn was_released(&mut self, seq: Seq, begins: i64) {
        self.begins.insert(seq, begins);
    }

    /// Holds a message no longer. Whether it was held.
    pub(super) fn let_go(&mut self, seq: Seq) -> bool {
        self.held.remove(&seq).is_some()
    }

    /// The message has ended.
    pub(super) fn forget(&mut self, seq: Seq) {
        self.held.remove(&seq);
        self.begins.remove(&seq);
    }

    /// From when the age of a released message counts, in milliseconds since 1970.
    pub(super) fn begins(&self, seq: Seq) -> Option<i64> {
        self.begins.get(&seq).copied()
    }

    /// The message, if the guard holds it.
    pub(crate) fn get(&self, seq: Seq) -> Option<&HeldMessage> {
        self.held.get(&seq)
    }

    /// All that it holds, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, &HeldMessage)> {
        self.held.iter().map(|(seq, held)| (*seq, held))
    }
}
