//! Alarms that stand until an operator acknowledges them: about what is missing or damaged, which no time mends, and about what an operator has
//! to mend; the latter end by themselves once that is done.
//!
//! They are kept in the file `alarms.json` of the data folder, so that each start says again what still stands, and any command can show it.
//! The file holds a bounded number of them; what comes on top is counted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use posthaste_host::files;

use self::standing::Standing;
pub use self::standing::{Acknowledgement, Finding, StandingAlarm, StandingNow};

mod standing;

/// The alarms that stand, and their file. Clones share both.
#[derive(Clone, Debug)]
pub struct Alarms(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    /// The file; None: there is none, and the alarms are in memory alone.
    path: Option<PathBuf>,
    standing: Standing,
    /// The id of the next alarm, as the file has it.
    saved_next: u64,
    /// The file does not hold all of it yet.
    unsaved: bool,
    /// The file's length as it was written last, or read.
    length: Option<u64>,
    /// The file could not be understood and was put aside just now: the alarm about that is all that stands.
    put_aside: bool,
}

/// Why the alarms of a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AlarmsError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another version wrote the file. It is left alone.
    #[error(
        "{} has version {version}, and this posthaste knows {known}; nothing was touched. Start the posthaste that wrote it; if none did, move the \
         file away", path.display(), known = Standing::VERSION
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Its version as it stands there.
        version: String,
    },
}

