//! What a reload changes: the keys whose values are others than before, and those that a running relay cannot change.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use toml::{Table, Value};

use crate::{
    config::{Config, DEFAULTS},
    origins::Origin,
};

/// What stands in configuration files: the value of each key, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written(BTreeMap<String, String>);

impl Written {
    /// What stands in these files. Those that are missing or cannot be understood hold nothing.
    pub fn read(files: &[&Path]) -> Self {
        Self::of(files.iter().filter_map(|file| fs::read_to_string(file).ok()))
    }

    /// Whether keys stand below this one.
    fn holds_below(&self, key: &str) -> bool {
        let below = format!("{key}.");
        self.0.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below))
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

/// A key in force, for people who look at the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInForce {
    /// As in errors: `source.ip1.address`.
    pub key: String,
    /// As it is written, without secrets; None: its file has changed since, and a reload is due.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// The last parts of keys whose values are secrets, or may hold one, as addresses of chat channels do.
const SECRETS: [&str; 4] = ["password", "scram_sha256", "tokens", "url"];
/// The longest value that is shown, in characters.
const VALUE_MAX: usize = 300;

/// What is shown in place of a secret.
const HIDDEN: &str = "(hidden)";

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
    /// Every key in force, sorted. `read`: what stood in the files when they were read.
    pub fn in_force(&self, read: &Written) -> Vec<KeyInForce> {
        static SHIPPED: LazyLock<Written> = LazyLock::new(|| Written::of(std::iter::once(DEFAULTS.to_owned())));
        let shown = |key: &str, value: &String| match key.rsplit('.').next().is_some_and(|last| SECRETS.contains(&last)) {
            true => HIDDEN.to_owned(),
            false => match value.char_indices().nth(VALUE_MAX) {
                Some((end, _)) => format!("{}…", &value[..end]),
                None => value.clone(),
            },
        };
        let of = |(key, origin): (&str, &Origin)| {
            let written = if matches!(origin, Origin::File { .. }) { read } else { &SHIPPED };
            KeyInForce { key: key.to_owned(), value: written.0.get(key).map(|value| shown(key, value)), origin: origin.clone() }
        };
        // A table is no key: what stands in it is.
        let is_table = |key: &str| read.holds_below(key) || SHIPPED.holds_below(key);
        self.lines.iter().filter(|(key, _)| !is_table(key)).map(of).collect()
    }

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

    #[test]
    fn every_key_in_force_tells_its_value_and_its_line_and_no_secret() {
        let text = "hostname = \"mx.demo.test\"\n[source.ip1]\naddress = \"127.0.0.1\"\n[alarm.ops]\nkind = \"slack\"\n\
                    url = \"https://hooks.example.com/T0/secret\"\n[route]\n\"a.test\" = { hosts = [\"127.0.0.1:1\"] }\n";
        let config = Config::parse(text, "mine.toml", &posthaste_host::ThisHost).unwrap();
        let keys = config.in_force(&Written::of(std::iter::once(text.to_owned())));
        let of = |wanted: &str| {
            let key = keys.iter().find(|key| key.key == wanted).unwrap_or_else(|| panic!("{wanted} is not in {keys:#?}"));
            (key.value.clone().unwrap(), key.origin.to_string())
        };
        assert_eq!(of("hostname"), ("\"mx.demo.test\"".into(), "mine.toml:1".into()));
        assert_eq!(of("source.ip1.address"), ("\"127.0.0.1\"".into(), "mine.toml:3".into()));
        assert_eq!(of("alarm.ops.url"), (HIDDEN.into(), "mine.toml:6".into()));
        assert_eq!(of("delivery.port").0, "25");
        assert!(of("delivery.port").1.starts_with("default (config/posthaste.toml:"));
        assert!(!keys.iter().any(|key| key.value.as_ref().is_some_and(|value| value.contains("T0/secret"))));
        assert!(keys.iter().all(|key| key.value.is_some()), "{:#?}", keys.iter().filter(|key| key.value.is_none()).collect::<Vec<_>>());
    }
}
