//! Blocks as bytes: numbers in groups of seven bits, the low ones first, since most are small.

use crate::{Block, Cell, Time};

/// The bytes are no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of the tallies cannot be read")]
pub struct Damaged;

impl Block {
    /// The block as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() * 40);
        put(&mut out, self.len() as u64);
        for (key, cell) in self.iter() {
            put_bytes(&mut out, key.as_bytes());
            put_counts(&mut out, &cell.counts);
            let measured = cell.times().into_iter().flat_map(|times| times.0.iter().enumerate()).filter(|(_, buckets)| !buckets.is_empty());
            put(&mut out, measured.clone().count() as u64);
            for (time, buckets) in measured {
                put(&mut out, time as u64);
                put_counts(&mut out, buckets);
            }
        }
        out
    }

    /// The block that these bytes are.
    ///
    /// # Errors
    /// They are none.
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Self, Damaged> {
        let bytes = &mut bytes;
        let cells = take(bytes)?;
        let mut block = Self::with_room(room(cells, bytes));
        for _ in 0..cells {
            let key = std::str::from_utf8(take_bytes(bytes)?).map_err(|_| Damaged)?.into();
            let mut cell = Cell { counts: take_counts(bytes)?, times: None };
            for _ in 0..take(bytes)? {
                let time = usize::try_from(take(bytes)?).ok().filter(|time| *time < Time::ALL.len()).ok_or(Damaged)?;
                cell.times_mut().0[time] = take_counts(bytes)?;
            }
            block.0.insert(key, cell);
        }
        if bytes.is_empty() { Ok(block) } else { Err(Damaged) }
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

fn take_counts(bytes: &mut &[u8]) -> Result<Vec<(u16, u64)>, Damaged> {
    let length = take(bytes)?;
    let mut counts: Vec<(u16, u64)> = Vec::with_capacity(room(length, bytes));
    for _ in 0..length {
        let (distance, count) = (u16::try_from(take(bytes)?).map_err(|_| Damaged)?, take(bytes)?);
        let number = match counts.last() {
            Some((before, _)) if distance > 0 => before.checked_add(distance).ok_or(Damaged)?,
            Some(_) => return Err(Damaged),
            None => distance,
        };
        counts.push((number, count));
    }
    Ok(counts)
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
