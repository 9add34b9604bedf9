//! The formats of the spool's files. Each begins with letters and a digit. A file with a later digit is refused before anything is touched:
//! an unknown format is no damage.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use crate::{
    OpenError,
    record::{self, HEADER, RecordHeader},
    segment::{self, START, SegmentName},
};

/// The letters before the digit, and the newest digit that this version knows.
struct Format {
    letters: &'static [u8],
    known: u8,
}

const SEGMENT: Format = Format { letters: b"PHSPOOL", known: 1 };
const RECORD: Format = Format { letters: b"PhR", known: 1 };
const CHECKPOINT: Format = Format { letters: b"PHCLEAN", known: 1 };

impl Format {
    /// The number of a later format than this version knows.
    fn later(&self, bytes: &[u8]) -> Option<u32> {
        let digit = bytes.strip_prefix(self.letters)?.first().filter(|digit| digit.is_ascii_digit())? - b'0';
        (digit > self.known).then_some(u32::from(digit))
    }

    fn refused(&self, path: &Path, found: u32) -> OpenError {
        OpenError::Newer { path: path.to_owned(), found, known: u32::from(self.known) }
    }
}

/// Refuses a spool that a later version wrote.
pub(crate) fn check(dir: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, source: io::Error| OpenError::Io { path: path.to_owned(), source };
    let clean = dir.join("clean");
    match beginning(&clean, 8) {
        // With the right checksum the digit is no flipped bit.
        Ok(bytes) => {
            if let Some(found) = CHECKPOINT.later(&bytes)
                && ends_in_checksum(&fs::read(&clean).map_err(|error| failed(&clean, error))?)
            {
                return Err(CHECKPOINT.refused(&clean, found));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&clean, error)),
    }
    let log = dir.join("log");
    let segments = segment::list(&log).map_err(|error| failed(&log, error))?.segments;
    let (mut later, mut others) = (Vec::new(), 0);
    for (name, _) in segments {
        let path = name.path(&log);
        match later_segment(name, &path).map_err(|error| failed(&path, error))? {
            Some((found, sure)) => later.push((path, found, sure)),
            None => others += 1,
        }
    }
    let refused = later.iter().find(|(.., sure)| *sure).or_else(|| later.first().filter(|_| others == 0 || later.len() > 1));
    refused.map_or(Ok(()), |(path, found, _)| Err(SEGMENT.refused(path, *found)))
}

/// The later format of a segment, and whether it cannot be a flipped bit: then the segment would be whole with the digit that is known.
fn later_segment(name: SegmentName, path: &Path) -> io::Result<Option<(u32, bool)>> {
    let bytes = beginning(path, START + HEADER as u64)?;
    if let Some(found) = SEGMENT.later(&bytes) {
        let mut known = bytes.clone();
        known[SEGMENT.letters.len()] = b'0' + SEGMENT.known;
        return Ok(Some((found, segment::floor(name, &known).is_none())));
    }
    let Some(found) = bytes.get(START as usize..).and_then(|record| RECORD.later(record)) else { return Ok(None) };
    let mut known = bytes[START as usize..].to_vec();
    known[..4].copy_from_slice(&record::MAGIC);
    // Without its head a record's checksum cannot be verified; a known kind and a length that fits are what a flipped bit leaves.
    Ok(Some((found, RecordHeader::parse(&known).is_none())))
}

/// The first bytes of a file, as far as there are any.
fn beginning(path: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn ends_in_checksum(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(bytes, crc)| crc32fast::hash(bytes).to_le_bytes() == *crc)
}
