//! Blocks as bytes: numbers in groups of seven bits, the low ones first, since most are small.

use crate::{Block, Time, Times};

/// The bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of the tallies cannot be read")]
pub struct Damaged;

impl Block {
    /// The block as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = begin(self.len());
        self.iter().for_each(|(key, cell)| put_cell(&mut out, key, &cell.counts, cell.times()));
        out
    }

    /// The block that these bytes are.
    ///
    /// # Errors
    /// They are none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut block = Self::with_room(room(cells_in(bytes)?, bytes));
        block.add_bytes(bytes, usize::MAX, |_| true)?;
        Ok(block)
    }

    /// Adds the block that these bytes are, each cell at its [`Block::place`].
    ///
    /// # Errors
    /// They are none. A part of them may have been added.
    pub(crate) fn add_bytes(&mut self, mut bytes: &[u8], most: usize, kept: impl Fn(&str) -> bool) -> Result<(), Damaged> {
        let bytes = &mut bytes;
        for _ in 0..take(bytes)? {
            let key = std::str::from_utf8(take_bytes(bytes)?).map_err(|_| Damaged)?;
            let cell = self.place(key, most, &kept);
            add_counts(bytes, &mut cell.counts)?;
            for _ in 0..take(bytes)? {
                let time = usize::try_from(take(bytes)?).ok().filter(|time| *time < Time::ALL.len()).ok_or(Damaged)?;
                add_counts(bytes, &mut cell.times_mut().0[time])?;
            }
        }
        if bytes.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

/// The begin of a block of so many cells; [`put_cell`] adds each.
pub(crate) fn begin(cells: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(cells * 40);
    put(&mut out, cells as u64);
    out
}

/// How many cells a block has.
///
/// # Errors
/// It is none.
pub(crate) fn cells_in(mut block: &[u8]) -> Result<u64, Damaged> {
    take(&mut block)
}

/// Adds a cell.
pub(crate) fn put_cell(out: &mut Vec<u8>, key: &str, counts: &[(u16, u64)], times: Option<&Times>) {
    put_bytes(out, key.as_bytes());
    put_counts(out, counts);
    let measured = times.into_iter().flat_map(|times| times.0.iter().enumerate()).filter(|(_, buckets)| !buckets.is_empty());
    put(out, measured.clone().count() as u64);
    for (time, buckets) in measured {
        put(out, time as u64);
        put_counts(out, buckets);
    }
}

/// Numbers and counts: each number as the distance to the one before.
fn put_counts(out: &mut Vec<u8>, counts: &[(u16, u64)]) {
    put(out, counts.len() as u64);
    let mut before = 0;
    for (number, count) in counts {
        put(out, (number - before).into());
        put(out, *count);
        before = *number;
    }
}

/// Adds numbers and counts to others. Both rise.
fn add_counts(bytes: &mut &[u8], counts: &mut Vec<(u16, u64)>) -> Result<(), Damaged> {
    let length = take(bytes)?;
    if counts.is_empty() {
        counts.reserve_exact(room(length, bytes));
    }
    let (mut number, mut at) = (0_u16, 0);
    for first in std::iter::once(true).chain(std::iter::repeat(false)).take(usize::try_from(length).unwrap_or(usize::MAX)) {
        let (distance, count) = (u16::try_from(take(bytes)?).map_err(|_| Damaged)?, take(bytes)?);
        number = number.checked_add(distance).filter(|_| first || distance > 0).ok_or(Damaged)?;
        while counts.get(at).is_some_and(|(before, _)| *before < number) {
            at += 1;
        }
        match counts.get_mut(at) {
            Some((same, sum)) if *same == number => *sum = sum.saturating_add(count),
            _ => counts.insert(at, (number, count)),
        }
        at += 1;
    }
    Ok(())
}

/// How many there can be, of so many that are said to be: each takes two bytes at least.
fn room(said: u64, bytes: &[u8]) -> usize {
    usize::try_from(said).unwrap_or(usize::MAX).min(bytes.len() / 2)
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    match bytes.split_first() {
        // Most are small.
        Some((small, rest)) if small & 0x80 == 0 => {
            *bytes = rest;
            Ok((*small).into())
        }
        _ => take_large(bytes),
    }
}

fn take_large(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Damaged)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f).checked_shl(shift).ok_or(Damaged)?;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Damaged> {
    let length = usize::try_from(take(bytes)?).map_err(|_| Damaged)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Damaged)?;
    *bytes = rest;
    Ok(taken)
}
