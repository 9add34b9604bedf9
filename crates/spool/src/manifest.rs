//! The list of segments, in the file `segments`: one line for each that was begun (`+ID FLOOR`, where FLOOR is the lowest number that a new
//! record in it can have) and for each that was deleted (`-ID`), each with its CRC-32 in hexadecimal at its end. A list that is written anew says
//! `=ID N` behind the first N of these: of the segments up to that one, those that are not among them were deleted. A segment that is listed and
//! not there is missing. The first lists had no sums; in others a line without one is somebody else's.
//!
//! The file `segments.twin` says the same. What one of them says was begun or deleted was, so that a list that somebody cuts, removes or replaces by
//! an older copy neither hides a missing segment nor makes a deleted one look as if it were missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::disk::{Disk, sync_dir};

/// The segments that there should be: each one's floor by its number.
pub(crate) struct Manifest {
    paths: [PathBuf; 2],
    segments: BTreeMap<u32, u64>,
    /// Segments that are deleted while no list says so yet.
    owed: Vec<u32>,
    /// Lines that make no sense to this version. They are kept.
    unknown: Vec<Vec<u8>>,
}

impl Manifest {
    /// Reads the lists. Lines that make no sense are kept as they are, unless a crash has cut them off.
    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let paths = NAMES.map(|name| dir.join(name));
        let bytes = [read(&paths[0])?, read(&paths[1])?];
        // Of a list that is cut amid its first line nothing is left but a line without a sum.
        let has_sums = bytes.iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n')).any(|line| unsummed(line).is_some());
        let [list, twin] = bytes.map(|bytes| ReadList::of(&bytes, has_sums));
        let mut unknown = list.unknown.clone();
        unknown.extend(twin.unknown.iter().filter(|line| !list.unknown.contains(line)).cloned());
        if !unknown.is_empty() {
            let path = dir.join(NAMES[0]);
            tracing::warn!(lines = unknown.len(), path = %path.display(), "lines that make no sense to this posthaste are kept as they are");
        }
        let begun = list.segments.iter().chain(&twin.segments).map(|(id, floor)| (*id, *floor));
        let segments = begun.filter(|(id, _)| !list.is_deleted(*id) && !twin.is_deleted(*id)).collect();
        Ok(Self { paths, segments, owed: Vec::new(), unknown })
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

    /// Replaces the lists by these segments.
    pub(crate) fn replace(&mut self, segments: BTreeMap<u32, u64>) -> io::Result<()> {
        let through = segments.last_key_value().map(|(id, _)| summed(&format!("={id} {}", segments.len())));
        let lines: String = segments.iter().map(|(id, floor)| summed(&format!("+{id} {floor}"))).chain(through).collect();
        for path in &self.paths {
            let temporary = path.with_added_extension("new");
            let mut file = File::create(&temporary)?;
            for line in &self.unknown {
                file.write_all(line)?;
                file.write_all(b"\n")?;
            }
            file.write_all(lines.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        }
        self.owed.clear();
        self.segments = segments;
        Ok(())
    }

    /// Adds a segment that was begun, durably. Lists that have grown long are written anew.
    pub(crate) fn begun(&mut self, id: u32, floor: u64, disk: &dyn Disk) -> io::Result<()> {
        let kept: usize = self.unknown.iter().map(|line| line.len() + 1).sum();
        if fs::metadata(&self.paths[0]).is_ok_and(|file| file.len() > LENGTH_MAX + kept as u64) {
            let mut segments = self.segments.clone();
            segments.insert(id, floor);
            return self.replace(segments);
        }
        self.append(&summed(&format!("+{id} {floor}")), disk)?;
        self.segments.insert(id, floor);
        Ok(())
    }

    /// Notes that segments are about to be deleted, durably. What cannot be noted is noted by [`Self::catch_up`].
    pub(crate) fn deleted(&mut self, ids: &[u32], disk: &dyn Disk) -> io::Result<()> {
        self.segments.retain(|id, _| !ids.contains(id));
        self.owed.extend_from_slice(ids);
        self.catch_up(disk)
    }

    /// Notes the deletions that could not be noted before.
    pub(crate) fn catch_up(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if !self.owed.is_empty() {
            self.append(&self.owed.iter().map(|id| summed(&format!("-{id}"))).collect::<String>(), disk)?;
            self.owed.clear();
        }
        Ok(())
    }

    /// Appends lines to both lists. One is enough.
    fn append(&self, lines: &str, disk: &dyn Disk) -> io::Result<()> {
        let append = |path: &PathBuf| {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            let end = file.metadata()?.len();
            // A torn line before it ends here.
            disk.write_at(&file, format!("\n{lines}").as_bytes(), end)?;
            disk.sync(&file)
        };
        let [list, twin] = [append(&self.paths[0]), append(&self.paths[1])];
        list.or(twin)
    }
}

/// What one list says.
#[derive(Default)]
struct ReadList {
    segments: BTreeMap<u32, u64>,
    deleted: BTreeSet<u32>,
    /// Of the segments up to this one, those that are not listed were deleted.
    through: u32,
    unknown: Vec<Vec<u8>>,
}

/// The bytes of a list; none if it is not there.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

impl ReadList {
    /// What a list says whose lines have sums or not.
    fn of(bytes: &[u8], has_sums: bool) -> Self {
        let mut list = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            match ListLine::of(line, has_sums) {
                ListLine::Begun(id, floor) => drop(list.segments.insert(id, floor)),
                ListLine::Deleted(id) => drop(list.deleted.insert(id)),
                // Where a line before it is damaged or gone, it is not known which were listed.
                ListLine::Through(id, n) if n == list.segments.len() => list.through = id,
                ListLine::Through(..) | ListLine::Torn => {}
                ListLine::Unknown => list.unknown.push(line.to_vec()),
            }
        }
        list
    }