impl Alarms {
    /// The alarms of this data folder; the file need not exist. One that cannot be understood is renamed, and is an alarm itself.
    ///
    /// # Errors
    /// The file cannot be read, or another version wrote it.
    pub fn open(data_dir: &Path, now: Timestamp) -> Result<Self, AlarmsError> {
        let path = data_dir.join(NAME);
        let read = match files::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(AlarmsError::Read { path, source }),
        };
        let standing = match read.as_deref().map(Standing::from_bytes) {
            None => Some(Standing::default()),
            Some(Ok(standing)) => Some(standing),
            Some(Err(Some(version))) => return Err(AlarmsError::Unknown { path, version }),
            Some(Err(None)) => None,
        };
        let (damaged, length) = (standing.is_none(), read.map(|bytes| bytes.len() as u64));
        let kept = Kept::new(Some(path.clone()), standing.unwrap_or_default());
        let alarms = Self(Arc::new(Mutex::new(Kept { length, put_aside: damaged, ..kept })));
        if damaged {
            let aside = put_aside(&path, now);
            alarms.raise(vec![aside], now);
        }
        Ok(alarms)
    }

    /// Alarms without a file.
    pub fn in_memory() -> Self {
        Self(Arc::new(Mutex::new(Kept::new(None, Standing::default()))))
    }

    /// What stands in a data folder that may be in use, read from its file alone.
    ///
    /// # Errors
    /// As [`Self::open`]; a file that cannot be understood is an error, too.
    pub fn read(data_dir: &Path) -> Result<StandingNow, AlarmsError> {
        let path = data_dir.join(NAME);
        let bytes = match files::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StandingNow::default()),
            Err(source) => return Err(AlarmsError::Read { path, source }),
        };
        match Standing::from_bytes(&bytes) {
            Ok(standing) => Ok(standing.now()),
            Err(Some(version)) => Err(AlarmsError::Unknown { path, version }),
            Err(None) => Err(AlarmsError::Read { path, source: io::ErrorKind::InvalidData.into() }),
        }
    }

    /// Raises an alarm for each finding that was not raised before, and returns the new ones that are kept one by one. They stand from now
    /// on, even if the file cannot be written: [`Self::save`] tries again. Blocks on the disk.
    pub fn raise(&self, findings: Vec<Finding>, now: Timestamp) -> Vec<StandingAlarm> {
        let mut kept = self.lock();
        let before = kept.standing.clone();
        let raised = kept.standing.raise(findings, false, now);
        if kept.standing != before {
            kept.change_and_report();
        }
        raised
    }

    /// Raises an alarm unless it was raised before, and returns it if it is new and kept by itself. `mends`: it ends once that is mended. The file
    /// is written by the next [`Self::save`], so that this does not block.
    pub fn begin(&self, finding: Finding, mends: bool, now: Timestamp) -> Option<StandingAlarm> {
        let mut kept = self.lock();
        let raised = kept.standing.raise(vec![finding], mends, now).pop();
        kept.unsaved |= raised.is_some();
        raised
    }

    /// Ends what was raised by this rule about this key: it is mended. Returns the ids of the alarms that still stood; None if nothing was
    /// raised, or it was ended before. Does not block, as [`Self::begin`].
    pub fn mend(&self, rule: &str, key: &str) -> Option<Vec<u64>> {
        let mut kept = self.lock();
        let mended = kept.standing.mend(rule, Some(key));
        kept.unsaved |= mended.is_some();
        mended
    }

    /// Gives an alarm that stands the words of a finding by the same rule about the same key; None: there is none. Does not block, as
    /// [`Self::begin`].
    pub fn reword(&self, finding: &Finding) -> Option<StandingAlarm> {
        let mut kept = self.lock();
        let reworded = kept.standing.reword(finding);
        kept.unsaved |= reworded.is_some();
        reworded
    }

    /// Ends the alarms by these rules: a start has shown that what they were about is mended. Does not block, as [`Self::begin`].
    pub fn mend_all(&self, rules: &[&str]) {
        let mut kept = self.lock();
        for rule in rules {
            let mended = kept.standing.mend(rule, None);
            kept.unsaved |= mended.is_some();
        }
    }

    /// Acknowledges the alarms with these ids, or all. Durable when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be written; then everything stands as before.
    pub fn acknowledge(&self, ids: Option<&[u64]>, by: &str, now: Timestamp) -> io::Result<Acknowledgement> {
        let mut kept = self.lock();
        let before = kept.standing.clone();
        let acknowledgement = kept.standing.acknowledge(ids, by, now);
        kept.save().inspect_err(|_| kept.standing = before)?;
        Ok(acknowledgement)
    }

    /// The alarms that stand.
    pub fn now(&self) -> StandingNow {
        self.lock().standing.now()
    }

    /// The number of the next alarm, as the file has it: it says how many the file must know of.
    pub fn next(&self) -> u64 {
        self.lock().saved_next
    }

    /// Whether the file does not know of every alarm before the one numbered `next`: it is gone, damaged, or an old copy. Then what stood is not
    /// known; that is an alarm from now on, and no number is given twice. Called before others are raised. Blocks on the disk.
    pub fn must_know(&self, next: u64, now: Timestamp) -> bool {
        let mut kept = self.lock();
        let known = kept.standing.next();
        if std::mem::take(&mut kept.put_aside) {
            kept.standing.renumber_from(next);
        } else if known < next {
            kept.standing.skip_to(next);
            let (path, last) = (kept.path.as_deref().unwrap_or_else(|| Path::new(NAME)).display(), next - 1);
            let what =
                format!("alarms were lost: {last} were raised, and the list of those that stand, {path}, ends before number {known}");
            let finding = Finding { rule: "alarms_lost", key: next.to_string(), part: None, what, remedy: READ_THE_LOG.into() };
            kept.standing.raise(vec![finding], false, now);
        } else {
            return false;
        }
        kept.change_and_report();
        true
    }

    /// Writes the file if that has failed before, or if somebody removed it or made it shorter or longer. Blocks on the disk.
    pub fn save(&self) {
        let mut kept = self.lock();
        if kept.unsaved || kept.is_not_as_left() {
            // It was reported when it failed first.
            let _ = kept.save();
        }
    }

    /// Takes what was acknowledged while no relay ran, so that the log can hear of it: each acknowledgement once, unless a crash comes between.
    pub fn take_untold(&self) -> Vec<Acknowledgement> {
        let mut kept = self.lock();
        let untold = kept.standing.take_untold();
        if !untold.is_empty() {
            kept.change_and_report();
        }
        untold
    }

    /// Remembers an acknowledgement for [`Self::take_untold`]: no relay runs that could write it into the log. Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn tell_later(&self, acknowledgement: Acknowledgement) -> io::Result<()> {
        let mut kept = self.lock();
        kept.standing.tell_later(acknowledgement);
        kept.save()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(path: Option<PathBuf>, standing: Standing) -> Self {
        let saved_next = standing.next();
        Self { path, standing, saved_next, unsaved: false, length: None, put_aside: false }
    }

    fn save(&mut self) -> io::Result<()> {
        self.unsaved = true;
        let bytes = self.standing.to_bytes();
        if let Some(path) = &self.path {
            files::replace_and_keep_owner(path, &bytes)?;
        }
        (self.unsaved, self.length, self.saved_next) = (false, Some(bytes.len() as u64), self.standing.next());
        Ok(())
    }

    /// Whether somebody else removed or changed the file. A folder that cannot be looked into tells nothing.
    fn is_not_as_left(&self) -> bool {
        let Some(path) = &self.path else { return false };
        match fs::metadata(path) {
            Ok(file) => Some(file.len()) != self.length,
            Err(error) => error.kind() == io::ErrorKind::NotFound && self.length.is_some(),
        }
    }

    fn change_and_report(&mut self) {
        if let Err(error) = self.save() {
            let path = self.path.as_deref().unwrap_or_else(|| Path::new(NAME));
            tracing::error!("{} cannot be written and is tried again: {error}", path.display());
        }
    }
}

