//! A relay whose clock a test sets, whose past it writes, and whose incidents it follows.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use crate::{client::Mail, dns::DnsServer, mx::FakeMx, relay::Relay, shim::Shim, wait::until};

/// A relay that looks for what is wrong every second, with a receiver for example.test and cousin.test.
///
/// A piece in the spool's quarantine is an incident of its own from the first look on, so that each look can be seen: it changes the file of
/// the incidents.
pub struct Scene {
    /// The relay.
    pub relay: Relay,
    /// The receiver of example.test and cousin.test.
    pub mx: FakeMx,
    /// DNS.
    pub dns: DnsServer,
    /// Makes system calls of the relay fail.
    pub shim: Shim,
    _folder: TempDir,
    /// Seconds by which the relay's clock is ahead.
    ahead: i64,
}

impl Scene {
    /// Starts it; `prepare` may write files into the relay's folder and returns more TOML.
    pub fn start(prepare: impl FnOnce(&Relay) -> String) -> Self {
        Self::start_with(|relay, _| prepare(relay))
    }

    /// The same, with the receiver's DNS to set.
    pub fn start_with(prepare: impl FnOnce(&Relay, &DnsServer) -> String) -> Self {
        let (dns, mx) = (DnsServer::start(), FakeMx::start());
        dns.ttl(0);
        for domain in ["example.test", "cousin.test"] {
            dns.mx(domain, 10, &format!("mx.{domain}")).a(&format!("mx.{domain}"), "127.0.0.1");
        }
        let mut relay = Relay::prepare(&format!(
            "dns.nameservers = [\"{}\"]\ndns.private_addresses = true\ndelivery.port = {}\nretry.schedule = [\"1h\"]\n\
             rules.every = \"1s\"\nrun.drain = \"1s\"\nrules.house.disk_free = 0.000001\nlisten.default.streams = [\"*\"]\nstream.letters = {{}}\nstream.default = {{}}\n",
            dns.address(),
            mx.port()
        ));
        let folder = TempDir::with_prefix("posthaste-shim-").expect("a folder for the shim");
        let shim = Shim::new(folder.path());
        relay.environment(shim.environment());
        let quarantine = relay.dir().join("data/spool/quarantine");
        fs::create_dir_all(&quarantine).expect("the spool's folder");
        fs::write(quarantine.join("canary.damaged"), "x").expect("a piece in quarantine");
        let more = prepare(&relay, &dns);
        relay.configure(&more);
        relay.run();
        Self { relay, mx, dns, shim, _folder: folder, ahead: 0 }
    }

    /// The relay's clock goes on by so many minutes at once.
    pub fn pass(&mut self, minutes: i64) {
        self.step(60 * minutes);
    }

    /// The relay's clock is set by so many seconds.
    pub fn step(&mut self, seconds: i64) {
        self.ahead += seconds;
        self.shim.set_clock(self.ahead);
    }

    /// Stops the relay and starts it again.
    pub fn restart(&mut self) {
        self.relay.stop();
        self.relay.run();
    }

    /// Waits until the rules have looked at everything that is so now.
    #[track_caller]
    pub fn looked(&self) {
        let path = self.relay.dir().join("data/incidents.json");
        let file = || fs::metadata(&path).ok().map(|meta| meta.ino());
        // The next look may have begun already.
        for _ in 0..2 {
            let before = file();
            until("a look of the rules", || file().filter(|now| Some(*now) != before));
        }
    }

    /// The incidents of a rule about something, as the relay shows them, the open ones first.
    pub fn shown(&self, rule: &str, key: &str) -> Vec<Value> {
        let out = self.relay.cli(["incidents", "list", "--all", "--json"]);
        let all: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        all.into_iter().filter(|incident| incident["rule"] == rule && incident["key"] == key).collect()
    }

    /// The lines of the log about them.
    pub fn told(&self, rule: &str, key: &str) -> Vec<Value> {
        let about = |event: &Value| event["event"] == "incident" && event["rule"] == rule && event["key"] == key;
        self.relay.log().events().into_iter().filter(about).collect()
    }

