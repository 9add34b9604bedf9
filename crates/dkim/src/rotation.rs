//! How one key follows another: the next one is made and told ahead of its turn, takes over only when DNS has it, and the one before
//! stays in DNS until the mail that it signed has arrived.
//!
//! ```text
//!            DNS has it, and its turn has come                   `keep` is over
//!   Next ────────────────────────────────────▶ Active ──▶ Retiring ────────────▶ Retired (or gone)
//!    ▲                                            │
//!    └── made `ahead` of the turn ────────────────┘ every `every`
//! ```
//!
//! Nothing here asks DNS, the disk or the clock: [`Succession::due`] says what to do, and the caller tells what came of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Algorithm;

/// When keys change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How long a key signs; None: until somebody asks for another.
    pub every: Option<Duration>,
    /// How long before its turn the next key is made, so that DNS can have it in time.
    pub ahead: Duration,
    /// How long a key stays in DNS after its last signature.
    pub keep: Duration,
}

/// Where a key stands. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase")]
pub enum Stage {
    /// Made, waiting for DNS and for its turn.
    Next {
        /// Whether somebody asked for it: then its turn is as soon as DNS has it.
        asked: bool,
    },
    /// Signs.
    Active {
        /// From when on.
        since: u64,
    },
    /// Signs no more, but must still be found in DNS.
    Retiring {
        /// From when on.
        since: u64,
    },
    /// Is not needed by anybody.
    Retired,
}

/// One key of a succession.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heir {
    /// Its name in DNS.
    pub selector: String,
    /// When it was made, or first seen; seconds since 1970.
    pub made: u64,
    /// True if the relay made it and keeps its file; false if the operator did.
    pub ours: bool,
    /// Where it stands.
    #[serde(flatten)]
    pub stage: Stage,
}

/// The keys of one domain and one algorithm, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Succession {
    /// The signing domain.
    pub domain: String,
    /// How they sign.
    pub algorithm: Algorithm,
    /// The keys.
    pub keys: Vec<Heir>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Make a key, then [`Succession::made`].
    Make,
    /// Look whether DNS has this key, then [`Succession::looked`].
    Look(String),
    /// Nobody needs this key any more: [`Succession::retired`].
    Retire(String),
}

/// What came of a look at DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The next key signs from now on; those before it retire.
    Switched {
        /// Who signed until now.
        from: Vec<String>,
        /// Who signs now.
        to: String,
    },
    /// DNS has it, and its turn is still to come; seconds since 1970.
    Ready {
        /// When.
        turn: u64,
    },
    /// Its turn has come, and DNS does not have it: the one before goes on.
    Overdue,
    /// DNS does not have it yet, and has time.
    Waiting,
}

impl Succession {
    /// An empty one.
    pub fn new(domain: &str, algorithm: Algorithm) -> Self {
        Self { domain: domain.into(), algorithm, keys: Vec::new() }
    }

    /// Takes note of the operator's keys as they are now: new ones sign, and those that are gone are forgotten.
    pub fn adopt(&mut self, selectors: &[&str], now: u64) {
        self.keys.retain(|key| key.ours || selectors.contains(&key.selector.as_str()));
        for selector in selectors {
            if self.find(selector).is_none() {
                let key = Heir { selector: (*selector).into(), made: now, ours: false, stage: Stage::Active { since: now } };
                self.keys.push(key);
            }
        }
    }

    /// Whether this key signs. A key that nobody has heard of does.
    pub fn signs(&self, selector: &str) -> bool {
        self.find(selector).is_none_or(|key| matches!(key.stage, Stage::Active { .. }))
    }

    /// The key that waits for its turn.
    pub fn next(&self) -> Option<&Heir> {
        self.keys.iter().find(|key| matches!(key.stage, Stage::Next { .. }))
    }

    /// What is to be done now, if anything. `settled` tells whether all mail that was signed until a time has left.
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

    /// A key was made. `asked`: by somebody who wants it now.
    pub fn made(&mut self, selector: &str, asked: bool, now: u64) {
        self.keys.push(Heir { selector: selector.into(), made: now, ours: true, stage: Stage::Next { asked } });
    }

    /// Somebody wants the next key now; false if there is none.
    pub fn ask(&mut self) -> bool {
        let next = self.keys.iter_mut().find(|key| matches!(key.stage, Stage::Next { .. }));
        next.map(|key| key.stage = Stage::Next { asked: true }).is_some()
    }

    /// DNS has the next key, or it does not.
    pub fn looked(&mut self, there: bool, schedule: &Schedule, now: u64) -> Change {
        let asked = self.next().is_some_and(|key| key.stage == Stage::Next { asked: true });
        // Without a schedule, what was made on schedule once waits until somebody asks.
        let turn = if asked { 0 } else { self.turn(schedule).unwrap_or(u64::MAX) };
        match there {
            true if now >= turn => self.switch(now),
            true => Change::Ready { turn },
            false if now >= turn && !asked => Change::Overdue,
            false => Change::Waiting,
        }
    }

    /// A key that retired is needed no more. Ours is gone; the operator's stays known, so that it does not come back while the
    /// configuration names it.
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

    /// When the next key is to take over: the youngest active key's time plus `every`.
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
