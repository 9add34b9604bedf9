//! What the relay knows at a tick and the tallies do not: its lanes, its queue, its keys and its house.
//!
//! The relay fills [`Facts`] at each tick from what it holds in memory and what the system says about disks and folders. Nothing of it waits for
//! DNS or a provider: keys are looked up beside it.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, civil::Date};
use posthaste_mail::Class;
use serde::{Deserialize, Serialize};

use crate::Key;

/// What the relay knows about itself at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Lanes that are stopped, slowed, stepped back or behind their warm-up. Others may be left out.
    pub lanes: Vec<LaneFact>,
    /// What waits, by provider and stream.
    pub waiting: Vec<Waiting>,
    /// What keeps the mail of providers: of those for which some waits and of which an error is known.
    pub troubles: BTreeMap<String, Trouble>,
    /// The streams of the configuration.
    pub streams: Vec<StreamFact>,
    /// The pools of the configuration.
    pub pools: Vec<PoolFact>,
    /// Signing keys of the configuration that DNS does not have, as the last look-up found.
    pub keys_missing: Vec<KeyMissing>,
    /// Users and streams whose new mail the guard holds, and those of whom it holds mail.
    pub guarded: BTreeMap<Key, Guarded>,
    /// The house.
    pub house: House,
}

/// What the guard holds of a user or a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guarded {
    /// Since when.
    pub since: Timestamp,
    /// What was found then, as a sentence.
    pub why: String,
    /// Messages that it holds.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
    /// Their size as stored.
    pub bytes: u64,
    /// How many messages it holds at most.
    pub most: u64,
    /// Whether it takes no more, and the rest is put off at the door.
    pub full: bool,
    /// When the oldest of them expires.
    pub expires: Option<Timestamp>,
}

/// A lane: a source at a provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneFact {
    /// The source.
    pub source: String,
    /// The provider.
    pub provider: String,
    /// It sends nothing.
    pub stopped: Option<Stopped>,
    /// Recipients an hour while it climbs back after the provider's push-back.
    pub slowed_to: Option<u32>,
    /// The last step back of its warm-up.
    pub stepped_back: Option<SteppedBack>,
    /// The last day on which its warm-up did not move up although it should have.
    pub missed: Option<MissedDay>,
    /// What the day allows; None: any number.
    pub cap: Option<u64>,
    /// How much of that is used.
    pub used: u64,
}

/// Why a lane sends nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Since when; None: unknown.
    pub since: Option<Timestamp>,
    /// Until when; None: until somebody resumes it.
    pub until: Option<Timestamp>,
    /// Whether an operator stopped it.
    pub by_operator: bool,
    /// The provider's words or the operator's.
    pub why: String,
}

/// A step back of a warm-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteppedBack {
    /// When.
    pub at: Timestamp,
    /// The stage before.
    pub from: String,
    /// The stage since then.
    pub to: String,
    /// The reason, in words.
    pub why: String,
}

/// A day of a warm-up that did not count: too little mail was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedDay {
    /// The day.
    pub day: Date,
    /// When it was over.
    pub at: Timestamp,
    /// How much the provider took on it.
    pub taken: u64,
    /// What it allowed.
    pub cap: u64,
}

/// What waits for a provider in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The provider.
    pub provider: String,
    /// The stream.
    pub stream: String,
    /// Recipients that wait, for whatever reason.
    pub recipients: u64,
    /// When the oldest of them was accepted. Mail that an operator or its sender holds does not count.
    pub oldest: Option<Timestamp>,
    /// Recipients that are due: they could go now and do not. What waits for its next attempt, for budget (a cap, a window) or for an
    /// operator is not due.
    pub due: u64,
    /// Since when one of them has been due without a break.
    pub due_since: Option<Timestamp>,
}

/// The last error that mail for a provider met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When; None: unknown.
    pub at: Option<Timestamp>,
    /// What it means.
    pub class: Class,
    /// Its words: a reply, or what failed.
    pub said: String,
    /// Recipients that wait because a smart host refuses the relay's login. An alarm tells of that, once for all providers behind it.
    pub login: u64,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFact {
    /// Its name.
    pub name: String,
    /// How long its mail may take (`stream.NAME.aim`).
    pub aim: Duration,
    /// Whether `aim` stands in the configuration.
    pub aim_configured: bool,
}

/// A pool of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolFact {
    /// Its name.
    pub name: String,
    /// Its sources, and why each of them sends to nobody at all, if so.
    pub sources: Vec<(String, Option<String>)>,
}

/// A signing key that DNS does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMissing {
    /// The signing domain.
    pub domain: String,
    /// The selector.
    pub selector: String,
    /// What DNS has instead, in words.
    pub found: String,
}

/// The relay's house.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct House {
    /// Certificates that listeners show.
    pub certificates: Vec<Certificate>,
    /// The disks that the spool and the log are on.
    pub disks: Vec<Disk>,
    /// The 99th percentile of the last minute's fdatasync calls; None: there were none.
    pub fsync_p99: Option<Duration>,
    /// The log, and whoever reads it: how far each is behind.
    pub readers: Vec<Reader>,
    /// A step of the clock that was noticed since the look before.
    pub clock_stepped: Option<ClockStep>,
    /// The last reload, if it was refused.
    pub reload_refused: Option<Refused>,
    /// Records of the spool in quarantine.
    pub quarantined: u64,
    /// Alarms that stand until an operator acknowledges them.
    pub alarms: Vec<Standing>,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The name that it is for.
    pub name: String,
    /// When it expires.
    pub expires: Timestamp,
    /// Whether the relay renews it by ACME.
    pub renewed: bool,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What is on it: `spool`, `log`.
    pub holds: String,
    /// The folder.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is free of it in bytes.
    pub free: u64,
    /// Bytes a day by which `free` shrinks at the pace of the last hours; None: it does not shrink, or nobody knows yet.
    pub shrinks_by: Option<u64>,
}

/// Somebody who writes or reads the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Who: `log`, `tallies`, a webhook.
    pub name: String,
    /// How far behind.
    pub behind: Duration,
}

/// A step of the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStep {
    /// When it was noticed, by the clock after it.
    pub at: Timestamp,
    /// By how many seconds; negative: back.
    pub seconds: i64,
}

/// A reload that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// The first error.
    pub why: String,
}

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number.
    pub id: u64,
    /// What it is about. For one that ends by itself the same words each time that it is raised, under whatever number; for others their number.
    pub about: String,
    /// Since when.
    pub since: Timestamp,
    /// What it says.
    pub detail: String,
    /// It ends by itself once that is mended.
    pub mends: bool,
}
