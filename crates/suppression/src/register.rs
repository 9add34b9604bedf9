//! The stored entries, with a note in memory for each, so that look-ups need not read the disk.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    ops::ControlFlow,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use posthaste_spool::{Facts, in_shards};

use crate::{
    SuppressionEntry, SuppressionRules,
    keys::ENTRIES,
    notes::{Note, Notes},
};

/// The stored entries, with a note in memory for each (20 to 40 bytes). A look-up reads no disk, whether it hits or misses, unless the notes would
/// take more memory than they may.
#[derive(Debug)]
pub struct Register<F> {
    facts: F,
    notes: RwLock<Notes>,
    /// Whether `notes` is complete. Until then every look-up reads the facts.
    filled: AtomicBool,
    hasher: RandomState,
}

impl<F: Facts> Register<F> {
    /// A register without notes. It is correct at once and fast once filled. A command that changes a few entries need not fill it.
    pub fn new(facts: F) -> Self {
        Self::with_memory(facts, SuppressionRules::default().memory)
    }

    /// The same, with notes that take so many bytes of memory at most.
    pub fn with_memory(facts: F, most: u64) -> Self {
        Self { facts, notes: RwLock::new(Notes::new(most)), filled: AtomicBool::new(false), hasher: RandomState::new() }
    }

    /// What the notes take, in bytes.
    pub fn memory(&self) -> u64 {
        self.notes.read().expect(POISON).taken()
    }

    /// Reads all entries; this takes seconds for a million, and mail may flow meanwhile. Every change must be made through this register.
    pub fn fill(&self) {
        let mut some = Vec::new();
        let _ = in_shards(&self.facts, ENTRIES, None, |key, value| {
            some.extend(SuppressionEntry::decode(value).map(|entry| (self.hash(key), Note::of(&entry))));
            if some.len() >= AT_ONCE {
                self.take(&mut some);
            }
            ControlFlow::Continue(())
        });
        self.take(&mut some);
        self.filled.store(true, Ordering::Release);
        let mut notes = self.notes.write().expect(POISON);
        notes.gone = HashSet::new();
        if let (given_up @ 1.., all) = notes.given_up() {
            tracing::warn!(
                "the suppression list is longer than suppression.memory has room for: look-ups of {given_up} of {all} parts read the disk"
            );
        }
    }

    /// Takes in notes read from the facts, except where an entry has changed meanwhile.
    fn take(&self, some: &mut Vec<(u64, Note)>) {
        let mut notes = self.notes.write().expect(POISON);
        for (hash, note) in some.drain(..) {
            if !notes.gone.contains(&hash) {
                notes.set_missing(hash, note);
            }
        }
    }

    /// The stored facts.
    pub fn facts(&self) -> &F {
        &self.facts
    }

    /// The note under a key; `Err` until the notes are complete, and where there is no room for it.
    pub(super) fn note(&self, key: &[u8]) -> Result<Option<Note>, Unfilled> {
        if !self.filled.load(Ordering::Acquire) {
            return Err(Unfilled);
        }
        self.notes.read().expect(POISON).get(self.hash(key)).ok_or(Unfilled)
    }

    /// Sets an entry.
    pub(super) fn list(&self, key: &[u8], entry: &SuppressionEntry) {
        // The fact is written with the lock held, so that two changes of one entry take the same order in both places.
        let mut notes = self.notes.write().expect(POISON);
        let hash = self.hash(key);
        notes.set(hash, Note::of(entry));
        notes.gone.remove(&hash);
        self.facts.put(key, &entry.encode());
    }

    /// Removes an entry.
    pub(super) fn unlist(&self, key: &[u8]) {
        let mut notes = self.notes.write().expect(POISON);
        let hash = self.hash(key);
        notes.remove(hash);
        if !self.filled.load(Ordering::Acquire) {
            notes.gone.insert(hash);
        }
        self.facts.delete(key);
    }

    /// Drops the notes of expired entries. The sweep deletes their facts.
    pub(super) fn forget_expired(&self, now: Timestamp) {
        self.notes.write().expect(POISON).forget_expired(now);
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// The note is not in memory.
#[derive(Debug)]
pub(super) struct Unfilled;

/// Notes taken in under one lock.
const AT_ONCE: usize = 4096;
const POISON: &str = "nothing panics with this lock held";
