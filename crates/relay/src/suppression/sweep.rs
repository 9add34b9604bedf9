//! What has expired goes, now and then; nothing relies on it. And the order of keys that lets a walk go in small steps.

use std::ops::ControlFlow;

use jiff::Timestamp;

use super::{ENTRIES, Entry, Facts, Register, SuppressionRules, bounces};

/// Deletes expired entries and counts that count no more. How many facts went. Reads the whole list: once a day will do.
pub fn sweep<F: Facts>(register: &Register<F>, rules: &SuppressionRules, now: Timestamp) -> usize {
    register.forget_expired(now);
    let facts = register.facts();
    let oldest = now.as_millisecond().saturating_sub(i64::try_from(rules.within.as_millis()).unwrap_or(i64::MAX));
    let entries = delete_where(facts, ENTRIES, |value| Entry::decode(value).is_some_and(|e| !e.holds(now)));
    entries + delete_where(facts, bounces::STRIKES, |value| bounces::last_strike(value).is_none_or(|last| last <= oldest))
}

/// Deletes the facts under a prefix whose values are stale.
pub(crate) fn delete_where<F: Facts>(facts: &F, prefix: &[u8], stale: impl Fn(&[u8]) -> bool) -> usize {
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

/// A key `PREFIX SHARD/NAME`. The shard is two hexadecimal digits of a hash: whatever the names are like, each of the 256 has its share, so
/// that a walk over millions never holds many in memory.
pub(crate) fn sharded(prefix: &[u8], name: &str) -> Vec<u8> {
    // FNV-1a: short, and never to change, because keys are on disks.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut key = Vec::with_capacity(prefix.len() + name.len() + 32);
    key.extend_from_slice(prefix);
    key.extend_from_slice(format!("{:02x}/", hash >> 24 ^ hash & 0xff).as_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// Walks the facts under a prefix by key, from behind the key `after`.
pub(crate) fn in_shards<F: Facts>(
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
