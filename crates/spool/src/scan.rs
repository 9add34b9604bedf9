//! Reads a segment from front to back in large reads, and finds the next record after damage. A long body is verified piece by piece and never
//! held, so that the memory which a scan needs does not depend on the messages' sizes.

use std::{fs::File, io, os::unix::fs::FileExt};

use memchr::memmem;

use crate::record::{HEADER, MAGIC, RecordHeader, RecordKind};

/// Bytes per read. One large read is an order of magnitude faster than reading from header to header.
const RUN: usize = 2 * 1024 * 1024;
/// Bytes per read of a long body.
const PIECE: usize = 256 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScanItem {
    /// A whole record; [`Scanner::head`] and [`Scanner::tail`] return its parts until the next call.
    Record { at: u64, header: RecordHeader },
    /// A message with a whole head, so that its length is known, and a damaged body. [`Scanner::head`] and [`Scanner::tail`] return its
    /// parts as they are until the next call.
    Broken { at: u64, header: RecordHeader },
    /// Bytes that are no record, up to the next whole record.
    Damage { at: u64, len: u64 },
    /// Bytes without a whole record, from `at` to the end.
    Torn { at: u64, len: u64 },
    /// A record of a format that this version does not know; the character that stands for the format.
    Unknown { at: u64, format: u8 },
}

/// A record's tail: in memory, unless it is a body longer than a read.
#[derive(Clone, Copy)]
pub(crate) enum Tail<'a> {
    InMemory(&'a [u8]),
    /// `len` bytes of the file from offset `at`.
    OnDisk {
        file: &'a File,
        at: u64,
        len: u64,
    },
}

