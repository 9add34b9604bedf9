//! The cells of one span and one dimension.

use indexmap::IndexMap;

use crate::Cell;

/// The key under which is counted what has no place of its own.
pub const OTHER: &str = "other";

/// The cells of one span and one dimension, by key, in the order in which the keys came.
#[derive(Clone, Debug, Default)]
pub struct Block(pub(crate) IndexMap<Box<str>, Cell, foldhash::fast::RandomState>);

impl Block {
    /// Nothing yet, with room for so many cells.
    pub(crate) fn with_room(cells: usize) -> Self {
        Self(IndexMap::with_capacity_and_hasher(cells, foldhash::fast::RandomState::default()))
    }

    /// The cell of a key.
    pub fn get(&self, key: &str) -> Option<&Cell> {
        self.0.get(key)
    }

    /// All keys and cells.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.0.iter().map(|(key, cell)| (&**key, cell))
    }

    /// The keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The cell of a key, to add to.
    pub fn cell(&mut self, key: &str) -> &mut Cell {
        // Most keys are there: they are hashed once.
        let at = self.0.get_index_of(key).unwrap_or_else(|| self.0.insert_full(key.into(), Cell::default()).0);
        &mut self.0[at]
    }

    /// Adds a block. Keys that are `kept` get a cell of their own; others do if they come while there are fewer than `most`, and then all share
    /// one.
    pub(crate) fn merge(&mut self, other: &Self, most: usize, kept: impl Fn(&str) -> bool) {
        for (key, cell) in &other.0 {
            let same = self.0.get_index_of(key);
            if same.is_none() && self.0.len() >= most && !kept(key) {
                self.cell(OTHER).merge(cell);
                continue;
            }
            let at = same.unwrap_or_else(|| self.0.insert_full(key.clone(), Cell::default()).0);
            self.0[at].merge(cell);
        }
    }

    /// The same block with all keys that are not `wanted` as one, [`OTHER`].
    pub fn folded(self, wanted: impl Fn(&str) -> bool) -> Self {
        let mut folded = Self::default();
        for (key, cell) in self.0 {
            folded.cell(if wanted(&key) { &key } else { OTHER }).merge(&cell);
        }
        folded
    }

    /// Adds all of a block, each key for itself.
    pub(crate) fn merge_all(&mut self, other: &Self) {
        self.merge(other, usize::MAX, |_| true);
    }

    /// Keeps the keys that are `kept` and of the others those with the most behind them, and counts the rest as [`OTHER`]. Returns whether there
    /// was a rest.
    pub(crate) fn keep_largest(&mut self, most: usize, kept: impl Fn(&str) -> bool) -> bool {
        if self.0.len() <= most {
            return false;
        }
        let mut own = 0;
        let mut ranked: Vec<(u64, &str, usize)> = Vec::new();
        for (at, (key, cell)) in self.iter().enumerate().filter(|(_, (key, _))| *key != OTHER) {
            if kept(key) { own += 1 } else { ranked.push((cell.weight(), key, at)) }
        }
        ranked.sort_unstable_by(|(weight, key, _), (other_weight, other, _)| other_weight.cmp(weight).then_with(|| key.cmp(other)));
        // The one place that is left is that of the rest.
        let lost = ranked.get(most.saturating_sub(own + 1)..).unwrap_or_default();
        if lost.is_empty() {
            return false;
        }
        let mut stays = vec![true; self.len()];
        lost.iter().for_each(|(.., at)| stays[*at] = false);
        let (mut rest, mut stays) = (Cell::default(), stays.into_iter());
        // The order of the others stays.
        self.0.retain(|_, cell| {
            let stays = stays.next().unwrap_or(true);
            if !stays {
                rest.merge(cell);
            }
            stays
        });
        self.cell(OTHER).merge(&rest);
        true
    }
}

/// Blocks are equal if they have the same keys with equal cells.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.iter().all(|(key, cell)| other.get(key) == Some(cell))
    }
}
