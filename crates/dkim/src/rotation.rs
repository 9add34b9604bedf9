//! The rotation of keys: the next key is made and announced ahead of its turn, takes over only once DNS has it, and the key before
//! stays in DNS until the mail that it signed has arrived.
//!
//! ```text
//!            DNS has it, and its turn has come                   `keep` is over
//!   Next ────────────────────────────────────▶ Active ──▶ Retiring ────────────▶ Retired (or gone)
//!    ▲                                            │
//!    └── made `ahead` of the turn ────────────────┘ every `every`
//! ```
//!
//! Nothing here uses DNS, the disk or the clock: [`Succession::due`] says what to do, and the caller reports the result.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Algorithm;

/// When keys change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long a key signs; `None` if keys change only on request.
    pub every: Option<Duration>,
    /// How long before its turn the next key is made, so that it can be published in time.
    pub ahead: Duration,
    /// How long a key stays in DNS after its last signature.
    pub keep: Duration,
}

/// The stage of a key. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Stage {
    /// It is made, and waits for DNS and for its turn.
    Next {
        /// True if somebody requested it: its turn is then as soon as DNS has it.
        asked: bool,
    },
    /// It signs.
    Active {
        /// Since when.
        since: u64,
    },
    /// It does not sign any more, but has to stay in DNS.
    Retiring {
        /// Since when.
        since: u64,
    },
    /// It is not needed any more.
    Retired,
}

/// One key of a succession.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heir {
    /// Its selector: its name in DNS.
    pub selector: String,
    /// When it was made or first seen, in seconds since 1970.
    pub made: u64,
    /// True if the relay made it and keeps its file; false if the operator did.
    pub ours: bool,
    /// Its stage.
    #[serde(flatten)]
    pub stage: Stage,
}

/// The keys of one domain and one algorithm, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The signing domain.
    pub domain: String,
    /// Their algorithm.
    pub algorithm: Algorithm,
    /// The keys.
    pub keys: Vec<Heir>,
}

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Make a key, then call [`Succession::made`].
    Make,
    /// Check whether DNS has the key with this selector, then call [`Succession::looked`].
    Look(String),
    /// The key with this selector is not needed any more: remove it, then call [`Succession::retired`].
    Retire(String),
}

/// The result of a check of DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The next key signs from now on; the keys before it retire.
    Switched {
        /// The selectors that signed until now.
        from: Vec<String>,
        /// The selector that signs now.
        to: String,
    },
    /// DNS has the key, and its turn is still to come.
    Ready {
        /// Its turn, in seconds since 1970.
        turn: u64,
    },
    /// Its turn has come, but DNS does not have it: the key before goes on signing.
    Overdue,
    /// DNS does not have it yet, and its turn is still to come.
    Waiting,
}

impl Succession {
    /// A succession without keys.
    pub fn new(domain: &str, algorithm: Algorithm) -> Self {
        Self { domain: domain.into(), algorithm, keys: Vec::new() }
    }

    /// Takes over the operator's keys as they are configured now: new ones sign, and those that are gone are forgotten.
    pub fn adopt(&mut self, selectors: &[&str], now: u64) {
        self.keys.retain(|key| key.ours || selectors.contains(&key.selector.as_str()));
        for selector in selectors {
            if self.find(selector).is_none() {
                let key = Heir { selector: (*selector).into(), made: now, ours: false, stage: Stage::Active { since: now } };
                self.keys.push(key);
            }
        }
    }

    /// Whether this key signs. An unknown key does.
    pub fn signs(&self, selector: &str) -> bool {
        self.find(selector).is_none_or(|key| matches!(key.stage, Stage::Active { .. }))
    }

    /// The key that waits for its turn.
    pub fn next(&self) -> Option<&Heir> {
        self.keys.iter().find(|key| matches!(key.stage, Stage::Next { .. }))
    }

    /// The next thing to do now, if any. `settled` says whether all mail signed until a time has left the queue.
    pub fn due(&self, schedule: &Schedule, now: u64, settled: impl Fn(u64) -> bool) -> Option<Due> {
        let over = |key: &&Heir| match key.stage {
            Stage::Retiring { since } => now >= since.saturating_add(schedule.keep.as_secs()) && settled(since),
            _ => false,
        };
        if let Some(key) = self.keys.iter().find(over) {
            return Some(Due::Retire(key.selector.clone()));
        }
        if let Some(next) = self.next() {
            return Some(Due::Look(next.selector.clone()));
        }
        let turn = self.turn(schedule)?;
        (now >= turn.saturating_sub(schedule.ahead.as_secs())).then_some(Due::Make)
    }

    /// Records that a key was made. `asked` is true if somebody requested it.
    pub fn made(&mut self, selector: &str, asked: bool, now: u64) {
        self.keys.push(Heir { selector: selector.into(), made: now, ours: true, stage: Stage::Next { asked } });
    }

    /// Records that somebody requested the next key; false if there is none.
    pub fn ask(&mut self) -> bool {
        let next = self.keys.iter_mut().find(|key| matches!(key.stage, Stage::Next { .. }));
        next.map(|key| key.stage = Stage::Next { asked: true }).is_some()
    }

    /// Records whether DNS has the next key.
    pub fn looked(&mut self, there: bool, schedule: &Schedule, now: u64) -> Change {
        let asked = self.next().is_some_and(|key| key.stage == Stage::Next { asked: true });
        // If the schedule was removed, a key that was made by it waits until somebody requests it.
        let turn = if asked { 0 } else { self.turn(schedule).unwrap_or(u64::MAX) };
        match there {
            true if now >= turn => self.switch(now),
            true => Change::Ready { turn },
            false if now >= turn && !asked => Change::Overdue,
            false => Change::Waiting,
        }
    }

    /// Records that a retiring key is not needed any more. One of the relay's own is forgotten; one of the operator's stays known as
    /// retired, so that it does not sign again while the configuration names it.
    pub fn retired(&mut self, selector: &str) {
        self.keys.retain(|key| !(key.ours && key.selector == selector));
        if let Some(key) = self.keys.iter_mut().find(|key| key.selector == selector) {
            key.stage = Stage::Retired;
        }
    }

    fn switch(&mut self, now: u64) -> Change {
        let (mut from, mut to) = (Vec::new(), String::new());
        for key in &mut self.keys {
            match key.stage {
                Stage::Active { .. } => {
                    key.stage = Stage::Retiring { since: now };
                    from.push(key.selector.clone());
                }
                Stage::Next { .. } => {
                    key.stage = Stage::Active { since: now };
                    to.clone_from(&key.selector);
                }
                Stage::Retiring { .. } | Stage::Retired => {}
            }
        }
        Change::Switched { from, to }
    }

    /// When the next key takes over: `every` after the youngest active key began to sign.
    fn turn(&self, schedule: &Schedule) -> Option<u64> {
        let since = |key: &Heir| match key.stage {
            Stage::Active { since } => Some(since),
            _ => None,
        };
        let youngest = self.keys.iter().filter_map(since).max()?;
        Some(youngest.saturating_add(schedule.every?.as_secs()))
    }

    fn find(&self, selector: &str) -> Option<&Heir> {
        self.keys.iter().find(|key| key.selector == selector)
    }
}

#[cfg(test)]
mod tests;
