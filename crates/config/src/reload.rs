//! The keys that a running relay cannot change.

use crate::config::Config;

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
        compare("http.body_memory", self.http.body_memory == new.http.body_memory);
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
