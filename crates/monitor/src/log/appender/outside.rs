//! What others do to the file while it is open: they rename, delete, shorten or overwrite it, or write into it.
//!
//! Lines that are still there stay part of the log, under a name that the reader knows. Where durable lines are gone, a new file is begun,
//! and its first line, a `log_gap`, says what is missing. What waits is written into the new file.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use posthaste_mail::{GapFacts, What};

use super::{
    super::{
        FileId, LogAlarm, LogError, Position,
        condition::{Condition, Content},
        current::{all_gaps, first_time, keep_newest, last_record, open_next},
        disk::{Seen, name_now},
        files::{self, CURRENT},
        inventory::checksum,
        sums::Sums,
    },
    Appender,
    copies::original_of,
};
use crate::encode;

impl Appender {
    /// Looks whether the file is as it was left, and mends what is not. What is mended is reported.
    pub(super) fn look(&mut self) -> io::Result<()> {
        if self.torn {
            self.cut_back(self.length())?;
            self.torn = false;
        }
        for _ in 0..LOOKS_MAX {
            let condition = self.condition()?;
            if condition == Condition::SOUND {
                return Ok(());
            }
            if condition.is_complete() {
                self.disk.sync()?;
                if self.condition()? != condition {
                    continue;
                }
            }
            match condition {
                Condition { here: true, content: Content::Longer(more) } if self.length() > 0 || !self.holds_a_copy()? => {
                    self.step_over(more)?;
                }
                other => self.replace(other).map_err(io::Error::other)?,
            }
        }
        Err(io::Error::other("other programs change delivery.log all the time"))
    }

    /// Goes on behind bytes that somebody else has appended, on a line of its own. What was written is durable.
    fn step_over(&mut self, more: u64) -> io::Result<()> {
        self.settle(self.written);
        let (at, mut length) = (self.durable, self.durable + more);
        let mut end = [0];
        self.disk.file().read_exact_at(&mut end, length - 1)?;
        if end != *b"\n" {
            self.disk.append(b"\n")?;
            length += 1;
        }
        self.sum = checksum(self.disk.file(), at..length, self.sum)?;
        self.durable = length;
        self.read_last()?;
        if !std::mem::replace(&mut self.strangers_reported, true) {
            self.alarms.push(LogAlarm::Meddled(format!(
                "another program has written {more} bytes into {CURRENT}, from byte {at} on; they stay there but are no lines of the log. \
                 Only the relay may write into this file"
            )));
        }
        Ok(())
    }

    /// Begins a new file, because the open one lost its name or some of its lines. What was written and is still there is durable.
    fn replace(&mut self, condition: Condition) -> Result<(), LogError> {
        let dir = self.options.dir.clone();
        let read = || LogError::io("read", dir.join(CURRENT));
        self.folder.make(&dir).map_err(LogError::io("make", &dir))?;
        let fresh = open_next(&*self.folder, &self.options)?;
        if self.condition().map_err(read())? != condition {
            // They are still at it: look again.
            return Ok(());
        }
        let held = self.disk.seen().map_err(read())?;
        let is_copy = condition.here && (self.length() == 0 || !condition.is_complete()) && self.holds_a_copy().map_err(read())?;
        if is_copy {
            self.drop_copy()?;
        }
        let place = if is_copy {
            None
        } else if condition.here {
            Some(dir.join(CURRENT))
        } else {
            find(&dir, held)
        };
        let safe = condition.is_complete() && place.is_some();
        let kept = place.as_deref().map(|place| self.keep_rest(place, held)).transpose()?.flatten();
        let mut rest = Rest { waiting: self.waiting.clone(), begin: held.length, end: self.end };
        if place.is_some() && !safe {
            rest.leave_out(self.disk.file()).map_err(read())?;
            if self.distrusted {
                self.cut_back(rest.begin).map_err(read())?;
                rest = Rest { waiting: self.waiting.clone(), end: self.end, ..rest };
            }
        }
        let gap = self.gap(condition, place.is_some().then_some(rest.begin), held).map_err(read())?;
        if condition.content == Content::Whole && place.is_none() {
            // Should somebody put the file back, it must not hold lines that are in the new one too.
            self.cut_back(self.durable).map_err(read())?;
        }
        if !condition.here {
            self.put_aside(safe, &mut rest)?;
        }
        let current = dir.join(CURRENT);
        self.folder.rename(&dir.join(files::NEXT), &current).map_err(LogError::io("make", current))?;
        files::sync_dir(&dir)?;
        if safe {
            self.settle(self.written);
            kept.as_deref().or(place.as_deref()).into_iter().for_each(|place| self.list_rotated(place));
        } else {
            (self.waiting, self.end) = (rest.waiting, rest.end);
        }
        match gap {
            Some(gap) => self.report_gap(gap)?,
            None if is_copy => {}
            None => self.report_no_gap(condition, place.as_deref(), kept.as_deref()),
        }
        self.take_up(fresh)?;
        self.unsaved = true;
        self.adopt(all_gaps)
    }

