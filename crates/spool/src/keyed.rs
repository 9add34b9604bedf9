//! Keyed facts for other crates: a trait with two implementations, and sharded keys, so that a walk over millions of facts never holds
//! many.

use std::{cell::RefCell, collections::BTreeMap, ops::ControlFlow};

use crate::Spool;

/// Keyed facts: the spool, or a map in tests.
pub trait Facts {
    /// A fact.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
    /// Sets a fact; [`Self::get`] sees it at once.
    fn put(&self, key: &[u8], value: &[u8]);
    /// Deletes a fact.
    fn delete(&self, key: &[u8]);
    /// The facts whose keys begin with `prefix`, by key.
    fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)>;
}

impl Facts for Spool {
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

/// Keyed facts in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryFacts(pub RefCell<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Facts for MemoryFacts {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.borrow().get(key).cloned()
    }
    fn put(&self, key: &[u8], value: &[u8]) {
        self.0.borrow_mut().insert(key.to_vec(), value.to_vec());
    }
    fn delete(&self, key: &[u8]) {
        self.0.borrow_mut().remove(key);
    }
    fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let map = self.0.borrow();
        map.range(prefix.to_vec()..).take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// Deletes the facts under a prefix whose values are stale.
pub fn delete_where<F: Facts>(facts: &F, prefix: &[u8], stale: impl Fn(&[u8]) -> bool) -> usize {
    let mut gone = 0;
    let _ = in_shards(facts, prefix, None, |key, value| {
        if stale(value) {
            facts.delete(key);
            gone += 1;
        }
        ControlFlow::Continue(())
    });
    gone
}

/// The key `PREFIX SHARD/NAME`. The shard is two hexadecimal digits of a hash, which spreads any names evenly over 256 shards, so that a
/// walk over millions never holds many in memory.
pub fn sharded(prefix: &[u8], name: &str) -> Vec<u8> {
    // FNV-1a: short. It must never change, because keys are on disk.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut key = Vec::with_capacity(prefix.len() + name.len() + 32);
    key.extend_from_slice(prefix);
    key.extend_from_slice(format!("{:02x}/", hash >> 24 ^ hash & 0xff).as_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// Walks the facts under a prefix by key, starting after the key `after`.
pub fn in_shards<F: Facts>(
    facts: &F,
    prefix: &[u8],
    after: Option<&str>,
    mut show: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let after = after.unwrap_or_default().as_bytes();
    for shard in 0..=u8::MAX {
        let part = [prefix, format!("{shard:02x}/").as_bytes()].concat();
        if part.as_slice() < after && !after.starts_with(&part) {
            continue;
        }
        let facts = facts.scan(&part);
        facts.iter().filter(|(key, _)| key.as_slice() > after).try_for_each(|(key, value)| show(key, value))?;
    }
    ControlFlow::Continue(())
}
