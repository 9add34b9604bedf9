//! What others do to the files of the log that are not written any more, while a relay runs and while none does.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use posthaste_mail::{GapFacts, What};

use super::{
    super::{
        FileId, LogAlarm, LogError,
        current::{all_gaps, first_gaps, first_time, newest_end},
        disk::Seen,
        files::{self, CURRENT},
        inventory::{Left, Listed, checksum},
    },
    Appender, copies, older_than,
};
use crate::encode;

/// What became of a listed file.
enum Fate {
    /// It holds what it must. The entry as it is to stand in the list, and what the operator has to know.
    There(Box<Listed>, Option<String>),
    /// Lines from this byte on are missing.
    Lost(&'static str, u64),
}

impl Appender {
    /// Looks at the rotated files, if that was long enough ago. What is missing is told to the operator, and in a `log_gap` among the lines that
    /// wait.
    pub(super) fn look_at_rotated(&mut self) {
        let now = (self.clock)();
        if now >= self.looked && !older_than(self.looked, now, self.options.look) {
            return;
        }
        self.looked = now;
        let listed = &self.inventory.rotated;
        let turn: Vec<Listed> = listed.iter().cycle().skip(self.next_look).take(listed.len().min(FILES_PER_LOOK)).cloned().collect();
        self.next_look = (self.next_look + turn.len()).checked_rem(listed.len()).unwrap_or(0);
        let mut is_lost = false;
        for listed in turn {
            // What cannot be looked at for the moment is not judged.
            let Ok(Some(fate)) = self.fate(&listed, None) else { continue };
            is_lost |= matches!(fate, Fate::Lost(..));
            self.follow(&listed, fate);
        }
        // What is left of a file, what is brought back, and copies. If they cannot be listed now, the next look or start does so.
        if is_lost || self.folder_seen.is_none() || self.folder_seen != copies::changed(&self.options.dir) {
            self.adopt(all_gaps).unwrap_or_else(|error| tracing::warn!("the log's files cannot be listed: {error}"));
        }
        self.look_at_list();
    }

    /// Compares the files that are found on opening with the list, and lists those that are not on it. `before` is what the name of the current
    /// file led to; `told` is a file that the caller knows to be missing.
    pub(super) fn compare_with_list(&mut self, before: Option<Seen>, told: Option<FileId>) -> Result<(), LogError> {
        let dir = self.options.dir.clone();
        let is_first = self.read_list(&dir)?;
        let found = self.inventory.current.take();
        let sum = match &found {
            Some(listed) if Some(listed.file) == self.file => {
                self.compare_current(listed, before, told).map_err(LogError::io("read", dir.join(CURRENT)))?
            }
            _ => None,
        };
        let from = sum.map_or((0, 0), |(length, sum)| (length, sum));
        self.sum = checksum(self.disk.file(), from.0..self.durable, from.1).map_err(LogError::io("read", dir.join(CURRENT)))?;
        // A crash may have come between the renaming of a file and its entry.
        let was_current = found.filter(|listed| Some(listed.file) != self.file);
        self.inventory.rotated.extend(was_current);
        for listed in self.inventory.rotated.clone() {
            match self.fate(&listed, told) {
                Ok(None) => {}
                Ok(Some(fate)) => self.follow(&listed, fate),
                Err(error) => tracing::warn!("{} cannot be looked at: {error}", dir.join(&listed.name).display()),
            }
        }
        // Without a list there may be many: then only their first lines are read.
        self.adopt(if is_first { first_gaps } else { all_gaps })?;
        (self.unsaved, self.list_is_old) = (true, false);
        if self.file.is_none() {
            self.end = newest_end(&files::list(&dir)?)?;
        }
        if is_first { self.save_list() } else { Ok(()) }
    }

    /// Up to where the current file is proven to be as it was, and the sum so far.
    fn compare_current(&mut self, listed: &Listed, before: Option<Seen>, told: Option<FileId>) -> io::Result<Option<(u64, u32)>> {
        let is_proven = before.is_some_and(|seen| listed.is_unchanged(seen)) && listed.length <= self.durable;
        let left = if is_proven { Left::Whole(0) } else { listed.left_in(self.disk.file())? };
        match left {
            Left::Whole(_) => {
                if !listed.gaps.is_empty() {
                    self.gaps = listed.gaps.clone().into_bytes();
                }
                Ok(listed.sum.map(|sum| (listed.length, sum)))
            }
            left => {
                self.gaps = all_gaps(self.disk.file())?;
                let (cause, from_byte) = cause(left, self.durable, listed);
                if told != Some(listed.file) || !listed.gaps.is_empty() {
                    self.tell_gap(listed, cause, from_byte);
                }
                Ok(None)
            }
        }
    }