fn put_aside(path: &Path, now: Timestamp) -> Finding {
    let aside = path.with_added_extension(format!("unreadable-{}", now.as_second()));
    let what = match fs::rename(path, &aside) {
        Ok(()) => format!("the list of alarms that stood could not be read; it is now {}", aside.display()),
        Err(error) => format!("the list of alarms that stood, {}, could not be read, nor renamed: {error}", path.display()),
    };
    Finding { rule: "alarms_unreadable", key: now.as_second().to_string(), part: None, what, remedy: READ_THE_LOG.into() }
}

const READ_THE_LOG: &str = "`posthaste log --event relay` shows the alarms that were raised and acknowledged. What the relay can find again, it \
                            raises again. `posthaste audit` tells whether mail is missing. Check the disk";

/// The name of the file.
const NAME: &str = "alarms.json";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Part;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn lost(key: &str) -> Finding {
        Finding { rule: "segment_missing", key: key.into(), part: Some(Part::Spool), what: format!("{key} is gone"), remedy: "Look".into() }
    }

    #[test]
    fn an_alarm_stands_through_restarts_until_it_is_acknowledged_and_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Alarms::open(dir.path(), NOW).unwrap();
        let ids = |alarms: &Alarms| alarms.now().alarms.iter().map(|alarm| alarm.id).collect::<Vec<_>>();
        assert_eq!(open().raise(vec![lost("7"), lost("9")], NOW).len(), 2);
        let alarms = open();
        assert_eq!(ids(&alarms), [1, 2]);
        assert_eq!(alarms.raise(vec![lost("9")], NOW), [], "it stands already");
        let done = alarms.acknowledge(Some(&[2, 5]), "ann", NOW).unwrap();
        assert_eq!((done.ids, done.unknown), (vec![2], vec![5]));
        assert_eq!(ids(&open()), [1]);
        assert_eq!(open().raise(vec![lost("9")], NOW), [], "the operator knows");
        assert_eq!(open().raise(vec![lost("10")], NOW)[0].id, 3, "an id is never given twice");
        open().acknowledge(None, "ann", NOW).unwrap();
        assert_eq!(Alarms::read(dir.path()).unwrap(), StandingNow::default());
    }

    #[test]
    fn an_alarm_stands_though_the_file_cannot_be_written_and_is_saved_once_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let alarms = Alarms::open(dir.path(), NOW).unwrap();
        // A folder in its place cannot be replaced by a file.
        fs::create_dir(dir.path().join(NAME)).unwrap();
        assert_eq!(alarms.raise(vec![lost("7")], NOW).len(), 1);
        assert_eq!(alarms.now().alarms.len(), 1);
        assert!(alarms.acknowledge(None, "ann", NOW).is_err());
        assert_eq!(alarms.now().alarms.len(), 1, "who is told that it failed must find it standing");
        fs::remove_dir(dir.path().join(NAME)).unwrap();
        alarms.save();
        assert_eq!(Alarms::open(dir.path(), NOW).unwrap().now().alarms.len(), 1);
    }

    #[test]
    fn a_file_of_another_version_is_refused_and_a_damaged_one_is_put_aside_and_an_alarm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for v in [r#""v":2,"#, r#""v":"1","#, r#""v":1.5,"#, r#""v":-1,"#, r#""v":0,"#, r#""v":null,"#, r#""v":[1],"#, ""] {
            let text = format!(r#"{{{v}"next":1,"alarms":[]}}"#);
            fs::write(&path, &text).unwrap();
            let refused = Alarms::open(dir.path(), NOW).unwrap_err();
            assert!(matches!(refused, AlarmsError::Unknown { .. }), "{text}: {refused}");
            assert!(matches!(Alarms::read(dir.path()), Err(AlarmsError::Unknown { .. })), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, r#"{"v":1,"alar"#).unwrap();
        assert!(Alarms::read(dir.path()).is_err());
        let alarms = Alarms::open(dir.path(), NOW).unwrap();
        assert_eq!(alarms.now().alarms[0].rule, "alarms_unreadable");
        assert_eq!(fs::read_to_string(dir.path().join("alarms.json.unreadable-0")).unwrap(), r#"{"v":1,"alar"#);
    }

    #[test]
    fn a_list_that_is_gone_or_an_old_copy_is_an_alarm_and_no_number_is_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let alarms = Alarms::open(dir.path(), NOW).unwrap();
        assert!(!alarms.must_know(1, NOW), "a new folder");
        alarms.raise(vec![lost("7")], NOW);
        let old = fs::read(&path).unwrap();
        alarms.raise(vec![lost("9")], NOW);
        let next = alarms.next();
        assert!(!Alarms::open(dir.path(), NOW).unwrap().must_know(next, NOW));
        for copy in [Some(old), None] {
            fs::remove_file(&path).unwrap();
            copy.into_iter().for_each(|old| fs::write(&path, old).unwrap());
            let alarms = Alarms::open(dir.path(), NOW).unwrap();
            assert!(alarms.must_know(next, NOW) && !alarms.must_know(next, NOW));
            let last = Alarms::read(dir.path()).unwrap().alarms.pop().unwrap();
            assert_eq!((last.rule.as_str(), last.id), ("alarms_lost", next), "{}", last.what);
        }
        fs::write(&path, "garbage").unwrap();
        let alarms = Alarms::open(dir.path(), NOW).unwrap();
        assert!(alarms.must_know(next, NOW) && !alarms.must_know(next, NOW));
        let standing = Alarms::read(dir.path()).unwrap().alarms;
        assert_eq!(standing.iter().map(|alarm| (alarm.rule.as_str(), alarm.id)).collect::<Vec<_>>(), [("alarms_unreadable", next)]);
    }

    #[test]
    fn a_list_that_somebody_removes_or_cuts_while_the_relay_runs_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, alarms) = (dir.path().join(NAME), Alarms::open(dir.path(), NOW).unwrap());
        alarms.save();
        assert!(!path.exists(), "nothing to keep");
        alarms.raise(vec![lost("7")], NOW);
        let before = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        alarms.save();
        assert_eq!(fs::read(&path).unwrap(), before);
        fs::write(&path, "").unwrap();
        alarms.save();
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn what_was_acknowledged_without_a_relay_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let alarms = Alarms::open(dir.path(), NOW).unwrap();
        alarms.raise(vec![lost("7")], NOW);
        let done = alarms.acknowledge(None, "ann", NOW).unwrap();
        alarms.tell_later(done.clone()).unwrap();
        assert_eq!(Alarms::open(dir.path(), NOW).unwrap().take_untold(), [done]);
        assert_eq!(Alarms::open(dir.path(), NOW).unwrap().take_untold(), []);
    }
}
