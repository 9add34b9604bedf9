//! The location of each live message: 32 bytes per message, sorted by seq.
//!
//! Seqs only rise, so messages are always added at the end. They are stored in runs of up to [`RUN`] neighbours.

use std::{collections::VecDeque, ops::Range};

use crate::record::Loc;

/// The locations of a live message's record and of its newest update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct MessageLocation {
    pub(crate) at: Loc,
    pub(crate) update: Loc,
}

#[derive(Debug, Default)]
pub(crate) struct Locations {
    runs: VecDeque<Vec<(u64, MessageLocation)>>,
    len: usize,
}

impl Locations {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a message with a seq higher than all before.
    pub(crate) fn push(&mut self, seq: u64, entry: MessageLocation) {
        debug_assert!(self.runs.back().is_none_or(|run| run[run.len() - 1].0 < seq));
        match self.runs.back_mut() {
            Some(run) if run.len() < RUN => run.push((seq, entry)),
            _ => self.runs.push_back(vec![(seq, entry)]),
        }
        self.len += 1;
    }

    pub(crate) fn get(&self, seq: u64) -> Option<MessageLocation> {
        self.find(seq).map(|(run, at)| self.runs[run][at].1)
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut MessageLocation> {
        self.find(seq).map(|(run, at)| &mut self.runs[run][at].1)
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<MessageLocation> {
        let (index, at) = self.find(seq)?;
        let run = &mut self.runs[index];
        let (_, entry) = run.remove(at);
        self.len -= 1;
        if run.is_empty() {
            self.runs.remove(index);
        } else if run.len() < run.capacity() / 4 {
            run.shrink_to(run.len() * 2);
        }
        Some(entry)
    }

    /// Up to `limit` messages with a seq of at least `from`, by rising seq.
    pub(crate) fn page(&self, from: u64, limit: usize) -> Vec<(u64, MessageLocation)> {
        let first = self.runs.partition_point(|run| run[run.len() - 1].0 < from);
        self.runs.range(first..).flatten().skip_while(|(seq, _)| *seq < from).take(limit).copied().collect()
    }

    /// Whether a live message has a seq in the range.
    pub(crate) fn has_any(&self, range: Range<u64>) -> bool {
        let first = self.runs.partition_point(|run| run[run.len() - 1].0 < range.start);
        self.runs.get(first).is_some_and(|run| run[run.partition_point(|(seq, _)| *seq < range.start)].0 < range.end)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u64, MessageLocation)> {
        self.runs.iter().flatten()
    }

    fn find(&self, seq: u64) -> Option<(usize, usize)> {
        let run = self.runs.partition_point(|run| run[run.len() - 1].0 < seq);
        let at = self.runs.get(run)?.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        Some((run, at))
    }
}

/// The most messages in a run. A removal moves half a run on average: 4 KiB.
const RUN: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn locations_behave_like_a_sorted_map(steps in prop::collection::vec((any::<bool>(), 1..4u64, any::<prop::sample::Index>()), 1..2000)) {
            let (mut locations, mut model, mut seq) = (Locations::default(), BTreeMap::new(), 0);
            for (add, gap, pick) in steps {
                if add || model.is_empty() {
                    seq += gap;
                    let entry = MessageLocation { at: Loc { segment: 1, offset: seq as u32, len: 1 }, update: Loc::default() };
                    locations.push(seq, entry);
                    model.insert(seq, entry);
                } else {
                    let victim = *model.keys().nth(pick.index(model.len())).unwrap();
                    prop_assert_eq!(locations.remove(victim), model.remove(&victim));
                    prop_assert_eq!(locations.remove(victim), None);
                }
            }
            prop_assert_eq!(locations.len(), model.len());
            prop_assert!(locations.iter().map(|(seq, entry)| (seq, entry)).eq(model.iter()));
            let from = seq / 2;
            let page: Vec<_> = model.range(from..).take(10).map(|(seq, entry)| (*seq, *entry)).collect();
            prop_assert_eq!(locations.page(from, 10), page);
            for start in 0..=seq + 1 {
                prop_assert_eq!(locations.has_any(start..start + 4), model.range(start..start + 4).next().is_some());
            }
            for seq in 0..=seq {
                prop_assert_eq!(locations.get(seq), model.get(&seq).copied());
            }
        }
    }
}