impl Tail<'_> {
    /// Calls `f` with the whole tail, piece by piece.
    pub(crate) fn for_each_piece(self, mut f: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let (file, mut at, mut left) = match self {
            Self::InMemory(bytes) => return f(bytes),
            Self::OnDisk { file, at, len } => (file, at, len),
        };
        let mut piece = vec![0; left.min(PIECE as u64) as usize];
        while left > 0 {
            let piece = &mut piece[..left.min(PIECE as u64) as usize];
            file.read_exact_at(piece, at)?;
            f(piece)?;
            at += piece.len() as u64;
            left -= piece.len() as u64;
        }
        Ok(())
    }

    pub(crate) fn to_vec(self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.for_each_piece(|piece| {
            all.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(all)
    }

    /// Whether the checksum is the one that `header` names.
    fn is_whole(self, header: &RecordHeader) -> io::Result<bool> {
        let mut crc = crc32fast::Hasher::new();
        self.for_each_piece(|piece| {
            crc.update(piece);
            Ok(())
        })?;
        Ok(crc.finalize() == header.tail_crc)
    }
}

pub(crate) struct Scanner {
    file: File,
    salt: u32,
    len: u64,
    position: u64,
    /// The bytes of the file from offset `base`.
    buffer: Vec<u8>,
    base: u64,
    /// Where the head of the record begins in the buffer and where it ends, and how long the tail is.
    record: (usize, usize, u64),
}

impl Scanner {
    pub(crate) fn new(file: File, salt: u32, from: u64, len: u64) -> Self {
        Self { file, salt, len, position: from, buffer: Vec::new(), base: from, record: (0, 0, 0) }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn head(&self) -> &[u8] {
        &self.buffer[self.record.0..self.record.1]
    }

    pub(crate) fn tail(&self) -> Tail<'_> {
        let (_, start, len) = self.record;
        match self.buffer.get(start..start + len as usize) {
            Some(bytes) => Tail::InMemory(bytes),
            None => Tail::OnDisk { file: &self.file, at: self.base + start as u64, len },
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<ScanItem>> {
        if self.position >= self.len {
            return Ok(None);
        }
        let at = self.position;
        if let Some(header) = self.whole_record(at)? {
            self.take(at, &header);
            return Ok(Some(ScanItem::Record { at, header }));
        }
        if let Some(format) = self.unknown_version(at)? {
            // Where it ends is not known.
            self.position = self.len;
            return Ok(Some(ScanItem::Unknown { at, format }));
        }
        let found = self.resynchronise(at)?;
        if let ScanItem::Damage { at, len } | ScanItem::Torn { at, len } = found
            && let Some(header) = self.whole_head(at)?.filter(|header| header.kind == RecordKind::Message && header.record_len() <= len)
        {
            self.take(at, &header);
            return Ok(Some(ScanItem::Broken { at, header }));
        }
        Ok(Some(found))
    }

    fn take(&mut self, at: u64, header: &RecordHeader) {
        self.position = at + header.record_len();
        let start = (at - self.base) as usize + HEADER;
        self.record = (start, start + header.head_len as usize, u64::from(header.tail_len));
    }

    fn resynchronise(&mut self, at: u64) -> io::Result<ScanItem> {
        let finder = memmem::Finder::new(&MAGIC);
        let mut from = at + 1;
        loop {
            self.fill(from, RUN)?;
            let start = from.saturating_sub(self.base) as usize;
            let Some(bytes) = self.buffer.get(start..).filter(|bytes| bytes.len() >= HEADER) else {
                self.position = self.len;
                return Ok(ScanItem::Torn { at, len: self.len - at });
            };
            match finder.find(bytes) {
                Some(hit) => {
                    from += hit as u64;
                    if self.whole_record(from)?.is_some() {
                        self.position = from;
                        return Ok(ScanItem::Damage { at, len: from - at });
                    }
                    from += 1;
                }
                None => from += (bytes.len() - (MAGIC.len() - 1)) as u64,
            }
        }
    }

    fn whole_record(&mut self, at: u64) -> io::Result<Option<RecordHeader>> {
        let Some(header) = self.whole_head(at)? else { return Ok(None) };
        let (head, whole) = (HEADER + header.head_len as usize, header.record_len() as usize);
        let has_body = matches!(header.kind, RecordKind::Message | RecordKind::Damaged | RecordKind::Void);
        if has_body && whole > RUN {
            let tail = Tail::OnDisk { file: &self.file, at: at + head as u64, len: u64::from(header.tail_len) };
            let is_whole = header.kind != RecordKind::Message || tail.is_whole(&header)?;
            return Ok(is_whole.then_some(header));
        }
        self.fill(at, whole)?;
        Ok(Some(header).filter(|header| header.tail_is_whole(&self.bytes(at, whole)[head..])))
    }

    /// The header of a record that lies within the file and whose header and head are whole.
    fn whole_head(&mut self, at: u64) -> io::Result<Option<RecordHeader>> {
        self.fill(at, HEADER)?;
        let Some(header) = RecordHeader::parse(self.bytes(at, HEADER)) else { return Ok(None) };
        if header.record_len() > self.len - at {
            return Ok(None);
        }
        let head = HEADER + header.head_len as usize;
        self.fill(at, head)?;
        Ok(Some(header).filter(|header| header.head_is_whole(self.salt, self.bytes(at, head))))
    }

    fn unknown_version(&mut self, at: u64) -> io::Result<Option<u8>> {
        self.fill(at, RUN)?;
        Ok(RecordHeader::unknown_version(self.salt, self.bytes(at, RUN)))
    }

    fn bytes(&self, at: u64, len: usize) -> &[u8] {
        let start = (at - self.base) as usize;
        &self.buffer[start.min(self.buffer.len())..(start + len).min(self.buffer.len())]
    }

    /// Makes sure that the buffer holds `len` bytes from `at`, as far as the file goes.
    fn fill(&mut self, at: u64, len: usize) -> io::Result<()> {
        let end = (at + len as u64).min(self.len);
        if at >= self.base && end <= self.base + self.buffer.len() as u64 {
            return Ok(());
        }
        let kept = match at.checked_sub(self.base) {
            Some(skip) if skip <= self.buffer.len() as u64 => {
                self.buffer.drain(..skip as usize);
                self.buffer.len()
            }
            _ => {
                self.buffer.clear();
                0
            }
        };
        self.base = at;
        let wanted = (self.len - at).min(len.max(RUN) as u64) as usize;
        if self.buffer.capacity() > 4 * RUN && wanted <= RUN {
            self.buffer.shrink_to(RUN);
        }
        self.buffer.resize(wanted.max(kept), 0);
        self.file.read_exact_at(&mut self.buffer[kept..], at + kept as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::RecordKind;

    fn record(lsn: u64, tail: &[u8], out: &mut Vec<u8>) {
        let header =
            RecordHeader { kind: RecordKind::Put, lsn, seq: 0, head_len: 1, tail_len: tail.len() as u32, tail_crc: crc32fast::hash(tail) };
        header.encode(SALT, &[b"k"], out);
        out.extend_from_slice(tail);
    }

    fn scan(bytes: &[u8]) -> Vec<ScanItem> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let mut scanner = Scanner::new(file, SALT, 0, bytes.len() as u64);
        std::iter::from_fn(|| scanner.next().unwrap()).collect()
    }

    const SALT: u32 = 5;

    #[test]
    fn a_scan_finds_records_longer_than_a_run_and_their_bytes() {
        let (mut bytes, long) = (Vec::new(), vec![7; 3 * RUN]);
        record(1, b"one", &mut bytes);
        record(2, &long, &mut bytes);
        record(3, b"three", &mut bytes);
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let mut scanner = Scanner::new(file, SALT, 0, bytes.len() as u64);
        for tail in [b"one".as_slice(), &long, b"three"] {
            assert!(matches!(scanner.next().unwrap(), Some(ScanItem::Record { .. })));
            assert_eq!(scanner.head(), b"k");
            assert_eq!(scanner.tail().to_vec().unwrap(), tail);
        }
        assert_eq!(scanner.next().unwrap(), None);
    }

    #[test]
    fn a_scan_holds_no_long_body_and_returns_it_all_the_same() {
        let message = |seq: u64, body: &[u8], out: &mut Vec<u8>| {
            let (tail_len, tail_crc) = (body.len() as u32, crc32fast::hash(body));
            RecordHeader { kind: RecordKind::Message, lsn: seq, seq, head_len: 4, tail_len, tail_crc }.encode(SALT, &[b"head"], out);
            out.extend_from_slice(body);
        };
        let (mut bytes, long) = (Vec::new(), vec![7; 9 * RUN]);
        message(1, b"short", &mut bytes);
        message(2, &long, &mut bytes);
        let broken = bytes.len();
        message(3, &long, &mut bytes);
        record(4, b"fact", &mut bytes);
        bytes[broken + 5 * RUN] ^= 1;
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let mut scanner = Scanner::new(file, SALT, 0, bytes.len() as u64);
        let mut found = Vec::new();
        while let Some(item) = scanner.next().unwrap() {
            assert!(scanner.buffer.len() <= RUN, "{} bytes are held", scanner.buffer.len());
            found.push((item, scanner.head().to_vec(), scanner.tail().to_vec().unwrap()));
        }
        assert_eq!(found.iter().map(|(_, head, _)| head.as_slice()).collect::<Vec<_>>(), [b"head".as_slice(), b"head", b"head", b"k"]);
        assert!(matches!(found[2].0, ScanItem::Broken { at, .. } if at == broken as u64));
        let damaged = &bytes[broken + HEADER + 4..broken + HEADER + 4 + long.len()];
        assert_eq!(found.iter().map(|(.., tail)| tail.as_slice()).collect::<Vec<_>>(), [b"short".as_slice(), &long, damaged, b"fact"]);
    }

    proptest! {
        #[test]
        fn damage_costs_the_damaged_record_only(sizes in prop::collection::vec(0..300usize, 3..20), victim in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
            let (mut bytes, mut starts) = (Vec::new(), Vec::new());
            for (n, size) in sizes.iter().enumerate() {
                starts.push(bytes.len());
                record(n as u64, &vec![n as u8; *size], &mut bytes);
            }
            starts.push(bytes.len());
            let victim = victim.index(sizes.len());
            bytes[starts[victim]..starts[victim + 1]][at.index(starts[victim + 1] - starts[victim])] ^= 0x10;
            let (damaged, len) = (starts[victim] as u64, (starts[victim + 1] - starts[victim]) as u64);
            let found = scan(&bytes);
            prop_assert_eq!(found.len(), sizes.len());
            let expected = if victim + 1 == sizes.len() { ScanItem::Torn { at: damaged, len } } else { ScanItem::Damage { at: damaged, len } };
            prop_assert_eq!(&found[victim], &expected);
            let records = found.iter().filter(|found| matches!(found, ScanItem::Record { .. })).count();
            prop_assert_eq!(records, sizes.len() - 1);
        }
    }
}
