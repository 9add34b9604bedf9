//! The cells of what was read and is not saved yet. They are many and short-lived, so they are small: a key is numbers, and what a line counts as
//! is one number for all lines of its kind.

use foldhash::fast::RandomState;
use indexmap::{IndexMap, IndexSet, map::Entry};

use crate::{Cell, Count, Counter, Dimension, PAIR, Times, encoding};

/// Texts by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(IndexSet<Box<str>, RandomState>);

impl Names {
    /// The number of a text, from now on if it is new.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        numbered(self.0.get_index_of(text).unwrap_or_else(|| self.0.insert_full(text.into()).0))
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        &self.0[number as usize]
    }
}

/// What lines count as, by number: a kind is all that its lines count as, once each. Bytes are counted beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds(IndexMap<Box<[Count]>, Box<[Count]>, RandomState>);

impl Kinds {
    /// The number of the kind of lines that count as these.
    pub(crate) fn number(&mut self, counts: &[Count]) -> u32 {
        let rising = || {
            let mut rising: Box<[Count]> = counts.into();
            rising.sort_unstable();
            rising
        };
        numbered(self.0.get_index_of(counts).unwrap_or_else(|| self.0.insert_full(counts.into(), rising()).0))
    }

    /// Its counts, rising.
    fn counts(&self, number: u32) -> &[Count] {
        &self.0[number as usize]
    }
}

/// A cell's place: in which row and dimension, and its key. Pairs have a second half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CellKey {
    pub(crate) row: u32,
    pub(crate) dimension: Dimension,
    pub(crate) first: u32,
    pub(crate) second: Option<u32>,
}

/// Some lines of one kind.
#[derive(Clone, Copy, Debug)]
struct Part {
    kind: u32,
    /// Where the cell's next part is; NONE: there is none.
    next: u32,
    lines: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Sum {
    /// Most cells are about lines of one kind.
    first: Part,
    /// Where its times are; NONE: nothing was measured.
    times: u32,
}

const NONE: u32 = u32::MAX;

/// Cells of many rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    sums: IndexMap<CellKey, Sum, RandomState>,
    parts: Vec<Part>,
    times: Vec<Times>,
}

/// By row and dimension: where its cells are, in the order in which they came.
pub(crate) type Rows = Vec<[Vec<u32>; Dimension::ALL.len()]>;

/// Cells as they are saved.
pub(crate) struct Encoded {
    pub(crate) dimension: Dimension,
    pub(crate) cells: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Cells {
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Counts lines of a kind, and returns where their cell is.
    pub(crate) fn add(&mut self, key: CellKey, kind: u32, lines: u64, bytes: u64) -> usize {
        let part = Part { kind, next: NONE, lines, bytes };
        let (at, sum) = match self.sums.entry(key) {
            Entry::Vacant(place) => {
                let at = place.index();
                place.insert(Sum { first: part, times: NONE });
                return at;
            }
            Entry::Occupied(place) => (place.index(), place.into_mut()),
        };
        let (new, mut place) = (numbered(self.parts.len()), None);
        loop {
            let same = place.map_or(&mut sum.first, |place: u32| &mut self.parts[place as usize]);
            if same.kind == kind {
                same.lines = same.lines.saturating_add(lines);
                same.bytes = same.bytes.saturating_add(bytes);
                return at;
            }
            if same.next == NONE {
                same.next = new;
                self.parts.push(part);
                return at;
            }
            place = Some(same.next);
        }
    }

    /// A cell's times, to add to.
    pub(crate) fn times_mut(&mut self, at: usize) -> &mut Times {
        let sum = &mut self.sums[at];
        if sum.times == NONE {
            sum.times = numbered(self.times.len());
            self.times.push(Times::default());
        }
        &mut self.times[sum.times as usize]
    }

    /// Where the cells of each of so many rows are.
    pub(crate) fn rows(&self, rows: usize) -> Rows {
        let mut places = Rows::new();
        places.resize_with(rows, Default::default);
        for (at, key) in (0..).zip(self.sums.keys()) {
            places[key.row as usize][key.dimension as usize].push(at);
        }
        places
    }

    /// The keys, each with where its cell is.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (u32, &CellKey)> {
        (0..).zip(self.sums.keys())
    }

    /// Adds a cell of others to the row `row`, without its times, and returns where.
    pub(crate) fn merge_counts(&mut self, row: u32, others: &Self, at: u32) -> usize {
        let (key, sum) = others.sums.get_index(at as usize).expect("it is among them");
        let (mut mine, key) = (0, CellKey { row, ..*key });
        for part in others.parts(sum) {
            mine = self.add(key, part.kind, part.lines, part.bytes);
        }
        mine
    }

    /// Adds a cell of others to the row `row`.
    pub(crate) fn merge(&mut self, row: u32, others: &Self, at: u32) {
        let mine = self.merge_counts(row, others, at);
        if let Some(times) = others.times(&others.sums[at as usize]) {
            self.times_mut(mine).merge(times);
        }
    }

    /// The cells of a row as they are saved.
    pub(crate) fn encoded<'a>(
        &'a self,
        row: &'a [Vec<u32>; Dimension::ALL.len()],
        names: &'a Names,
        kinds: &'a Kinds,
    ) -> impl Iterator<Item = Encoded> + 'a {
        let (mut text, mut counts) = (String::new(), Cell::default());
        let filled = Dimension::ALL.iter().zip(row).filter(|(_, places)| !places.is_empty());
        filled.map(move |(dimension, places)| {
            let mut bytes = encoding::begin(places.len());
            for at in places {
                let (key, sum) = self.sums.get_index(*at as usize).expect("it is there");
                text.clear();
                text.push_str(names.text(key.first));
                if let Some(second) = key.second {
                    text.push(PAIR);
                    text.push_str(names.text(second));
                }
                self.count(sum, kinds, &mut counts);
                encoding::put_cell(&mut bytes, &text, &counts.counts, self.times(sum));
            }
            Encoded { dimension: *dimension, cells: places.len(), bytes }
        })
    }

    fn count(&self, sum: &Sum, kinds: &Kinds, counts: &mut Cell) {
        counts.counts.clear();
        for part in self.parts(sum) {
            let kind = kinds.counts(part.kind);
            if counts.counts.is_empty() {
                counts.counts.extend(kind.iter().map(|count| (count.0, part.lines)));
            } else {
                kind.iter().for_each(|count| counts.add(*count, part.lines));
            }
            counts.add(Counter::BytesDelivered, part.bytes);
        }
    }

    fn parts(&self, sum: &Sum) -> impl Iterator<Item = Part> {
        std::iter::successors(Some(sum.first), |part| self.parts.get(part.next as usize).copied())
    }

    fn times(&self, sum: &Sum) -> Option<&Times> {
        self.times.get(sum.times as usize)
    }
}

/// There are never so many: what is not saved yet is bounded.
fn numbered(at: usize) -> u32 {
    u32::try_from(at).expect("fewer than 2^32")
}