    /// Lists rotated files that are not on the list: they are from before there was one, or somebody has brought them back. Copies of others are
    /// put aside.
    pub(super) fn adopt(&mut self, gaps_in: fn(&File) -> io::Result<Vec<u8>>) -> Result<(), LogError> {
        let (seen, mut is_whole) = (copies::changed(&self.options.dir), true);
        for found in files::list(&self.options.dir)?.into_iter().filter(|found| found.rotated.is_some()) {
            if self.inventory.lists(&files::name_of(&found.path)) || self.is_put_aside(&found.path)? {
                continue;
            }
            match self.entry(&found.path, found.rotated, gaps_in) {
                Some(listed) => {
                    self.inventory.rotated.push(listed);
                    self.unsaved = true;
                }
                // It may be on its way.
                None => is_whole = false,
            }
        }
        self.folder_seen = seen.filter(|_| is_whole);
        Ok(())
    }

    /// An entry for a file that nobody knows anything about; None if it is no file of the log.
    fn entry(&self, path: &Path, until: Option<Timestamp>, gaps_in: fn(&File) -> io::Result<Vec<u8>>) -> Option<Listed> {
        let (file, seen) = (File::open(path).ok()?, self.folder.seen(path).ok()??);
        let (id, since) = (FileId::read(&file).ok()??, first_time(&file).ok()?);
        let gaps = String::from_utf8(gaps_in(&file).ok()?).unwrap_or_default();
        let (length, seen) = (seen.length, Some((seen.length, seen.modified)));
        Some(Listed { name: files::name_of(path), file: id, since, until, length, sum: None, gaps, seen })
    }

    /// The entry of the current file. Everything must be durable.
    pub(super) fn current_entry(&self, name: String, until: Option<Timestamp>) -> Option<Listed> {
        // A file that somebody has changed just now is to be read when it is looked at next.
        let seen = self.disk.seen().ok().filter(|seen| seen.length == self.durable).map(|seen| (seen.length, seen.modified));
        let (sum, gaps) = (Some(self.sum), String::from_utf8_lossy(&self.gaps).into_owned());
        Some(Listed { name, file: self.file?, since: self.born, until, length: self.durable, sum, gaps, seen })
    }

    /// Lists the file that was the current one until now, under its new name.
    pub(super) fn list_rotated(&mut self, path: &Path) {
        let listed = self.current_entry(files::name_of(path), Some((self.clock)()));
        self.inventory.rotated.extend(listed);
        self.unsaved = true;
    }

    /// What became of a listed file; None: it looks as it did. `told` is a file that is known to be missing.
    fn fate(&self, listed: &Listed, told: Option<FileId>) -> io::Result<Option<Fate>> {
        let path = self.options.dir.join(&listed.name);
        let seen = self.folder.seen(&path)?;
        if seen.is_some_and(|seen| listed.is_unchanged(seen)) {
            return Ok(None);
        }
        // What has the current file's name now is another file.
        let left = match seen.filter(|seen| seen.regular && listed.name != CURRENT) {
            Some(_) => Some(listed.left_in(&File::open(&path)?)?),
            None => None,
        };
        if let (Some(Left::Whole(more)), None) = (left, listed.sum) {
            // Somebody may have put back what was missing.
            return Ok(Some(Fate::There(Box::new(Listed { length: listed.length + more, ..listed.as_seen(seen) }), None)));
        }
        if let Some(Left::Whole(more)) = left {
            let appended = listed.seen.is_none_or(|(length, _)| length < listed.length + more) && more > 0;
            let alarm = appended.then(|| {
                format!("another program has written {more} bytes into {}; they stay there but are no lines of the log", path.display())
            });
            return Ok(Some(Fate::There(Box::new(listed.as_seen(seen)), alarm)));
        }
        if let Some(place) = self.elsewhere(listed)? {
            return self.take_back(listed, &place, seen.is_some()).map(Some);
        }
        // One gap tells of all that an old list does not know.
        if self.list_is_old && (seen.is_none() || listed.name == CURRENT) {
            return Ok(Some(Fate::Lost("deleted", listed.length)));
        }
        // What the caller tells does not repeat the gaps that were in it.
        if told == Some(listed.file) && listed.gaps.is_empty() {
            return Ok(Some(Fate::Lost("not_found", listed.length)));
        }
        let (cause, from) = match (left, seen) {
            (Some(left), Some(seen)) => cause(left, seen.length, listed),
            _ if listed.name == CURRENT => ("not_found", 0),
            _ => ("deleted", 0),
        };
        Ok(Some(Fate::Lost(cause, from)))
    }

