//! The facts, with a glance at who is listed: nearly every recipient is not, and is told so without a look at the disk.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    ops::ControlFlow,
    sync::{
        RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use posthaste_mail::Address;

use super::{ENTRIES, folded, sweep::in_shards};

/// Keyed facts: the spool, or a map in tests.
pub trait Facts {
    /// A fact.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Sets a fact; [`Self::get`] sees it at once.
    fn put(&self, key: &[u8], value: &[u8]);
    /// Forgets a fact.
    fn delete(&self, key: &[u8]);
    /// Those whose keys begin with `prefix`, by key.
    fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)>;
}

impl Facts for posthaste_spool::Spool {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }
    fn put(&self, key: &[u8], value: &[u8]) {
        self.put(key, value);
    }
    fn delete(&self, key: &[u8]) {
        self.delete(key);
    }
    fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.scan(prefix)
    }
}

/// Facts, and the hashes of all addresses that are listed: 10 to 20 bytes of memory for each.
#[derive(Debug)]
pub struct Register<F> {
    facts: F,
    /// Hashes stay when an address goes, which costs a needless look at worst.
    listed: RwLock<HashSet<u64>>,
    /// All that the facts held is in `listed`. Until then every look goes to the facts.
    filled: AtomicBool,
    hasher: RandomState,
}

impl<F: Facts> Register<F> {
    /// The facts alone: right at once, quick once it is filled. A command that changes a few entries needs no more.
    pub fn new(facts: F) -> Self {
        Self { facts, listed: RwLock::default(), filled: AtomicBool::new(false), hasher: RandomState::new() }
    }

    /// Reads who is listed; seconds for a million, and mail may go on meanwhile. Every change must come by this register.
    pub fn fill(&self) {
        let mut some = Vec::new();
        let take = |some: &mut Vec<u64>| self.listed.write().expect(POISON).extend(some.drain(..));
        let _ = in_shards(&self.facts, ENTRIES, None, |key, _| {
            let address = key.get(ENTRIES.len() + SHARD..).and_then(|k| k.split(|b| *b == 0).next());
            some.extend(address.and_then(|a| std::str::from_utf8(a).ok()).map(|a| self.hasher.hash_one(a)));
            if some.len() >= AT_ONCE {
                take(&mut some);
            }
            ControlFlow::Continue(())
        });
        take(&mut some);
        self.filled.store(true, Ordering::Release);
    }

    /// The facts themselves.
    pub fn facts(&self) -> &F {
        &self.facts
    }

    /// False where the folded address is surely not listed.
    pub(super) fn may_hold(&self, folded: &str) -> bool {
        !self.filled.load(Ordering::Acquire) || self.listed.read().expect(POISON).contains(&self.hasher.hash_one(folded))
    }

    /// Sets an entry.
    pub(super) fn list(&self, address: &Address, key: &[u8], value: &[u8]) {
        // Before the fact: whoever can find the fact must not be told that there is none.
        self.listed.write().expect(POISON).insert(self.hasher.hash_one(folded(address).as_str()));
        self.facts.put(key, value);
    }
}

/// Hashes taken in under one lock.
const AT_ONCE: usize = 4096;
/// `a3/`
const SHARD: usize = 3;
const POISON: &str = "nothing panics with this lock held";
