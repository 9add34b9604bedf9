//! Where entries stand among the spool's keyed facts.

use posthaste_mail::Address;
use posthaste_spool::sharded;

use crate::entry::Breadth;

/// Entries: `suppressed/SHARD/ADDRESS\0SCOPE`. The address before the scope, so that all of its entries stand together.
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