    /// What is missing; None if no durable line is.
    ///
    /// `ours` is the offset before which the file, if it is still part of the log, may hold lines that were durable.
    fn gap(&self, condition: Condition, ours: Option<u64>, held: Seen) -> io::Result<Option<GapFacts>> {
        let from_byte = match ours {
            Some(_) if condition.is_complete() => self.durable,
            Some(ours) if condition.content == Content::Shorter && self.is_same_file()? => {
                last_record(self.disk.file(), ours.min(held.length).min(self.durable))?
            }
            _ => 0,
        };
        let bytes = self.durable - from_byte;
        if bytes == 0 {
            return Ok(None);
        }
        let cause = match condition {
            Condition { content: Content::Shorter, .. } => "truncated",
            Condition { content: Content::Overwritten, .. } => "overwritten",
            _ if held.names == 0 => "deleted",
            _ => "moved",
        };
        let sums = match condition.is_complete() {
            // It is gone from the folder, and can still be read through the open file.
            true => Sums::read(self.disk.file(), 0..self.durable).ok(),
            false if from_byte > self.found => Some(self.sums.without(Sums::read(self.disk.file(), self.found..from_byte)?)),
            false => Some(self.sums).filter(|sums| self.found == 0 || sums.lines > 0),
        };
        let mut gap = GapFacts {
            cause,
            file: self.file.map(|file| file.to_string().into()),
            since: self.born,
            until: None,
            from_byte,
            bytes,
            lines: sums.map(|sums| sums.lines),
            accepted: sums.map(|sums| sums.accepted),
            ended: sums.map(|sums| sums.ended),
            crc32: Some(self.sum),
            detail: String::new(),
        };
        gap.detail = self.in_words(&gap);
        Ok(Some(gap))
    }

    fn is_same_file(&self) -> io::Result<bool> {
        Ok(self.file.is_some() && FileId::read(self.disk.file())? == self.file)
    }

    fn in_words(&self, gap: &GapFacts) -> String {
        let what = match gap.cause {
            "deleted" => format!("{CURRENT} was deleted"),
            "moved" => match name_now(self.disk.file()) {
                Some(path) => format!("{CURRENT} was moved to {}", path.display()),
                None => format!("{CURRENT} was moved away"),
            },
            "truncated" => format!("{CURRENT} was cut at byte {}", gap.from_byte),
            _ => format!("{CURRENT} was overwritten"),
        };
        let lines = match (gap.lines, gap.accepted, gap.ended) {
            (Some(lines), Some(accepted), Some(ended)) => {
                format!("at least {lines} lines, of which {accepted} accepted a recipient and {ended} ended one")
            }
            _ => "lines that this run of the relay has not counted".into(),
        };
        format!("{what}: {} bytes of the log are missing, {lines}", gap.bytes)
    }

    /// Gives what is left of the file a name that the reader knows; returns the name if it is new.
    fn keep_rest(&mut self, place: &Path, held: Seen) -> Result<Option<PathBuf>, LogError> {
        if files::is_rotated(place) {
            return Ok(None);
        }
        if held.length == 0 {
            // Others may have use for an empty file that they have renamed.
            let here = place.ends_with(CURRENT);
            return if here { self.folder.remove(place).map_err(LogError::io("delete", place)).map(|()| None) } else { Ok(None) };
        }
        let number = self.next_number()?;
        let name = self.options.dir.join(files::rotated_name((self.clock)(), number));
        self.folder.rename(place, &name).map_err(LogError::io("rename", place))?;
        Ok(Some(name))
    }

