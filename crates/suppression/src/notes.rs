//! The notes in memory about stored entries, in parts: where they would take more than they may, whole parts are given up, and who asks for one of
//! these reads the disk.

use std::{
    array,
    collections::{HashMap, HashSet},
};

use jiff::Timestamp;
use posthaste_mail::Address;

use crate::{Breadth, EntrySource, Reason, SuppressionEntry};

/// An entry in eight bytes: its reason, when it was made (seconds since 1970) and when it expires (minutes, rounded up).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note(u64);

impl Note {
    pub(crate) fn of(entry: &SuppressionEntry) -> Self {
        let reason = Reason::ALL.iter().position(|r| *r == entry.reason).unwrap_or(0) as u64;
        let since = u64::try_from(entry.since.as_second()).unwrap_or(0).min(SINCE_MAX);
        let minutes = |until: Timestamp| u64::try_from(until.as_millisecond()).map_or(0, |ms| ms.div_ceil(60_000).min(FOR_EVER));
        let until = entry.until.map_or(FOR_EVER, minutes);
        Self(reason << 62 | since << 30 | until)
    }

    /// Whether the entry has not expired; up to a minute longer than the entry itself.
    pub(crate) fn holds(self, now: Timestamp) -> bool {
        self.until().is_none_or(|until| until > now)
    }

    fn until(self) -> Option<Timestamp> {
        let minutes = self.0 & FOR_EVER;
        (minutes != FOR_EVER).then(|| Timestamp::from_second(minutes as i64 * 60).unwrap_or(Timestamp::MAX))
    }

    /// The entry without its source, if it has not expired.
    pub(crate) fn entry(self, address: &Address, scope: Breadth, now: Timestamp) -> Option<SuppressionEntry> {
        self.holds(now).then(|| SuppressionEntry {
            address: address.clone(),
            scope,
            reason: Reason::ALL[(self.0 >> 62) as usize],
            since: Timestamp::from_second((self.0 >> 30 & SINCE_MAX) as i64).unwrap_or(Timestamp::UNIX_EPOCH),
            until: self.until(),
            source: EntrySource::default(),
        })
    }
}

/// 32 bits of seconds, to the year 2106.
const SINCE_MAX: u64 = u32::MAX as u64;
/// 30 bits of minutes, to the year 4011.
const FOR_EVER: u64 = (1 << 30) - 1;

/// Notes by the hashes of their keys. Hashes of 64 bits with a secret seed: among ten million entries, one of a million million strangers
/// would be taken for somebody listed.
#[derive(Debug)]
pub(crate) struct Notes {
    /// By the last bits of the hashes; None: given up.
    parts: [Option<HashMap<u64, Note>>; PARTS],
    /// Entries removed while the register is being filled, which may still read them.
    pub(crate) gone: HashSet<u64>,
    /// What the parts take, in bytes.
    taken: u64,
    most: u64,
}

impl Notes {
    /// Notes that take `most` bytes at most, at any moment.
    pub(crate) fn new(most: u64) -> Self {
        Self { parts: array::from_fn(|_| Some(HashMap::new())), gone: HashSet::new(), taken: 0, most }
    }

    /// The note under a hash; None: its part was given up.
    pub(crate) fn get(&self, hash: u64) -> Option<Option<Note>> {
        Some(self.parts[part_of(hash)].as_ref()?.get(&hash).copied())
    }

    /// Sets a note.
    pub(crate) fn set(&mut self, hash: u64, note: Note) {
        if let Some(part) = self.with_room(hash) {
            part.insert(hash, note);
            self.count(hash);
        }
    }

    /// Sets a note unless there is one.
    pub(crate) fn set_missing(&mut self, hash: u64, note: Note) {
        if let Some(part) = self.with_room(hash) {
            part.entry(hash).or_insert(note);
            self.count(hash);
        }
    }

    pub(crate) fn remove(&mut self, hash: u64) {
        if let Some(part) = &mut self.parts[part_of(hash)] {
            part.remove(&hash);
        }
    }

    /// Drops the notes of expired entries.
    pub(crate) fn forget_expired(&mut self, now: Timestamp) {
        self.parts.iter_mut().flatten().for_each(|part| part.retain(|_, note| note.holds(now)));
    }

    /// What the notes take, in bytes.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many parts were given up, of how many.
    pub(crate) fn given_up(&self) -> (usize, usize) {
        (self.parts.iter().filter(|part| part.is_none()).count(), PARTS)
    }

    /// The part that a hash belongs to, with room for one more note. A part that would have to grow beyond the limit, for which it takes its old
    /// room and the new one for a moment, is given up.
    fn with_room(&mut self, hash: u64) -> Option<&mut HashMap<u64, Note>> {
        let slot = &mut self.parts[part_of(hash)];
        let part = slot.as_ref()?;
        let own = bytes_of(part.capacity());
        if part.len() == part.capacity() && self.taken + bytes_of((2 * part.capacity()).max(1)) > self.most {
            *slot = None;
            self.taken -= own;
            return None;
        }
        self.taken -= own;
        slot.as_mut()
    }

    /// Counts again what a part takes.
    fn count(&mut self, hash: u64) {
        self.taken += self.parts[part_of(hash)].as_ref().map_or(0, |part| bytes_of(part.capacity()));
    }
}

fn part_of(hash: u64) -> usize {
    (hash % PARTS as u64) as usize
}

/// What a table for so many notes takes, in bytes: a power of two of buckets, of which seven eighths are used, and a byte of control for each; and
/// what the allocator adds to large blocks and keeps of those that were outgrown, a sixteenth.
fn bytes_of(capacity: usize) -> u64 {
    if capacity == 0 {
        return 0;
    }
    let buckets = (capacity as u64 * 8).div_ceil(7).next_power_of_two();
    let bytes = (buckets * (size_of::<(u64, Note)>() as u64 + 1) + 64) / 16 * 17;
    if bytes < 128 << 10 { bytes } else { bytes.next_multiple_of(4096) + 4096 }
}

/// So many that each grows by little of the whole.
const PARTS: usize = 64;