    /// Waits for an incident to open.
    #[track_caller]
    pub fn opened(&self, rule: &str, key: &str) -> Value {
        self.line(rule, key, "opened")
    }

    #[track_caller]
    fn line(&self, rule: &str, key: &str, state: &str) -> Value {
        self.relay.log().wait_until(&format!("{rule}/{key} to be {state}"), |event| {
            event["event"] == "incident" && event["rule"] == rule && event["key"] == key && event["state"] == state
        })
    }

    /// Looks, and finds no incident of a rule about something.
    #[track_caller]
    pub fn silent(&self, rule: &str, key: &str) {
        self.looked();
        let told = self.told(rule, key);
        assert!(told.is_empty(), "{told:#?}");
    }

    /// What must be true of every incident: it opens with this cause and next step, is the same after a restart, and closes by itself once `heal` is
    /// done and so many minutes have passed. It is opened and closed once.
    #[track_caller]
    pub fn lives(&mut self, (rule, key): (&str, &str), cause: &[&str], next_step: &str, minutes: i64, heal: impl FnOnce(&Self)) {
        let opened = self.opened(rule, key);
        let detail = opened["detail"].as_str().unwrap_or_default();
        for part in cause {
            assert!(detail.contains(part), "{part:?} is no part of {detail:?}");
        }
        assert!(opened["next_step"].as_str().is_some_and(|step| step.contains(next_step)), "{next_step:?} is no part of {opened}");
        self.restart();
        self.looked();
        let shown = self.shown(rule, key);
        assert!(shown.len() == 1 && shown[0]["id"] == opened["incident"] && shown[0]["state"] == "open", "{opened}\n{shown:#?}");
        heal(self);
        self.looked();
        self.pass(minutes);
        let closed = self.line(rule, key, "closed");
        assert_eq!(closed["incident"], opened["incident"], "{closed}");
        let states: Vec<String> = self.told(rule, key).iter().map(|event| event["state"].to_string()).collect();
        assert_eq!(states.iter().filter(|state| *state != "\"changed\"").count(), 2, "opened once and closed once: {states:?}");
    }

    /// Sends a message to so many recipients of a domain, in a stream, or more if they are many, and waits until each recipient has had an attempt.
    /// The first `odd` recipients are called `odd0`, `odd1` and so on, the others `r0`, `r1`.
    #[track_caller]
    pub fn send(&self, stream: &str, domain: &str, recipients: usize, odd: usize) {
        const AT_ONCE: usize = 100;
        let name = |n: usize| format!("{}{n}@{domain}", if n < odd { "odd" } else { "r" });
        let begins = (0..recipients).step_by(AT_ONCE);
        let parts = begins.map(|from| (from..recipients.min(from + AT_ONCE)).map(name).collect::<Vec<String>>());
        let ids: Vec<String> = parts.map(|to| self.relay.send(&letter(stream, "sender.test", &to))).collect();
        let mut tried = 0;
        self.relay.log().wait_until(&format!("{recipients} attempts"), |event| {
            let ours = event["message"].as_str().is_some_and(|id| ids.iter().any(|own| own == id));
            tried += usize::from(ours && ["delivered", "bounced", "deferred"].iter().any(|word| event["event"] == *word));
            tried >= recipients
        });
    }
}

/// A message in a stream, from an address of this domain in its From field.
pub fn letter(stream: &str, from_domain: &str, to: &[String]) -> Mail {
    let text = format!("X-Posthaste-Stream: {stream}\r\nFrom: <writer@{from_domain}>\r\nSubject: x\r\n\r\nHello.\r\n");
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    Mail::raw("", &to, text.as_bytes())
}

/// What time it is, by the file system.
pub fn now(folder: &Path) -> Timestamp {
    let path = folder.join("now");
    fs::write(&path, "").expect("the folder can be written");
    let meta = fs::metadata(&path).expect("it was just written");
    Timestamp::from_second(meta.mtime()).expect("a time of today")
}

/// So many minutes before a time.
pub fn ago(now: Timestamp, minutes: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_mins(minutes)).expect("a time of this year")
}
