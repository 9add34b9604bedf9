//! Reads the delivery log for tests.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use jsonschema::Validator;
use posthaste_monitor::{CURRENT, Lines, SCHEMA};
use serde_json::Value;

use crate::wait;

/// The log in a folder.
#[derive(Clone, Debug)]
pub struct DeliveryLog {
    dir: PathBuf,
}

/// The number of log lines shown when a test fails.
const TAIL: usize = 12;

impl DeliveryLog {
    /// The log in `dir`, which need not exist yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Every event, the oldest first.
    pub fn events(&self) -> Vec<Value> {
        if !self.dir.join(CURRENT).exists() {
            return Vec::new();
        }
        let mut lines = Lines::all(&self.dir);
        let mut events = Vec::new();
        while let Some(line) = lines.next_line().expect("the log can be read") {
            events.push(serde_json::from_slice(line.bytes).expect("every line of the log is JSON"));
        }
        events
    }

    /// The events of that name, about that recipient ("" for all).
    pub fn of(&self, event: &str, rcpt: &str) -> Vec<Value> {
        self.events().into_iter().filter(|e| is(e, event, rcpt)).collect()
    }

    /// The names of the events about a recipient, in order.
    pub fn history(&self, rcpt: &str) -> Vec<String> {
        let about: Vec<Value> = self.events().into_iter().filter(|e| e["rcpt"] == rcpt).collect();
        about.iter().map(|e| e["event"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits for the first event of that name about that recipient.
    #[track_caller]
    pub fn wait_for(&self, event: &str, rcpt: &str) -> Value {
        self.wait_for_many(event, rcpt, 1).swap_remove(0)
    }

    /// Waits for this many events of that name about that recipient ("" for all).
    #[track_caller]
    pub fn wait_for_many(&self, event: &str, rcpt: &str, count: usize) -> Vec<Value> {
        // Continue where the last look ended: there may be thousands of lines.
        let mut lines = Lines::all(&self.dir);
        let mut found = Vec::new();
        wait::until(&format!("{count} {event} {rcpt}"), || {
            while let Some(read) = lines.next_line().ok()? {
                let line: Value = serde_json::from_slice(read.bytes).expect("every line of the log is JSON");
                found.extend(Some(line).filter(|e| is(e, event, rcpt)));
            }
            (found.len() >= count).then(|| std::mem::take(&mut found))
        })
    }

    /// Waits for a line that fits.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let mut lines = Lines::all(&self.dir);
        wait::until(what, || {
            while let Some(read) = lines.next_line().ok()? {
                let line: Value = serde_json::from_slice(read.bytes).expect("every line of the log is JSON");
                if fits(&line) {
                    return Some(line);
                }
            }
            None
        })
    }

    /// Waits for a line about the relay itself.
    #[track_caller]
    pub fn wait_for_relay(&self, state: &str) -> Value {
        wait::until(&format!("the relay to say {state}"), || self.of("relay", "").into_iter().find(|e| e["state"] == state))
    }

    /// The last lines, as text.
    pub fn tail(&self) -> String {
        let text = fs::read_to_string(self.dir.join(CURRENT)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].iter().fold(String::new(), |mut out, line| {
            let _ = writeln!(out, "{line}");
            out
        })
    }

    /// Everything in it that the published schema does not allow; must be empty.
    pub fn violations(&self) -> String {
        let mut out = String::new();
        for event in self.events() {
            for error in schema().iter_errors(&event) {
                let _ = writeln!(out, "{error}\n    in {event}");
            }
        }
        out
    }
}

fn is(line: &Value, event: &str, rcpt: &str) -> bool {
    line["event"] == event && (rcpt.is_empty() || line["rcpt"] == rcpt)
}

fn schema() -> &'static Validator {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    VALIDATOR.get_or_init(|| {
        let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
        jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is one")
    })
}
