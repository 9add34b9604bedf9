//! The list of segments, in the file `segments`: one line for each that was begun (`+ID FLOOR`, where FLOOR is the lowest number that a new
//! record in it can have) and for each that was deleted (`-ID`), each with its CRC-32 in hexadecimal at its end. A segment that is listed and not
//! there is missing. The first lists had no sums; in others a line without one is somebody else's.
//!
//! A line about a deletion that a crash or a full disk cuts off makes an emptied segment look as if it were missing: a false alarm, which is
//! better than none.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::disk::{Disk, sync_dir};

/// The segments that there should be: each one's floor by its number.
pub(crate) struct Manifest {
    path: PathBuf,
    segments: BTreeMap<u32, u64>,
    /// Lines that make no sense to this version. They are kept.
    unknown: Vec<Vec<u8>>,
}

impl Manifest {
    /// Reads the list. Lines that make no sense are kept as they are, unless a crash has cut them off.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (mut segments, mut unknown) = (BTreeMap::new(), Vec::new());
        let lines = || bytes.split(|byte| *byte == b'\n');
        let has_sums = lines().any(|line| unsummed(line).is_some());
        for line in lines() {
            match ListLine::of(line, has_sums) {
                ListLine::Begun(id, floor) => drop(segments.insert(id, floor)),
                ListLine::Deleted(id) => drop(segments.remove(&id)),
                ListLine::Torn => {}
                ListLine::Unknown => unknown.push(line.to_vec()),
            }
        }
        if !unknown.is_empty() {
            tracing::warn!(lines = unknown.len(), path = %path.display(), "lines that make no sense to this posthaste are kept as they are");
        }
        Ok(Self { path, segments, unknown })
    }

    /// The segments that are listed and not among these, each with the lowest number that its messages can have and the lowest of the next
    /// segment's.
    pub(crate) fn missing(&self, there: impl Fn(u32) -> bool) -> Vec<(u32, u64, Option<u64>)> {
        let next = |id: u32| self.segments.range(id + 1..).next().map(|(_, floor)| *floor);
        self.segments.iter().filter(|(id, _)| !there(**id)).map(|(id, floor)| (*id, *floor, next(*id))).collect()
    }

    /// The highest number that is listed.
    pub(crate) fn highest(&self) -> Option<u32> {
        self.segments.last_key_value().map(|(id, _)| *id)
    }

    /// The floor of a segment; 0 if it is not listed.
    pub(crate) fn floor(&self, id: u32) -> u64 {
        self.segments.get(&id).copied().unwrap_or(0)
    }

    /// Replaces the list by these segments.
    pub(crate) fn replace(&mut self, segments: BTreeMap<u32, u64>) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let mut file = File::create(&temporary)?;
        let lines: String = segments.iter().map(|(id, floor)| summed(&format!("+{id} {floor}"))).collect();
        for line in &self.unknown {
            file.write_all(line)?;
            file.write_all(b"\n")?;
        }
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        self.segments = segments;
        Ok(())
    }

    /// Adds a segment that was begun, durably. A list that has grown long is written anew.
    pub(crate) fn begun(&mut self, id: u32, floor: u64, disk: &dyn Disk) -> io::Result<()> {
        let kept: usize = self.unknown.iter().map(|line| line.len() + 1).sum();
        if fs::metadata(&self.path).is_ok_and(|file| file.len() > LENGTH_MAX + kept as u64) {
            let mut segments = self.segments.clone();
            segments.insert(id, floor);
            return self.replace(segments);
        }
        self.append(&summed(&format!("+{id} {floor}")), disk)?;
        self.segments.insert(id, floor);
        Ok(())
    }

    /// Notes that segments are about to be deleted, durably.
    pub(crate) fn deleted(&mut self, ids: &[u32], disk: &dyn Disk) -> io::Result<()> {
        self.segments.retain(|id, _| !ids.contains(id));
        self.append(&ids.iter().map(|id| summed(&format!("-{id}"))).collect::<String>(), disk)
    }

    fn append(&self, lines: &str, disk: &dyn Disk) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
        let end = file.metadata()?.len();
        // A torn line before it ends here.
        disk.write_at(&file, format!("\n{lines}").as_bytes(), end)?;
        disk.sync(&file)
    }
}

/// A line of the list.
enum ListLine {
    Begun(u32, u64),
    Deleted(u32),
    /// Nothing, or the beginning of another line.
    Torn,
    Unknown,
}