    /// Another file of the folder that holds what this one must.
    fn elsewhere(&self, listed: &Listed) -> io::Result<Option<PathBuf>> {
        let is_it = |path: &Path| -> io::Result<bool> {
            let regular = fs::symlink_metadata(path)?.is_file();
            let other = !path.ends_with(CURRENT) && !self.inventory.lists(&files::name_of(path));
            if !regular || !other {
                return Ok(false);
            }
            // Only the current file may have grown since it was listed: what is longer may be another copy of the same first lines.
            Ok(match listed.left_in(&File::open(path)?)? {
                Left::Whole(more) => more == 0 || listed.name == CURRENT,
                Left::Part(_) | Left::Other => false,
            })
        };
        let entries = match fs::read_dir(&self.options.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        // Whatever cannot be read is none of ours.
        Ok(entries.flatten().map(|entry| entry.path()).find(|path| is_it(path).unwrap_or(false)))
    }

    /// The file is there under another name. If the reader knows that name it keeps it, else it gets its own back.
    fn take_back(&self, listed: &Listed, place: &Path, occupied: bool) -> io::Result<Fate> {
        let dir = &self.options.dir;
        let name = match files::is_rotated(place) {
            true => files::name_of(place),
            false if !occupied => listed.name.clone(),
            false => files::rotated_name((self.clock)(), files::next_number(&files::list(dir).map_err(io::Error::other)?)),
        };
        let path = dir.join(&name);
        if path != place {
            self.folder.rename(place, &path)?;
            files::sync_dir(dir).map_err(io::Error::other)?;
        }
        let alarm = format!(
            "another program has renamed a file of the log, {}, to {}; it is part of the log again as {}",
            listed.name,
            place.display(),
            path.display()
        );
        let seen = self.folder.seen(&path)?;
        // Its own name may only have been unknown until now, after a crash.
        let alarm = Some(alarm).filter(|_| listed.name != CURRENT || !files::is_rotated(place));
        Ok(Fate::There(Box::new(Listed { name, ..listed.as_seen(seen) }), alarm))
    }

    fn follow(&mut self, listed: &Listed, fate: Fate) {
        let Some(at) = self.inventory.rotated.iter().position(|known| known == listed) else { return };
        self.unsaved = true;
        match fate {
            Fate::There(listed, alarm) => {
                self.inventory.rotated[at] = *listed;
                self.alarms.extend(alarm.map(LogAlarm::Meddled));
            }
            Fate::Lost(cause, from_byte) => {
                self.inventory.rotated.remove(at);
                self.tell_gap(listed, cause, from_byte);
            }
        }
    }

    /// Tells that a file lost its lines from this byte on.
    fn tell_gap(&mut self, listed: &Listed, cause: &'static str, from_byte: u64) {
        let (bytes, path) = (listed.length - from_byte, self.options.dir.join(&listed.name));
        if bytes == 0 {
            return;
        }
        let (what, remedy) = match cause {
            "deleted" => ("is gone", format!("If the file still exists, move it back to {}", path.display())),
            "not_found" => ("does not hold its lines any more", "If the old file still exists, move it back".to_owned()),
            "truncated" => ("was cut", format!("If there is a copy of the whole file, put it in the place of {}", path.display())),
            _ => ("was changed", format!("If there is a copy of what it was, put it in the place of {}", path.display())),
        };
        let gap = GapFacts {
            cause,
            file: Some(listed.file.to_string().into()),
            since: listed.since,
            until: listed.until,
            from_byte,
            bytes,
            lines: None,
            accepted: None,
            ended: None,
            crc32: listed.sum,
            detail: format!("{} {what}: {bytes} bytes of the log are missing, from byte {from_byte} on", listed.name),
        };
        self.alarms.push(LogAlarm::gap(&gap, format!("posthaste audit cannot prove what the missing lines said. {remedy}")));
        // The new line comes first: a file is known by its first line.
        let mut lines = Vec::new();
        encode(&(self.stamp)((self.clock)(), What::LogGap(Box::new(gap))), &mut lines);
        lines.extend_from_slice(listed.gaps.as_bytes());
        self.waiting.extend_from_slice(&lines);
    }
}

impl Listed {
    fn as_seen(&self, seen: Option<Seen>) -> Self {
        Self { seen: seen.map(|seen| (seen.length, seen.modified)), ..self.clone() }
    }
}

fn cause(left: Left, length: u64, listed: &Listed) -> (&'static str, u64) {
    let from = if let Left::Part(from) = left { from } else { 0 };
    (if length < listed.length { "truncated" } else { "overwritten" }, from)
}

/// So many rotated files are looked at in one turn.
const FILES_PER_LOOK: usize = 256;
