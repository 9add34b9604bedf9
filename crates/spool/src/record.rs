//! A record of the log: a 40-byte header, a head (id, meta, key), and a tail (body, value).
//!
//! There are two checksums. That of the header covers the header and the head and starts from the segment's salt, so that bytes in the body
//! of a mail can never pass for a record. The header also holds that of the tail, so that a meta can be verified without its body.

use crc32fast::Hasher;

/// The length of a header in bytes.
pub(crate) const HEADER: usize = 40;
pub(crate) const MAGIC: [u8; 4] = *b"PhR1";

/// The length in bytes of the message id, which begins the head of a message.
pub(crate) const ID: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    /// head: id and meta; tail: body. The message's seq is the record's lsn.
    Message = 1,
    /// head: state.
    Update = 2,
    /// head: the segment that holds the dead message (u32).
    Remove = 3,
    /// head: key; tail: value.
    Put = 4,
    /// head: key.
    Delete = 5,
    /// A record that was voided in place, or damage that was copied to the quarantine; the tail is not verified.
    Void = 6,
    /// A message whose body is damaged; head as for [`Self::Message`]. The tail is kept as it was found, and is not verified.
    Damaged = 7,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Message, Self::Update, Self::Remove, Self::Put, Self::Delete, Self::Void, Self::Damaged]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// The location of a record. Segment 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub(crate) struct Loc {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl Loc {
    pub(crate) fn is_some(self) -> bool {
        self.segment != 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: RecordKind,
    /// Log sequence number: rises with every new record; a copy made by compaction keeps it. The highest wins.
    pub(crate) lsn: u64,
    /// The message concerned; 0 for keyed facts.
    pub(crate) seq: u64,
    pub(crate) head_len: u32,
    pub(crate) tail_len: u32,
    pub(crate) tail_crc: u32,
}

impl RecordHeader {
    pub(crate) fn record_len(&self) -> u64 {
        HEADER as u64 + u64::from(self.head_len) + u64::from(self.tail_len)
    }

    /// Appends header and head; the parts of `head` have `head_len` bytes together.
    pub(crate) fn encode(&self, salt: u32, head: &[&[u8]], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        out.extend_from_slice(&self.lsn.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.head_len.to_le_bytes());
        out.extend_from_slice(&self.tail_len.to_le_bytes());
        out.extend_from_slice(&self.tail_crc.to_le_bytes());
        let mut crc = Hasher::new_with_initial(salt);
        crc.update(&out[start..]);
        head.iter().for_each(|part| crc.update(part));
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        head.iter().for_each(|part| out.extend_from_slice(part));
    }

    /// The header of the same message once its body is known to be damaged.
    pub(crate) fn damaged(self) -> Self {
        Self { kind: RecordKind::Damaged, ..self }
    }

    /// Parses a header; verifies only magic and kind.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        if bytes[..4] != MAGIC {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let (lsn, seq, head_len, tail_len, tail_crc) = (long(8), long(16), word(24), word(28), word(32));
        Some(Self { kind: RecordKind::from_byte(bytes[4])?, lsn, seq, head_len, tail_len, tail_crc })
    }

    /// Whether the checksum of header and head (the first bytes of `record`) is right.
    pub(crate) fn head_is_whole(&self, salt: u32, record: &[u8]) -> bool {
        let Some(head) = record.get(HEADER..HEADER + self.head_len as usize) else { return false };
        let mut crc = Hasher::new_with_initial(salt);
        crc.update(&record[..HEADER - 4]);
        crc.update(head);
        crc.finalize().to_le_bytes() == record[HEADER - 4..HEADER]
    }

    /// Where the head of the record that these bytes begin with ends, whatever its version and kind are.
    pub(crate) fn head_end(bytes: &[u8]) -> usize {
        let head_len = bytes.get(24..28).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes);
        HEADER.saturating_add(head_len as usize)
    }

    /// Whether a version that this one does not know wrote these bytes, which stand where a record must begin: its letters are right, and what
    /// follows is neither a format and kind of ours nor what a flipped bit leaves of them. Returns the format's character.
    pub(crate) fn unknown_version(salt: u32, bytes: &[u8]) -> Option<u8> {
        let version = *bytes.strip_prefix(&MAGIC[..3])?.first().filter(|version| version.is_ascii_digit())?;
        let mut known = bytes.to_vec();
        known[3] = MAGIC[3];
        let is_whole = |bytes: &[u8]| Self::parse(bytes).is_some_and(|header| header.head_is_whole(salt, bytes));
        if version != MAGIC[3] {
            let flipped = (version ^ MAGIC[3]).is_power_of_two();
            return (!(flipped && is_whole(&known))).then_some(version);
        }
        // A record of our format and of a kind that is not ours has the right checksum all the same.
        let kind = known.get_mut(4).filter(|kind| RecordKind::from_byte(**kind).is_none())?;
        let (unknown, ours) = (*kind, RecordKind::Void as u8);
        *kind = ours;
        let header = Self::parse(&known)?;
        known[4] = unknown;
        header.head_is_whole(salt, &known).then_some(version)
    }

    /// Whether the checksum of the tail is right.
    pub(crate) fn tail_is_whole(&self, tail: &[u8]) -> bool {
        matches!(self.kind, RecordKind::Void | RecordKind::Damaged)
            || (tail.len() == self.tail_len as usize && crc32fast::hash(tail) == self.tail_crc)
    }

    /// The header that voids `len` bytes at once.
    pub(crate) fn void(len: u64) -> Self {
        let tail_len = u32::try_from(len - HEADER as u64).expect("a record is shorter than 4 GiB");
        Self { kind: RecordKind::Void, lsn: 0, seq: 0, head_len: 0, tail_len, tail_crc: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_only_with_its_salt_and_bytes() {
        let header = RecordHeader { kind: RecordKind::Put, lsn: 7, seq: 0, head_len: 5, tail_len: 3, tail_crc: crc32fast::hash(b"abc") };
        let mut bytes = Vec::new();
        header.encode(9, &[b"ke", b"y12"], &mut bytes);
        assert_eq!(RecordHeader::parse(&bytes), Some(header));
        assert!(header.head_is_whole(9, &bytes));
        assert!(!header.head_is_whole(8, &bytes));
        assert!(header.tail_is_whole(b"abc") && !header.tail_is_whole(b"abd"));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(!RecordHeader::parse(&damaged).is_some_and(|header| header.head_is_whole(9, &damaged)), "byte {at}");
        }
    }
}
