//! An index of messages by their ids, so that a question about one message does not scan the others.
//!
//! An id ends in 80 random bits. 32 of these lead to the lower half of the message's number, and the table tells whether that message has
//! the id. An entry takes 8 bytes and one of the map's own. With the map's free entries that is 10 to 20 bytes for each message; 24 were
//! measured with a million.

use std::collections::HashMap;

use posthaste_mail::MessageId;

use crate::numbers::NumberMap;

/// The number of each message (`Seq`), by its id.
#[derive(Default)]
pub(super) struct Ids {
    by_print: NumberMap<u32, u32>,
    /// Messages whose 32 bits lead to another message: about a hundred in a million.
    others: HashMap<MessageId, u64>,
    /// The highest number so far.
    highest: u64,
}

impl Ids {
    /// Keeps a message's number.
    pub(super) fn insert(&mut self, id: MessageId, seq: u64) {
        self.highest = self.highest.max(seq);
        let low = lower_half(seq);
        if *self.by_print.entry(print(id)).or_insert(low) != low {
            self.others.insert(id, seq);
        }
    }

    /// Forgets a message.
    pub(super) fn remove(&mut self, id: MessageId, seq: u64) {
        if !self.others.is_empty() && self.others.remove(&id).is_some() {
            return;
        }
        if self.by_print.get(&print(id)) == Some(&lower_half(seq)) {
            self.by_print.remove(&print(id));
        }
    }

    /// Gives back what a burst of messages took.
    pub(super) fn shrink(&mut self) {
        self.by_print.shrink_to(2 * self.by_print.len());
        self.others.shrink_to_fit();
    }

    /// The number of the message with this id. `is_it` tells whether a number belongs to that message.
    pub(super) fn find(&self, id: MessageId, is_it: impl Fn(u64) -> bool) -> Option<u64> {
        if let Some(seq) = self.others.get(&id) {
            return Some(*seq);
        }
        let low = u64::from(*self.by_print.get(&print(id))?);
        // The upper half is that of the highest number, or one of the few before it.
        (0..=self.highest >> 32).rev().map(|high| (high << 32) | low).find(|seq| is_it(*seq))
    }
}

fn print(id: MessageId) -> u32 {
    let [.., a, b, c, d] = id.to_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn lower_half(seq: u64) -> u32 {
    (seq & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;

    fn id(time: i64, random: u128) -> MessageId {
        MessageId::new(Timestamp::from_millisecond(time).unwrap(), random)
    }

    proptest::proptest! {
        #[test]
        fn every_message_is_found_by_its_id_though_bits_collide(
            messages in proptest::collection::btree_map(0u64..(5 << 32), (0i64..1000, 0u128..40), 1..200),
            gone in proptest::collection::vec(proptest::bool::ANY, 200),
        ) {
            let (mut ids, mut table) = (Ids::default(), BTreeMap::new());
            for (seq, (time, random)) in messages {
                // Ids differ, and few of their 32 bits do.
                let id = id(time, (u128::from(seq) << 32) | random);
                ids.insert(id, seq);
                table.insert(seq, id);
            }
            let all = table.clone();
            for ((seq, id), _) in all.iter().zip(gone).filter(|(_, gone)| *gone) {
                ids.remove(*id, *seq);
                table.remove(seq);
            }
            for (seq, id) in &all {
                let found = ids.find(*id, |seq| table.get(&seq) == Some(id));
                proptest::prop_assert_eq!(found, table.contains_key(seq).then_some(*seq));
            }
            for (seq, id) in table {
                ids.remove(id, seq);
            }
            proptest::prop_assert!(ids.by_print.is_empty() && ids.others.is_empty());
        }
    }
}
