//! Blocks as bytes: numbers in groups of seven bits, the low ones first, since most are small.

use sketches_ddsketch::DDSketch;

use crate::{Block, Cell, Time, Times, times::config};

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
            put(&mut out, cell.counts.len() as u64);
            for (number, count) in &cell.counts {
                put(&mut out, (*number).into());
                put(&mut out, *count);
            }
            for time in Time::ALL {
                let sketch = cell.times().and_then(|times| times.0[time as usize].as_ref());
                put_bytes(&mut out, &sketch.map(DDSketch::to_java_bytes).unwrap_or_default());
            }
        }
        out
    }

    /// The block that these bytes are.
    ///
    /// # Errors
    /// They are none.
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Self, Damaged> {
        let mut block = Self::default();
        let bytes = &mut bytes;
        for _ in 0..take(bytes)? {
            let key = std::str::from_utf8(take_bytes(bytes)?).map_err(|_| Damaged)?.into();
            let mut cell = Cell::default();
            for _ in 0..take(bytes)? {
                let number = u16::try_from(take(bytes)?).map_err(|_| Damaged)?;
                if cell.counts.last().is_some_and(|(last, _)| *last >= number) {
                    return Err(Damaged);
                }
                cell.counts.push((number, take(bytes)?));
            }
            let mut times = Times::default();
            for time in Time::ALL {
                times.0[time as usize] = sketch(take_bytes(bytes)?)?;
            }
            cell.times = (!times.is_empty()).then(|| Box::new(times));
            block.0.insert(key, cell);
        }
        if bytes.is_empty() { Ok(block) } else { Err(Damaged) }
    }
}

fn sketch(bytes: &[u8]) -> Result<Option<DDSketch>, Damaged> {
    if bytes.is_empty() {
        return Ok(None);
    }
    // A sketch of another accuracy cannot be added to ours.
    let mut ours = DDSketch::new(config());
    ours.merge(&DDSketch::from_java_bytes(bytes).map_err(|_| Damaged)?).map_err(|_| Damaged)?;
    Ok(Some(ours))
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