    /// Makes room under the name `delivery.log`. A copy of the log becomes part of it, unless the original is; nothing is thrown away.
    fn put_aside(&mut self, original_found: bool, rest: &mut Rest) -> Result<(), LogError> {
        let (dir, now) = (self.options.dir.clone(), (self.clock)());
        let path = dir.join(CURRENT);
        // A link that leads nowhere is something, too.
        if fs::symlink_metadata(&path).is_err() {
            return Ok(());
        }
        let seen = self.folder.seen(&path).map_err(LogError::io("look at", &path))?;
        if seen.is_some_and(|seen| seen.regular && seen.length == 0) {
            return self.folder.remove(&path).map_err(LogError::io("delete", &path));
        }
        let is_log = seen.is_some_and(|seen| seen.regular)
            && fs::File::open(&path).and_then(|file| first_time(&file)).is_ok_and(|time| time.is_some());
        let joins = is_log && !original_found && original_of(&dir, &path, None).map_err(LogError::io("read", &path))?.is_none();
        if joins {
            let copy = fs::OpenOptions::new().read(true).append(true).open(&path);
            copy.and_then(|copy| rest.leave_out(&copy)).map_err(LogError::io("read", &path))?;
        }
        let to = match joins {
            true => dir.join(files::rotated_name(now, self.next_number()?)),
            false => files::aside_path(&dir, CURRENT, now),
        };
        self.folder.rename(&path, &to).map_err(LogError::io("rename", &path))?;
        let what = format!("a file that is not the relay's stood under the name {CURRENT}; it is now {}", to.display());
        self.alarms.push(LogAlarm::Meddled(what));
        Ok(())
    }

    /// Tells the operator, and lets the new file begin with what is missing and with the gaps that were told in the lost file.
    fn report_gap(&mut self, gap: GapFacts) -> Result<(), LogError> {
        let mut remedy = "A new file is begun; posthaste audit cannot prove what the missing lines said".to_owned();
        if matches!(gap.cause, "deleted" | "moved") {
            // The number stays free for it.
            let name = files::rotated_name((self.clock)(), self.next_number()?);
            remedy.push_str(&format!(". If the file still exists, move it to {}", self.options.dir.join(name).display()));
        }
        self.alarms.push(LogAlarm::gap(&gap, remedy));
        // The new line comes first: a file is known by its first line, and the lost file may have begun with the earlier ones.
        let mut lines = Vec::new();
        encode(&(self.stamp)((self.clock)(), What::LogGap(Box::new(gap))), &mut lines);
        lines.append(&mut self.gaps);
        keep_newest(&mut lines);
        self.waiting.splice(0..0, lines);
        Ok(())
    }

    fn report_no_gap(&mut self, condition: Condition, place: Option<&Path>, kept: Option<&Path>) {
        let (Some(was), true) = (place, condition.is_complete()) else {
            let alarm =
                format!("another program has deleted or cut {CURRENT}. No durable line is missing: the last ones are written again");
            return self.alarms.push(LogAlarm::Meddled(alarm));
        };
        self.alarms.push(LogAlarm::Meddled(format!(
            "another program has renamed {CURRENT} to {}. No line is missing: the file stays part of the log as {}, and a new one is begun. \
             The relay rotates its log itself (log.rotate_size, log.rotate_age, log.keep_files): leave that to it",
            was.display(),
            kept.unwrap_or(was).display()
        )));
    }
}

/// The lines that are still to be written, and what is known of those that are not.
struct Rest {
    waiting: Vec<u8>,
    /// Where the first of the lines begins that need not be written again; the file's length if there is none.
    begin: u64,
    /// The durable end of the log.
    end: Option<Position>,
}

impl Rest {
    /// Leaves out the lines that are in this file, which stays part of the log.
    fn leave_out(&mut self, file: &fs::File) -> io::Result<()> {
        end_line(file)?;
        file.sync_data()?;
        let length = file.metadata()?.len();
        let start = length.saturating_sub(self.waiting.len() as u64 + STRANGERS_MAX);
        let mut tail = vec![0; (length - start) as usize];
        file.read_exact_at(&mut tail, start)?;
        let (mut lines, mut at) = (HashMap::new(), start);
        for line in tail.split_inclusive(|b| *b == b'\n') {
            lines.insert(line, at);
            at += line.len() as u64;
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.begin = length;
        for line in waiting.split_inclusive(|b| *b == b'\n') {
            match lines.get(line) {
                Some(at) => self.begin = self.begin.min(*at),
                None => self.waiting.extend_from_slice(line),
            }
        }
        if self.begin < length {
            self.end = FileId::read(file)?.map(|file| Position { file, offset: length });
        }
        Ok(())
    }
}

/// Gives a torn last line its end: a reader would take a line that lost nothing but its end for whole.
fn end_line(mut file: &fs::File) -> io::Result<()> {
    let (length, mut last) = (file.metadata()?.len(), [b'\n']);
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// Lines that wait are looked for in what is left of a file, even behind this many bytes of somebody else's.
const STRANGERS_MAX: u64 = 64 << 10;
/// How often the file is looked at before the writer waits until others leave it alone.
const LOOKS_MAX: usize = 5;

/// The name under which the file is in the folder now.
fn find(dir: &Path, held: Seen) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    entries.map(|entry| entry.path()).find(|path| fs::symlink_metadata(path).is_ok_and(|meta| Seen::from(meta).identity == held.identity))
}
