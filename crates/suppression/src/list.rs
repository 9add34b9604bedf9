//! Looks up, adds and removes entries.

use jiff::Timestamp;
use posthaste_mail::{Address, Name};
use posthaste_spool::Facts;

use crate::{
    bounce::Noted,
    entry::{Breadth, EntrySource, Reason, SuppressionEntry, UserScope},
    keys::{key_of, prefix_of},
    register::Register,
    rules::SuppressionRules,
};

/// The list, with the rules in force.
#[derive(Debug)]
pub struct List<'a, F> {
    pub(crate) register: &'a Register<F>,
    pub(crate) rules: &'a SuppressionRules,
}

/// What becomes of an existing entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The entry that holds longer is kept; if they hold equally long, the old one.
    Stronger,
    /// The new entry replaces it.
    Any,
}

/// The outcome of adding an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Added {
    /// The entry was added.
    New,
    /// This entry existed and was kept.
    Kept(Box<SuppressionEntry>),
}

impl<'a, F: Facts> List<'a, F> {
    /// A view of the list.
    pub fn new(register: &'a Register<F>, rules: &'a SuppressionRules) -> Self {
        Self { register, rules }
    }

    /// The entry that stops mail to `address`, if any: for everybody, for this stream or for this user.
    ///
    /// Answered from memory once the register is filled. The entry then has no source, `since` is exact to the second and `until` to the
    /// minute; [`List::find`] reads complete entries.
    pub fn look_up(&self, address: &Address, stream: &Name, user: Option<&UserScope>, now: Timestamp) -> Option<SuppressionEntry> {
        let mut key = prefix_of(address);
        let bare = key.len();
        let everybody = self.noted(Breadth::Global.write(&mut key), address, || Breadth::Global, now);
        everybody
            .or_else(|| {
                key.truncate(bare);
                self.noted(Breadth::write_stream(stream, &mut key), address, || Breadth::Stream(stream.clone()), now)
            })
            .or_else(|| {
                key.truncate(bare);
                let user = user?;
                self.noted(Breadth::write_user(user, &mut key), address, || Breadth::User(user.clone()), now)
            })
    }

    fn noted(&self, key: &[u8], address: &Address, scope: impl FnOnce() -> Breadth, now: Timestamp) -> Option<SuppressionEntry> {
        match self.register.note(key) {
            Ok(note) => note?.entry(address, scope(), now),
            Err(_) => self.at(key, now),
        }
    }

    /// The entry with exactly this scope.
    pub fn get(&self, address: &Address, scope: &Breadth, now: Timestamp) -> Option<SuppressionEntry> {
        self.at(&key_of(address, scope), now)
    }

    /// All entries of an address.
    pub fn find(&self, address: &Address, now: Timestamp) -> Vec<SuppressionEntry> {
        let found = self.register.facts().scan(&prefix_of(address));
        found.iter().filter_map(|(_, value)| SuppressionEntry::decode(value)).filter(|e| e.holds(now)).collect()
    }

    /// Adds an entry.
    pub fn add(&self, entry: &SuppressionEntry, over: Over, now: Timestamp) -> Added {
        let key = key_of(&entry.address, &entry.scope);
        if over == Over::Stronger
            && let Some(there) = self.at(&key, now)
            && there.outlasts(entry)
        {
            return Added::Kept(Box::new(there));
        }
        self.register.list(&key, entry);
        Added::New
    }

    /// Takes an address off the list, in all scopes or in one, and forgets its counted bounces. Returns the number of entries removed.
    pub fn remove(&self, address: &Address, scope: Option<&Breadth>) -> usize {
        let keys: Vec<_> = match scope {
            Some(scope) => [key_of(address, scope)].into_iter().filter(|key| self.register.facts().get(key).is_some()).collect(),
            None => self.register.facts().scan(&prefix_of(address)).into_iter().map(|(key, _)| key).collect(),
        };
        keys.iter().for_each(|key| self.register.unlist(key));
        if scope.is_none_or(|s| *s == Breadth::Global) {
            self.forget_bounces(address);
        }
        keys.len()
    }

    /// Reports a complaint about mail of this stream.
    pub fn note_complaint(&self, address: &Address, stream: &Name, source: EntrySource, now: Timestamp) -> Noted {
        let scope = if self.rules.complaints_are_global { Breadth::Global } else { Breadth::Stream(stream.clone()) };
        self.note(SuppressionEntry::new(address.clone(), scope, Reason::Complaint, now, self.rules.complaint_for, source), now)
    }

    /// Reports that a recipient unsubscribed from this stream.
    pub fn note_unsubscribe(&self, address: &Address, stream: &Name, source: EntrySource, now: Timestamp) -> Noted {
        let scope = Breadth::Stream(stream.clone());
        self.note(SuppressionEntry::new(address.clone(), scope, Reason::Unsubscribe, now, self.rules.unsubscribe_for, source), now)
    }

    /// Reports what somebody may have made up who has seen a message of this stream. Only the stream's mail is stopped, and for no longer than
    /// a hint counts.
    pub fn note_hint(&self, address: &Address, stream: &Name, reason: Reason, source: EntrySource, now: Timestamp) -> Noted {
        let usual = match reason {
            Reason::HardBounce => self.rules.hard_bounce_for,
            Reason::Complaint => self.rules.complaint_for,
            Reason::Unsubscribe => self.rules.unsubscribe_for,
            Reason::Manual => None,
        };
        let lasts = usual.map_or(self.rules.hint_for, |usual| usual.min(self.rules.hint_for));
        self.note(SuppressionEntry::new(address.clone(), Breadth::Stream(stream.clone()), reason, now, Some(lasts), source), now)
    }

    pub(crate) fn note(&self, entry: SuppressionEntry, now: Timestamp) -> Noted {
        match self.add(&entry, Over::Stronger, now) {
            Added::New => Noted::Suppressed(entry),
            Added::Kept(there) => Noted::Already(*there),
        }
    }

    fn at(&self, key: &[u8], now: Timestamp) -> Option<SuppressionEntry> {
        SuppressionEntry::decode(&self.register.facts().get(key)?).filter(|e| e.holds(now))
    }
}

#[cfg(test)]
pub(crate) mod tests;
