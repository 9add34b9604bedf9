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

    /// The cell to which what has a key is added, where only so many have one of their own: keys that are `kept` do, others do if they come while
    /// there are fewer than `most`, and then all share one.
    pub(crate) fn place(&mut self, key: &str, most: usize, kept: impl Fn(&str) -> bool) -> &mut Cell {
        let at = match self.0.get_index_of(key) {
            Some(same) => same,
            None if self.0.len() >= most && !kept(key) => return self.cell(OTHER),
            None => self.0.insert_full(key.into(), Cell::default()).0,
        };
        &mut self.0[at]
    }

    /// The same block with all keys that are not `wanted` as one, [`OTHER`].
    pub fn folded(self, wanted: impl Fn(&str) -> bool) -> Self {
        let mut folded = Self::default();
        for (key, cell) in self.0 {
            folded.cell(if wanted(&key) { &key } else { OTHER }).merge(&cell);
        }
        folded
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
        // The one place that is left is that of the rest.
        let places = most.saturating_sub(own + 1);
        if ranked.len() <= places {
            return false;
        }
        let larger = |(weight, key, _): &(u64, &str, usize), (other_weight, other, _): &(u64, &str, usize)| {
            other_weight.cmp(weight).then_with(|| key.cmp(other))
        };
        ranked.select_nth_unstable_by(places, larger);
        let lost = &ranked[places..];
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
