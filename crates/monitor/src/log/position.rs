//! A position in the log that stays valid through renames: a file and an offset.

use std::{fmt, fs::File, hash::Hasher as _, io, os::unix::fs::FileExt, str::FromStr};

use fnv::FnvHasher;
use memchr::memchr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One file of the log, identified by its first line (which holds an id that no other line has), whatever the file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId(u64);

/// A position between two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The file.
    pub file: FileId,
    /// Bytes from the start of the file; after a line end.
    pub offset: u64,
}

/// How many bytes of the first line make the identity. The line's id is in its first hundred bytes.
const HEAD: usize = 512;

impl FileId {
    /// The identity of the file that begins with `head`; None until its first line is complete.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        let line = match memchr(b'\n', &head[..head.len().min(HEAD)]) {
            Some(end) => &head[..end],
            None if head.len() >= HEAD => &head[..HEAD],
            None => return None,
        };
        // FNV-1a: positions are kept on disk, so the hash has to be the same in every build.
        let mut sum = FnvHasher::default();
        sum.write(line);
        Some(Self(sum.finish()))
    }

    pub(crate) fn read(file: &File) -> io::Result<Option<Self>> {
        let (mut head, mut have) = ([0; HEAD], 0);
        while have < HEAD {
            match file.read_at(&mut head[have..], have as u64)? {
                0 => break,
                n => have += n,
            }
        }
        Ok(Self::of(&head[..have]))
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for FileId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

// As text: not every JSON implementation keeps 64-bit numbers exactly.
impl Serialize for FileId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of file {}", self.offset, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_no_identity_before_its_first_line_is_whole() {
        assert_eq!(FileId::of(b""), None);
        assert_eq!(FileId::of(b"{\"time\""), None);
        assert_eq!(FileId::of(b"{}\nmore"), FileId::of(b"{}\n"));
        assert_ne!(FileId::of(b"{}\n"), FileId::of(b"[]\n"));
        let id = FileId::of(&[b'x'; HEAD]).unwrap();
        assert_eq!(Some(id), FileId::of(&[b'x'; 2 * HEAD]));
        // As FNV's authors publish it: positions from before are on disks.
        assert_eq!(FileId::of(b"a\n"), Some(FileId(0xaf63_dc4c_8601_ec8c)));
        assert_eq!(serde_json::from_str::<FileId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