impl ListLine {
    /// Reads a line, in a list whose lines have sums or not.
    fn of(line: &[u8], has_sums: bool) -> Self {
        let bare = if has_sums { unsummed(line) } else { Some(line) };
        let text = bare.and_then(|line| std::str::from_utf8(line).ok());
        let begun = || {
            let (id, floor) = text?.strip_prefix('+')?.split_once(' ')?;
            Some(Self::Begun(id.parse().ok()?, floor.parse().ok()?))
        };
        let deleted = || Some(Self::Deleted(text?.strip_prefix('-')?.parse().ok()?));
        let is_torn = || match line.split_first() {
            None | Some((b'+' | b'-', [])) => true,
            // The beginning of a line, or what no version of ours wrote.
            Some((b'+' | b'-', rest)) if has_sums => rest.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b' '),
            Some((b'+', rest)) => rest.strip_suffix(b" ").unwrap_or(rest).iter().all(u8::is_ascii_digit),
            _ => false,
        };
        begun().or_else(deleted).unwrap_or_else(|| if is_torn() { Self::Torn } else { Self::Unknown })
    }
}

/// A line with its sum.
fn summed(line: &str) -> String {
    format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes()))
}

/// The line without its sum; None if it has none, or another one.
fn unsummed(line: &[u8]) -> Option<&[u8]> {
    let (line, sum) = line.split_at_checked(line.len().checked_sub(8)?)?;
    let line = line.strip_suffix(b" ")?;
    (format!("{:08x}", crc32fast::hash(line)).as_bytes() == sum).then_some(line)
}

const NAME: &str = "segments";
/// Bytes of the list after which it is written anew: thousands of segments have come and gone by then.
const LENGTH_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn lines_of_a_later_version_are_kept_and_torn_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let unknown: [&[u8]; 4] = [b"v2 checksummed", b"+3 70 sealed", b"=9", b"\xff\xfe"];
        let mut text = b"+1 1\n+2 40\n+\n+7\n+7 \n-\n".to_vec();
        unknown.iter().for_each(|line| text.extend([line, b"\n".as_slice()].concat()));
        fs::write(&path, text).unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!(manifest.segments, BTreeMap::from([(1, 1), (2, 40)]));
        manifest.replace(BTreeMap::from([(2, 40)])).unwrap();
        let kept = [unknown.join(b"\n".as_slice()), b"\n+2 40 8faf5c99\n".to_vec()].concat();
        assert_eq!(fs::read(&path).unwrap(), kept);
        let again = Manifest::read(dir.path()).unwrap();
        assert_eq!((again.segments, again.unknown.len()), (manifest.segments, 4));
    }

    #[test]
    fn a_line_that_somebody_else_wrote_is_no_segment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut manifest = Manifest::read(dir.path()).unwrap();
        manifest.replace(BTreeMap::from([(1, 1), (2, 40)])).unwrap();
        let whole = fs::read(&path).unwrap();
        for stray in ["+99 1\n", "-2\n", "+2 41 00000000\n", "+3 70 1"] {
            fs::write(&path, [&whole, stray.as_bytes()].concat()).unwrap();
            let read = Manifest::read(dir.path()).unwrap();
            assert_eq!((read.segments, read.unknown.len()), (manifest.segments.clone(), 0), "{stray}");
        }
    }

    #[test]
    fn what_was_begun_and_not_deleted_is_missing_if_it_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        manifest.replace(BTreeMap::from([(1, 1)])).unwrap();
        manifest.begun(2, 40, &RealDisk).unwrap();
        manifest.begun(3, 90, &RealDisk).unwrap();
        manifest.deleted(&[1], &RealDisk).unwrap();
        fs::write(dir.path().join(NAME), [fs::read(dir.path().join(NAME)).unwrap(), b"+4 1".to_vec()].concat()).unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!(manifest.missing(|id| id == 3 || id == 4), [(2, 40, Some(90))]);
        manifest.begun(5, 100, &RealDisk).unwrap();
        let listed = || Manifest::read(dir.path()).unwrap().segments;
        let before = listed();
        for id in 6..5_000 {
            manifest.begun(id, u64::from(id) * 50, &RealDisk).unwrap();
            manifest.deleted(&[id], &RealDisk).unwrap();
            assert!(fs::metadata(dir.path().join(NAME)).unwrap().len() <= LENGTH_MAX + 60, "{id}");
        }
        assert_eq!(listed(), before, "a list that was written anew says the same");
        assert_eq!(Manifest::read(dir.path()).unwrap().missing(|id| id < 5), [(5, 100, None)], "a torn line does not spoil the next");
    }
}
