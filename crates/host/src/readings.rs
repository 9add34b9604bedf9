//! What is being read, in a file, so that a start knows what the process read when it died.
//!
//! A panic can be caught; a stack that overflows, or memory that runs out, ends the process, and whatever did it is read again at the next start,
//! for ever. So what strangers wrote is noted before it is read. What a process died over is a suspect, which is read by itself the next time, so
//! that what was read beside it is cleared; what is there at two such ends in a row is not to be read again.
//!
//! A note outlives the process, not the machine: it is written and not synced, since a power cut is nobody's fault.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::files;

/// Ends of a process over the same thing in a row, after which it is not read again.
pub const CRASHES_MAX: u32 = 2;
/// Suspects and readings that are noted, at most; the file has so many lines.
const NOTED_MAX: usize = 128;
/// The longest file that is read at a start.
const FILE_MAX: usize = 64 << 10;

/// What is being read, and what was when a process ended.
pub struct Readings {
    file: Option<File>,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// What is being read, and what is suspected. A key may be there several times.
    all: Vec<Note>,
    /// The process stops orderly: what is being read now is not what ends it.
    is_stopping: bool,
}

struct Note {
    key: String,
    crashes: u32,
    /// A suspect has none.
    reading: Option<u64>,
}

/// Something is being read for as long as this lives.
pub struct Reading {
    of: Arc<Readings>,
    number: u64,
}

impl Readings {
    /// Reads what the last process left in this file, and counts an end for all that it was reading. If the file cannot be used, nothing is
    /// suspected at the next start.
    pub fn open(path: &Path) -> Arc<Self> {
        let left = files::read(path).unwrap_or_default();
        let mut suspects: Vec<Note> = Vec::new();
        for (key, crashes) in String::from_utf8_lossy(&left[..left.len().min(FILE_MAX)]).lines().filter_map(noted) {
            match suspects.iter_mut().find(|note| note.key == key) {
                Some(known) => known.crashes = known.crashes.max(crashes),
                None => suspects.push(Note { key: key.to_owned(), crashes, reading: None }),
            }
        }
        let file = files::open_lock(path).inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "what is being read cannot be noted; what ends the relay would be read again");
        });
        let readings = Self { file: file.ok(), noted: Mutex::new(Noted { all: suspects, is_stopping: false }) };
        readings.change(|_| ());
        Arc::new(readings)
    }

    /// The ends of processes in a row at which this was being read.
    pub fn crashes(&self, key: &str) -> u32 {
        self.lock().crashes(key)
    }

    /// Notes that this is being read from now on. A key is one word.
    pub fn begin(self: &Arc<Self>, key: &str) -> Reading {
        let number = self.change(|noted| {
            let number = noted.all.iter().filter_map(|note| note.reading).max().map_or(0, |last| last + 1);
            let crashes = noted.crashes(key);
            if noted.all.len() >= NOTED_MAX
                && let Some(oldest) = noted.all.iter().position(|note| note.reading.is_none())
            {
                noted.all.remove(oldest);
            }
            noted.all.push(Note { key: key.to_owned(), crashes, reading: Some(number) });
            number
        });
        Reading { of: self.clone(), number }
    }

    /// What was put aside is a suspect no more.
    pub fn forget(&self, key: &str) {
        self.change(|noted| noted.all.retain(|note| note.reading.is_some() || note.key != key));
    }

    /// The process stops orderly, so that nothing that is being read from now on is suspected.
    pub fn stop(&self) {
        self.change(|noted| noted.is_stopping = true);
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the notes, and the file with them, as one.
    fn change<T>(&self, change: impl FnOnce(&mut Noted) -> T) -> T {
        let mut noted = self.lock();
        let changed = change(&mut noted);
        if let Some(file) = &self.file {
            let text = noted.to_text();
            // One write, so that what a kill leaves is whole. Without the note the mail is read all the same.
            let written = file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
            let _ = written.inspect_err(|error| tracing::debug!(%error, "cannot note what is being read"));
        }
        changed
    }
}

impl Noted {
    fn crashes(&self, key: &str) -> u32 {
        self.all.iter().filter(|note| note.key == key).map(|note| note.crashes).max().unwrap_or(0)
    }

    fn to_text(&self) -> String {
        let lines = self.all.iter().take(NOTED_MAX).filter_map(|Note { key, crashes, reading }| {
            let word = if reading.is_some() && !self.is_stopping { "reading" } else { "suspect" };
            (word == "reading" || *crashes > 0).then(|| format!("{word} {crashes} {key}\n"))
        });
        lines.collect()
    }
}

/// A line's key, and the ends of processes that it counts now.
fn noted(line: &str) -> Option<(&str, u32)> {
    let mut words = line.split(' ');
    let (word, crashes, key) = (words.next()?, words.next()?.parse::<u32>().ok()?, words.next()?);
    match word {
        "reading" => Some((key, crashes.saturating_add(1))),
        "suspect" => Some((key, crashes)),
        _ => None,
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.of.change(|noted| {
            let Some(place) = noted.all.iter().position(|note| note.reading == Some(self.number)) else { return };
            let read = noted.all.remove(place);
            // It was read, and the process lives.
            noted.all.retain(|note| note.reading.is_some() || note.key != read.key);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The process dies: nothing is dropped.
    fn die(reading: Vec<Reading>) {
        reading.into_iter().for_each(std::mem::forget);
    }

    #[test]
    fn what_is_read_at_two_ends_in_a_row_is_known_and_what_was_read_beside_it_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reading");
        let first = Readings::open(&path);
        drop(first.begin("fine"));
        die(["bad", "beside"].map(|key| first.begin(key)).into());
        let second = Readings::open(&path);
        assert_eq!(["fine", "bad", "beside"].map(|key| second.crashes(key)), [0, 1, 1]);
        die(vec![second.begin("bad")]);
        let third = Readings::open(&path);
        assert_eq!((third.crashes("bad"), third.crashes("beside")), (CRASHES_MAX, 1));
        drop(third.begin("beside"));
        let fourth = Readings::open(&path);
        assert_eq!((fourth.crashes("bad"), fourth.crashes("beside")), (2, 0), "it was read, and the process lived");
        fourth.forget("bad");
        assert_eq!(Readings::open(&path).crashes("bad"), 0);
    }

    #[test]
    fn an_orderly_stop_makes_no_suspects_and_keeps_those_that_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reading");
        die(vec![Readings::open(&path).begin("bad")]);
        let readings = Readings::open(&path);
        die(["bad", "other"].map(|key| readings.begin(key)).into());
        readings.stop();
        let after = Readings::open(&path);
        assert_eq!((after.crashes("bad"), after.crashes("other")), (1, 0));
    }

    #[test]
    fn a_file_that_makes_no_sense_suspects_nothing_and_what_is_noted_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reading");
        std::fs::write(&path, b"\xff\xfe\nreading\nreading x y\nsuspect 1\nreading 4294967295 k\n").unwrap();
        let readings = Readings::open(&path);
        assert_eq!(readings.crashes("k"), u32::MAX);
        die((0..2 * NOTED_MAX).map(|i| readings.begin(&i.to_string())).collect());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), NOTED_MAX);
        assert_eq!(Readings::open(&dir.path().join("none/reading")).crashes("k"), 0, "no file, no suspects");
    }
}
