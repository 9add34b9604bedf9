//! The keys of entries among the spool's keyed facts.

use posthaste_mail::Address;
use posthaste_spool::sharded;

use crate::entry::Breadth;

/// Entries: `suppressed/SHARD/ADDRESS\0SCOPE`. The address precedes the scope, so that all entries of an address are adjacent.
pub(crate) const ENTRIES: &[u8] = b"suppressed/";

pub(crate) fn prefix_of(address: &Address) -> Vec<u8> {
    let mut key = sharded(ENTRIES, &address.folded());
    key.push(0);
    key
}

pub(crate) fn key_of(address: &Address, scope: &Breadth) -> Vec<u8> {
    let mut key = prefix_of(address);
    scope.write(&mut key);
    key
}
