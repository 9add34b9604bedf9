//! How many lines there are in a piece of the log, and of which kinds.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt};

use memchr::{memchr_iter, memrchr};

use crate::record::{event_word, is_ending};

/// Lines, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) lines: u64,
    /// `accepted` lines.
    pub(super) accepted: u64,
    /// Lines that end a recipient.
    pub(super) ended: u64,
}

impl Sums {
    /// Counts whole lines.
    pub(super) fn add(&mut self, lines: &[u8]) {
        let mut start = 0;
        for end in memchr_iter(b'\n', lines) {
            let word = event_word(&lines[start..end]);
            self.lines += 1;
            self.accepted += u64::from(word == Some("accepted"));
            self.ended += u64::from(word.is_some_and(is_ending));
            start = end + 1;
        }
    }

    /// Counts the lines that end in this part of a file.
    pub(super) fn read(file: &File, part: Range<u64>) -> io::Result<Self> {
        let (mut sums, mut piece, mut have, mut at) = (Self::default(), vec![0; BLOCK], 0, part.start);
        while at < part.end {
            if have == piece.len() {
                piece.resize(2 * have, 0);
            }
            let room = (piece.len() - have).min(usize::try_from(part.end - at).unwrap_or(usize::MAX));
            match file.read_at(&mut piece[have..have + room], at)? {
                0 => break,
                n => (have, at) = (have + n, at + n as u64),
            }
            let Some(end) = memrchr(b'\n', &piece[..have]) else { continue };
            sums.add(&piece[..=end]);
            piece.copy_within(end + 1..have, 0);
            have -= end + 1;
        }
        Ok(sums)
    }

    /// What is left after these lines are taken away.
    pub(super) fn without(self, other: Self) -> Self {
        Self {
            lines: self.lines.saturating_sub(other.lines),
            accepted: self.accepted.saturating_sub(other.accepted),
            ended: self.ended.saturating_sub(other.ended),
        }
    }
}

/// Bytes read at once.
const BLOCK: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{encode, samples};

    #[test]
    fn a_file_is_counted_like_its_bytes() {
        let mut bytes = Vec::new();
        for n in 0..900 {
            encode(&samples::event(n, samples::accepted(samples::message_id(1), "a@x.org", 1)), &mut bytes);
            encode(&samples::event(n, samples::deferred(samples::message_id(1), "a@x.org")), &mut bytes);
            encode(&samples::event(n, samples::delivered(samples::message_id(1), "a@x.org")), &mut bytes);
        }
        let mut sums = Sums::default();
        sums.add(&bytes);
        assert_eq!(sums, Sums { lines: 2700, accepted: 900, ended: 900 });
        assert!(bytes.len() > 2 * BLOCK);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), &bytes).unwrap();
        let file = File::open(dir.path().join("x")).unwrap();
        assert_eq!(Sums::read(&file, 0..bytes.len() as u64).unwrap(), sums);
        assert_eq!(Sums::read(&file, 0..bytes.len() as u64 - 1).unwrap().ended, 899);
    }
}
