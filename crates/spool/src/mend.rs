//! Mends what a rebuild has found to be damaged: it is copied to the quarantine first, and then voided, marked or cut, so that it is reported
//! only once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    Quarantined,
    disk::sync_dir,
    marks::Mark,
    record::{HEADER, RecordHeader},
    segment::{self, SegmentName},
};

/// What is to be mended in a segment.
pub(crate) struct Mend {
    pub(crate) name: SegmentName,
    pub(crate) at: u64,
    pub(crate) len: u64,
    pub(crate) what: MendKind,
}

#[derive(Clone, Copy)]
pub(crate) enum MendKind {
    /// A new header with this floor.
    Header(u64),
    /// The end is cut off: a record that was being written, or bytes that are no record.
    Cut { torn: bool },
    /// Bytes that are no record.
    Void,
    /// A message with a damaged body.
    Message(RecordHeader),
}

impl Mend {
    /// Returns what there is to say; None for a torn end, which holds what nobody was told is safe.
    pub(crate) fn carry_out(&self, dir: &Path) -> io::Result<Option<Quarantined>> {
        let Self { name, at, len, what } = *self;
        let file = OpenOptions::new().read(true).write(true).open(name.path(&dir.join("log")))?;
        let torn = matches!(what, MendKind::Cut { torn: true });
        if !torn && !matches!(what, MendKind::Message(_)) {
            Mark::Holes.set(dir)?;
        }
        copy_to_quarantine(dir, &file, self, if torn { "torn" } else { "damaged" })?;
        let (message, reason) = match what {
            MendKind::Header(floor) => {
                file.write_all_at(&segment::header(name, floor), 0)?;
                (None, "the segment's header is damaged")
            }
            MendKind::Cut { .. } => {
                file.set_len(at)?;
                (None, "the segment's end is no record")
            }
            MendKind::Void => {
                if len >= HEADER as u64 {
                    strike_out(&file, name, at, len)?;
                }
                (None, "no record has this checksum")
            }
            // It stays in the spool: its sender hears of it when it expires, if not before.
            MendKind::Message(header) => {
                mark_damaged(&file, name, at, &header)?;
                (Some(header.seq), "the body of a message has another checksum; the message stays in the spool")
            }
        };
        file.sync_all()?;
        Ok((!torn).then(|| Quarantined { segment: name.id, offset: at, len, message, reason: reason.to_owned() }))
    }
}

/// Copies bytes of a segment to the quarantine, before anything is done about them. `what` ends the copy's name: `damaged` or `torn`.
fn copy_to_quarantine(dir: &Path, file: &File, mend: &Mend, what: &str) -> io::Result<()> {
    let (folder, Mend { name, at, len, .. }) = (dir.join("quarantine"), mend);
    let mut copy = File::create(folder.join(format!("{:08x}-{at:08x}.{what}", name.id)))?;
    let mut bytes = vec![0; (*len).min(1 << 20) as usize];
    for from in (0..*len).step_by(1 << 20) {
        let part = &mut bytes[..(len - from).min(1 << 20) as usize];
        file.read_exact_at(part, at + from)?;
        copy.write_all(part)?;
    }
    copy.sync_all()?;
    sync_dir(&folder)
}

/// Moves a file that is no segment to the quarantine.
pub(crate) fn set_aside(dir: &Path, path: &Path) -> io::Result<Quarantined> {
    let len = fs::symlink_metadata(path)?.len();
    let name = path.file_name().unwrap_or_default();
    let mut target = dir.join("quarantine").join(name);
    for n in 1.. {
        if !target.exists() {
            break;
        }
        target.set_file_name(format!("{}.{n}", name.to_string_lossy()));
    }
    Mark::Holes.set(dir)?;
    fs::rename(path, target)?;
    sync_dir(&dir.join("log"))?;
    Ok(Quarantined { segment: 0, offset: 0, len, message: None, reason: format!("{} is no segment", name.to_string_lossy()) })
}

/// Deletes the oldest copies of torn ends: each kill under load leaves one, and they hold what nobody was told is safe.
pub(crate) fn forget_torn(dir: &Path) -> io::Result<()> {
    let mut torn: Vec<_> = in_quarantine(dir)?.into_iter().filter(|path| is_torn(path)).collect();
    torn.sort();
    let surplus = torn.len().saturating_sub(TORN_KEPT);
    torn.into_iter().take(surplus).try_for_each(fs::remove_file)
}

const TORN_KEPT: usize = 16;

/// How many files are in the quarantine that may hold what was promised to be safe.
pub(crate) fn quarantined(dir: &Path) -> io::Result<u64> {
    Ok(in_quarantine(dir)?.iter().filter(|path| !is_torn(path)).count() as u64)
}

fn in_quarantine(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(dir.join("quarantine"))?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn is_torn(path: &Path) -> bool {
    path.extension().is_some_and(|what| what == "torn")
}

/// Writes a message's header anew, as that of one whose body is damaged.
fn mark_damaged(file: &File, name: SegmentName, at: u64, header: &RecordHeader) -> io::Result<()> {
    let mut head = vec![0; header.head_len as usize];
    file.read_exact_at(&mut head, at + HEADER as u64)?;
    let mut marked = Vec::with_capacity(HEADER + head.len());
    header.damaged().encode(name.salt, &[&head], &mut marked);
    file.write_all_at(&marked, at)
}

/// Voids bytes in place.
pub(crate) fn strike_out(file: &File, name: SegmentName, at: u64, len: u64) -> io::Result<()> {
    let mut header = Vec::with_capacity(HEADER);
    RecordHeader::void(len).encode(name.salt, &[], &mut header);
    file.write_all_at(&header, at)
}
