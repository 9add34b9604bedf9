//! What a reload changes: the keys whose values are others than before, and those that a running relay cannot change.

use std::{collections::BTreeMap, fs, path::Path};

use toml::{Table, Value};

use crate::config::Config;

/// What stands in configuration files: the value of each key, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(BTreeMap<String, String>);

impl Written {
    /// What stands in these files. Those that are missing or cannot be understood hold nothing.
    pub fn read(files: &[&Path]) -> Self {
        Self::of(files.iter().filter_map(|file| fs::read_to_string(file).ok()))
    }

    fn of(texts: impl Iterator<Item = String>) -> Self {
        let mut all = BTreeMap::new();
        texts.filter_map(|text| text.parse::<Table>().ok()).for_each(|table| gather(&table, "", &mut all));
        Self(all)
    }

    /// The keys that stand in one of both alone, or with other values.
    pub fn changed(&self, new: &Self) -> Vec<String> {
        let gone = self.0.keys().filter(|key| !new.0.contains_key(*key));
        let others = new.0.iter().filter(|(key, value)| self.0.get(*key) != Some(*value)).map(|(key, _)| key);
        let mut keys: Vec<String> = gone.chain(others).cloned().collect();
        keys.sort();
        keys
    }
}

/// A key as it stands in the file: in quotes if it is not a bare one.
fn quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { key.to_owned() } else { format!("{key:?}") }
}

fn gather(table: &Table, within: &str, all: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if within.is_empty() { quoted(key) } else { format!("{within}.{}", quoted(key)) };
        match value {
            Value::Table(table) => gather(table, &key, all),
            value => drop(all.insert(key, value.to_string())),
        }
    }
}

impl Config {
    /// The keys in which `new` differs and that only a restart can put in force. All others take effect on reload.
    pub fn diff_restart_needed(&self, new: &Self) -> Vec<String> {
        let listeners = self.listeners.keys().chain(new.listeners.keys().filter(|name| !self.listeners.contains_key(*name)));
        let moved = listeners.filter(|name| {
            let at = |config: &Self| config.listeners.get(*name).map(|l| l.addresses.clone());
            at(self) != at(new)
        });
        let mut keys: Vec<String> = moved.map(|name| format!("listen.{name}.address")).collect();
        let mut compare = |key: &str, same: bool| keys.extend((!same).then(|| key.to_owned()));
        compare("threads", self.threads == new.threads);
        compare("data_dir", self.data_dir == new.data_dir);
        compare("http.address", self.http.addresses == new.http.addresses);
        compare("suppression.memory", self.suppression.memory == new.suppression.memory);
        compare("http.body_memory", self.requests.body_memory == new.requests.body_memory);
        compare("dns.lookups", self.dns.lookups == new.dns.lookups);
        compare("spool.dir", self.spool.dir == new.spool.dir);
        compare("spool.segment_size", self.spool.segment_size == new.spool.segment_size);
        compare("spool.index_cache", self.spool.index_cache == new.spool.index_cache);
        let counted = |config: &Self| config.monitor.counting.as_ref().map(|counting| (counting.zone.clone(), counting.limits.clone()));
        compare("monitor", counted(self) == counted(new));
        compare("log.dir", self.log.dir == new.log.dir);
        compare("dkim.threads", self.dkim.threads == new.dkim.threads);
        compare("admin.socket", self.admin.socket == new.admin.socket);
        compare("admin.mode", self.admin.mode == new.admin.mode);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_new_gone_or_others_are_named_and_no_value_is() {
        let read = |text: &str| Written::of([text.to_owned(), "no TOML".to_owned()].into_iter());
        let before = read("hostname = \"a\"\n[route.\"*\"]\nhosts = [\"x\"]\nuser = \"u\"\n");
        let after = read("hostname = \"a\"\nthreads = 2\n[route.\"*\"]\nhosts = [\"y\"]\n");
        assert_eq!(before.changed(&after), ["route.\"*\".hosts", "route.\"*\".user", "threads"]);
        assert_eq!(after.changed(&after), Vec::<String>::new());
    }
}
