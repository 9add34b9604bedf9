//! The table of segments: for each, its live bytes and the tombstones that are still needed.

use std::collections::BTreeMap;

use crate::{
    record::{HEADER, Loc},
    segment::SegmentName,
};

/// Bytes of a tombstone: a header and the number of the segment that holds the dead message.
pub(crate) const TOMBSTONE: u64 = HEADER as u64 + 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentUsage {
    pub(crate) name: SegmentName,
    pub(crate) len: u64,
    /// Bytes of live messages, of their newest updates, and of the newest facts.
    pub(crate) live: u64,
    /// Tombstones in this segment, counted by the segment that holds the dead message. A tombstone may be dropped only after that segment
    /// is deleted.
    pub(crate) tombstones: BTreeMap<u32, u32>,
    /// Compaction could not empty the segment because it is damaged; it is kept.
    pub(crate) stuck: bool,
}

impl SegmentUsage {
    pub(crate) fn needed(&self) -> u64 {
        self.live + TOMBSTONE * self.tombstones.values().map(|count| u64::from(*count)).sum::<u64>()
    }
}

#[derive(Debug, Default)]
pub(crate) struct SegmentTable {
    segments: BTreeMap<u32, SegmentUsage>,
    total: u64,
}

impl SegmentTable {
    pub(crate) fn add(&mut self, name: SegmentName, len: u64) {
        self.restore(SegmentUsage { name, len, live: 0, tombstones: BTreeMap::new(), stuck: false });
    }

    pub(crate) fn restore(&mut self, segment: SegmentUsage) {
        self.total += segment.len;
        self.segments.insert(segment.name.id, segment);
    }

    /// Removes a deleted segment; the tombstones for its messages are no longer needed.
    pub(crate) fn forget(&mut self, id: u32) {
        if let Some(segment) = self.segments.remove(&id) {
            self.total -= segment.len;
        }
        for segment in self.segments.values_mut() {
            segment.tombstones.remove(&id);
        }
    }

    pub(crate) fn set_len(&mut self, id: u32, len: u64) {
        if let Some(segment) = self.segments.get_mut(&id) {
            self.total = self.total - segment.len + len;
            segment.len = len;
        }
    }

    pub(crate) fn live(&mut self, loc: Loc) {
        if let Some(segment) = self.segments.get_mut(&loc.segment) {
            segment.live += u64::from(loc.len);
        }
    }

    pub(crate) fn dead(&mut self, loc: Loc) {
        if let Some(segment) = self.segments.get_mut(&loc.segment) {
            segment.live -= u64::from(loc.len);
        }
    }

    /// Counts a tombstone in `segment` for a message in `holder`.
    pub(crate) fn tombstone(&mut self, segment: u32, holder: u32) {
        if segment == holder || !self.has(holder) {
            return;
        }
        if let Some(segment) = self.segments.get_mut(&segment) {
            *segment.tombstones.entry(holder).or_default() += 1;
        }
    }

    pub(crate) fn stick(&mut self, id: u32) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.stuck = true;
        }
    }

    pub(crate) fn has(&self, id: u32) -> bool {
        self.segments.contains_key(&id)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&SegmentUsage> {
        self.segments.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &SegmentUsage> {
        self.segments.values()
    }

    /// Bytes of all segments.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_is_needed_until_its_holder_has_gone() {
        let mut table = SegmentTable::default();
        for id in 1..=2 {
            table.add(SegmentName { id, salt: 0 }, 100);
        }
        let at = Loc { segment: 1, offset: 64, len: 30 };
        table.live(at);
        assert_eq!(table.get(1).unwrap().needed(), 30);
        table.dead(at);
        table.tombstone(2, 1);
        table.tombstone(2, 2);
        table.tombstone(2, 7);
        assert_eq!(table.get(1).unwrap().needed(), 0);
        assert_eq!(table.get(2).unwrap().needed(), TOMBSTONE);
        table.forget(1);
        assert_eq!(table.get(2).unwrap().needed(), 0);
        assert_eq!(table.total(), 100);
    }
}
