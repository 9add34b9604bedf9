//! The list of the log's files: read at the start, written as the files change, and written again where others have changed it.

use std::path::Path;

use posthaste_mail::{GapFacts, What};

use super::{
    super::{
        LogAlarm, LogError,
        disk::Seen,
        files::{self, CURRENT},
        inventory::{Found, Inventory, LIST, TWIN},
    },
    Appender,
};
use crate::encode;

impl Appender {
    /// Reads the list and its twin, and takes the newer one. Says what is wrong with them. Returns whether there is neither.
    pub(super) fn read_list(&mut self, dir: &Path) -> Result<bool, LogError> {
        let (list, twin) = (Found::read(dir, LIST)?, Found::read(dir, TWIN)?);
        let wrong = match &list {
            Found::Nothing => Some(format!("{} is gone", dir.join(LIST).display())),
            Found::Damaged => {
                let aside = files::aside_path(dir, LIST, (self.clock)());
                self.folder.rename(&dir.join(LIST), &aside).map_err(LogError::io("rename", dir.join(LIST)))?;
                Some(format!("cannot be understood, and is now {}", aside.display()))
            }
            Found::List(_) => None,
        };
        let is_first = matches!((&list, &twin), (Found::Nothing, Found::Nothing));
        let is_new =
            || files::list(dir).map(|files| files.iter().all(|file| std::fs::metadata(&file.path).is_ok_and(|file| file.len() == 0)));
        match (list.list(), twin.list(), wrong) {
            (Some(list), Some(twin), _) if twin.serial > list.serial => {
                self.tell_list_restored(&format!(
                    "was replaced by an older copy: number {}, where {} were written",
                    list.serial, twin.serial
                ));
                self.take_list(twin);
            }
            (Some(list), ..) => self.take_list(list),
            (None, Some(twin), wrong) => {
                self.tell_list_restored(&wrong.unwrap_or_default());
                self.take_list(twin);
            }
            // A new log gets its list before its first line.
            (None, None, wrong) => {
                if !is_first || !is_new()? {
                    self.tell_list_lost(&wrong.unwrap_or_default());
                }
            }
        }
        Ok(is_first)
    }

    /// Goes on with this list. If it is older than the newest one that the caller knows of, lines may be gone that only later lists knew of: that is
    /// an alarm, and a `log_gap` among the lines that wait.
    fn take_list(&mut self, list: Inventory) {
        self.list_serial = list.serial;
        self.inventory = list;
        let (newest, Inventory { serial, written, .. }) = (self.options.list_serial, &self.inventory);
        self.list_is_old = *serial < newest;
        if !self.list_is_old {
            return;
        }
        let (now, since) = ((self.clock)(), *written);
        let when = since.map_or_else(String::new, |since| format!(" at {since:.0}"));
        let what = format!(
            "the list of the delivery log's files, {}, and its twin were replaced by older copies: number {serial}, written{when}, where {newest} \
             were written",
            self.options.dir.join(LIST).display()
        );
        let detail = format!("{what}. Whether lines that were written since are missing is not known");
        let (key, remedy) =
            (newest.to_string(), "`posthaste audit` cannot prove what happened since. If there is a copy of the log, compare");
        self.alarms.push(LogAlarm::ListLost { key, what: detail.clone(), remedy: remedy.to_owned() });
        let gap = GapFacts {
            cause: "list_replaced",
            file: None,
            since,
            until: Some(now),
            from_byte: 0,
            bytes: 0,
            lines: None,
            accepted: None,
            ended: None,
            crc32: None,
            detail,
        };
        encode(&(self.stamp)(now, What::LogGap(Box::new(gap))), &mut self.waiting);
        self.inventory.serial = newest;
    }

    fn tell_list_lost(&mut self, what: &str) {
        self.alarms.push(LogAlarm::ListLost {
            key: (self.clock)().to_string(),
            what: format!(
                "the list of the delivery log's files {what}: whether lines were cut off or files removed while no relay ran is not known"
            ),
            remedy: "`posthaste audit` says whether what is there balances. If there is a copy of the log, compare".to_owned(),
        });
    }

    fn tell_list_restored(&mut self, what: &str) {
        self.alarms.push(LogAlarm::Meddled(format!(
            "the list of the delivery log's files, {LIST}, {what}; it was made again from {TWIN}, and nothing that it said is lost"
        )));
    }

    /// Writes the list. Where that fails, it is said once and tried again later: until then a start knows less of the files.
    pub(in crate::log) fn save_list(&mut self) -> Result<(), LogError> {
        let now = (self.clock)();
        self.inventory.current = self.current_entry(CURRENT.to_owned(), None);
        (self.inventory.serial, self.inventory.written) = (self.inventory.serial + 1, Some(now));
        (self.unsaved, self.saved) = (true, now);
        let written = self.inventory.write(&self.options.dir, &*self.folder, self.options.mode);
        self.list_seen = self.see_list();
        match &written {
            Ok(()) => (self.unsaved, self.save_failed, self.list_serial) = (false, false, self.inventory.serial),
            Err(error) if !std::mem::replace(&mut self.save_failed, true) => tracing::error!("the list of the log's files: {error}"),
            Err(_) => {}
        }
        written
    }

    /// The number of the list on disk.
    pub(in crate::log) fn list_serial(&self) -> u64 {
        self.list_serial
    }

    /// Whether others have changed or removed the list or its twin: they are written again then.
    pub(super) fn look_at_list(&mut self) {
        // A folder that may not be looked into tells nothing.
        let now = self.see_list();
        if self.unsaved || self.list_seen.is_none() || now.is_none() || self.list_seen == now {
            return;
        }
        self.unsaved = true;
        self.alarms.push(LogAlarm::Meddled(format!(
            "another program has removed or replaced the list of the delivery log's files, {LIST} or {TWIN}. It was written again, and nothing that \
             it said is lost"
        )));
    }

    /// The list and its twin, as the system sees them.
    fn see_list(&self) -> Option<[Option<Seen>; 2]> {
        let seen = |name| self.folder.seen(&self.options.dir.join(name)).ok();
        Some([seen(LIST)?, seen(TWIN)?])
    }
}