    fn is_deleted(&self, id: u32) -> bool {
        self.deleted.contains(&id) || id <= self.through && !self.segments.contains_key(&id)
    }
}

/// A line of the list.
enum ListLine {
    Begun(u32, u64),
    Deleted(u32),
    Through(u32, usize),
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
        // The first lists had no such lines.
        let through = || {
            let (id, n) = text.filter(|_| has_sums)?.strip_prefix('=')?.split_once(' ')?;
            Some(Self::Through(id.parse().ok()?, n.parse().ok()?))
        };
        let is_torn = || match line.split_first() {
            None | Some((b'+' | b'-', [])) => true,
            Some((b'=', [])) => has_sums,
            // The beginning of a line, or what no version of ours wrote.
            Some((b'+' | b'-' | b'=', rest)) if has_sums => rest.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b' '),
            Some((b'+', rest)) => rest.strip_suffix(b" ").unwrap_or(rest).iter().all(u8::is_ascii_digit),
            _ => false,
        };
        begun().or_else(deleted).or_else(through).unwrap_or_else(|| if is_torn() { Self::Torn } else { Self::Unknown })
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

const NAMES: [&str; 2] = ["segments", "segments.twin"];
/// Bytes of a list after which both are written anew: thousands of segments have come and gone by then.
const LENGTH_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn lines_of_a_later_version_are_kept_and_torn_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAMES[0]);
        let unknown: [&[u8]; 4] = [b"v2 checksummed", b"+3 70 sealed", b"#9", b"\xff\xfe"];
        let mut text = b"+1 1\n+2 40\n+\n+7\n+7 \n-\n".to_vec();
        unknown.iter().for_each(|line| text.extend([line, b"\n".as_slice()].concat()));
        fs::write(&path, text).unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!(manifest.segments, BTreeMap::from([(1, 1), (2, 40)]));
        manifest.replace(BTreeMap::from([(2, 40)])).unwrap();
        let kept = [unknown.join(b"\n".as_slice()), b"\n".to_vec(), b"+2 40 8faf5c99\n".to_vec(), summed("=2 1").into()].concat();
        assert_eq!(fs::read(&path).unwrap(), kept);
        let again = Manifest::read(dir.path()).unwrap();
        assert_eq!((again.segments, again.unknown.len()), (manifest.segments, 4));
    }

    #[test]
    fn a_line_that_somebody_else_wrote_is_no_segment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAMES[0]);
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
    fn a_list_that_is_cut_removed_or_older_hides_nothing_and_makes_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        manifest.replace(BTreeMap::from([(1, 1), (2, 40)])).unwrap();
        manifest.begun(3, 90, &RealDisk).unwrap();
        let older = fs::read(dir.path().join(NAMES[0])).unwrap();
        manifest.deleted(&[1], &RealDisk).unwrap();
        manifest.replace(BTreeMap::from([(2, 40), (3, 90)])).unwrap();
        manifest.begun(4, 120, &RealDisk).unwrap();
        manifest.deleted(&[3], &RealDisk).unwrap();
        let whole = fs::read(dir.path().join(NAMES[0])).unwrap();
        assert_eq!(whole, fs::read(dir.path().join(NAMES[1])).unwrap());
        for name in NAMES {
            for harmed in (0..whole.len()).map(|length| &whole[..length]).chain([&older[..], b"garbage\n"]) {
                fs::write(dir.path().join(name), harmed).unwrap();
                let read = Manifest::read(dir.path()).unwrap();
                let what = String::from_utf8_lossy(harmed);
                assert_eq!(read.segments, BTreeMap::from([(2, 40), (4, 120)]), "{name}: {what}");
                assert_eq!(read.missing(|id| id == 4), [(2, 40, Some(120))], "{name}: {what}");
            }
            fs::remove_file(dir.path().join(name)).unwrap();
            assert_eq!(Manifest::read(dir.path()).unwrap().segments.len(), 2);
            fs::write(dir.path().join(name), &whole).unwrap();
        }
    }

    #[test]
    fn a_deletion_that_a_full_disk_keeps_off_the_lists_is_noted_once_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        manifest.replace(BTreeMap::from([(1, 1), (2, 40)])).unwrap();
        assert!(manifest.deleted(&[1], &FullDisk).is_err());
        manifest.catch_up(&RealDisk).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap().missing(|id| id == 2), []);
    }

    struct FullDisk;

    impl Disk for FullDisk {
        fn write_at(&self, _: &File, _: &[u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn sync(&self, _: &File) -> io::Result<()> {
            Ok(())
        }

        fn truncate(&self, _: &File, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn free(&self, _: &Path) -> io::Result<u64> {
            Ok(0)
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
        fs::write(dir.path().join(NAMES[0]), [fs::read(dir.path().join(NAMES[0])).unwrap(), b"+4 1".to_vec()].concat()).unwrap();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        assert_eq!(manifest.missing(|id| id == 3 || id == 4), [(2, 40, Some(90))]);
        manifest.begun(5, 100, &RealDisk).unwrap();
        let listed = || Manifest::read(dir.path()).unwrap().segments;
        let before = listed();
        for id in 6..5_000 {
            manifest.begun(id, u64::from(id) * 50, &RealDisk).unwrap();
            manifest.deleted(&[id], &RealDisk).unwrap();
            assert!(fs::metadata(dir.path().join(NAMES[0])).unwrap().len() <= LENGTH_MAX + 60, "{id}");
        }
        assert_eq!(listed(), before, "a list that was written anew says the same");
        assert_eq!(Manifest::read(dir.path()).unwrap().missing(|id| id < 5), [(5, 100, None)], "a torn line does not spoil the next");
    }
}
