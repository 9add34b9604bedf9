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
    /// The file does not hold all of it yet.
    unsaved: bool,
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
        let damaged = standing.is_none();
        let alarms = Self(Arc::new(Mutex::new(Kept { path: Some(path.clone()), standing: standing.unwrap_or_default(), unsaved: false })));
        if damaged {
            let aside = put_aside(&path, now);
            alarms.raise(vec![aside], now);
        }
        Ok(alarms)
    }

    /// Alarms without a file.
    pub fn in_memory() -> Self {
        Self(Arc::new(Mutex::new(Kept { path: None, standing: Standing::default(), unsaved: false })))
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

    /// Writes the file if that has failed before. Blocks on the disk.
    pub fn save(&self) {
        let mut kept = self.lock();
        if kept.unsaved {
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
    fn save(&mut self) -> io::Result<()> {
        self.unsaved = true;
        if let Some(path) = &self.path {
            files::replace_and_keep_owner(path, &self.standing.to_bytes())?;
        }
        self.unsaved = false;
        Ok(())
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
    let remedy = "`posthaste audit` tells whether mail is missing. Check the disk".into();
    Finding { rule: "alarms_unreadable", key: now.as_second().to_string(), part: None, what, remedy }
}

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
