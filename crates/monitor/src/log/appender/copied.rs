//! What the appender does about copies of files of the log.

use std::{fs::File, io, path::Path};

use super::{
    super::{
        FileId, LogAlarm, LogError,
        files::{self, CURRENT},
    },
    Appender,
    copies::{begins_with, opened, put_aside},
};

impl Appender {
    /// Whether the open file was overwritten with a copy of a rotated one. What waits of our own lines may stand behind that.
    pub(super) fn holds_a_copy(&self) -> io::Result<bool> {
        let Some(id) = FileId::read(self.disk.file())?.filter(|id| Some(*id) != self.file) else { return Ok(false) };
        Ok(self.inventory.rotated.iter().any(|listed| listed.file == id && self.options.dir.join(&listed.name).is_file()))
    }

    /// Moves the open file, which others have overwritten with a copy of a rotated one, out of the log. All that waits is written anew.
    pub(super) fn drop_copy(&mut self) -> Result<(), LogError> {
        let (current, now) = (self.options.dir.join(CURRENT), (self.clock)());
        let aside = files::aside_path(&self.options.dir, CURRENT, now);
        self.folder.rename(&current, &aside).map_err(LogError::io("rename", &current))?;
        self.alarms.push(LogAlarm::Meddled(format!(
            "another program has written an older copy of a rotated file into {CURRENT}; it is now {} and no part of the log",
            aside.display()
        )));
        Ok(())
    }

    /// Puts a rotated file that is not on the list aside if the current one, or one that is listed, begins with all that it holds. Where it is the
    /// other way round, the listed one is the copy, and leaves the list. Returns whether this one is put aside.
    pub(super) fn is_put_aside(&mut self, path: &Path) -> Result<bool, LogError> {
        let now = (self.clock)();
        let read = |path: &Path| opened(path).map_err(LogError::io("read", path));
        let Some((found, id)) = read(path)? else { return Ok(false) };
        let listed = self.inventory.rotated.iter().filter(|listed| listed.file == id).map(|listed| self.options.dir.join(&listed.name));
        let current = (self.file == Some(id)).then(|| self.options.dir.join(CURRENT));
        for other in listed.chain(current).collect::<Vec<_>>() {
            let Some((file, _)) = read(&other)?.filter(|(_, other)| *other == id) else { continue };
            let begins = |long: &File, short: &File| begins_with(long, short).map_err(LogError::io("read", path));
            if begins(&file, &found)? {
                let said = put_aside(&*self.folder, path, &other, now)?;
                self.alarms.push(LogAlarm::Meddled(said));
                return Ok(true);
            }
            if !other.ends_with(CURRENT) && begins(&found, &file)? {
                let said = put_aside(&*self.folder, &other, path, now)?;
                self.inventory.rotated.retain(|listed| !other.ends_with(&listed.name));
                self.alarms.push(LogAlarm::Meddled(said));
                continue;
            }
            let (one, two) = (files::name_of(path), files::name_of(&other));
            self.alarms.push(LogAlarm::Meddled(format!(
                "{one} and {two} begin with the same lines and go on differently: what both hold counts twice, and posthaste audit fails. Only \
                 one of them can be right: move the other out of the folder"
            )));
        }
        Ok(false)
    }
}
