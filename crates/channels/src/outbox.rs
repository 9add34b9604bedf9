//! What is told to which channel, and when: pure.
//!
//! Each channel has a lane of its own, so that a dead endpoint holds up nobody else. An incident waits in a lane at most once, with its latest
//! figures: what closes before it could be told is not told at all. One message of a channel is under way at a time.
//!
//! Offers may be repeated: an incident that waits, or that a channel has heard of, is not told to it as new again. So after a start or a reload
//! the open incidents are offered once more, and nothing is lost that a crash took.

mod lane;

use std::{collections::BTreeMap, num::NonZeroU32};

use jiff::Timestamp;
use posthaste_mail::Name;
use serde::{Deserialize, Serialize};

use self::lane::Lane;
use crate::{Change, Channel, Message, Notification, Severity};

/// What a channel wants to hear, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// The rules whose incidents it tells of; empty: all.
    pub rules: Vec<String>,
    /// The least severity that it tells of. What it has told of, it tells on when it becomes less severe.
    pub severity: Severity,
    /// The most messages that arrive in any hour.
    pub per_hour: NonZeroU32,
}

impl From<&Channel> for Wants {
    fn from(channel: &Channel) -> Self {
        Self { rules: channel.rules.clone(), severity: channel.severity, per_hour: channel.per_hour }
    }
}

impl Wants {
    fn wants(&self, news: &Notification) -> bool {
        news.severity >= self.severity && (self.rules.is_empty() || self.rules.contains(&news.rule))
    }
}

/// All that is to be told, by channel.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    wants: BTreeMap<Name, Wants>,
    lanes: BTreeMap<Name, Lane>,
}

/// A text is no outbox.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Another version of the program wrote it.
    #[error("it has version {0}, and this posthaste knows {VERSION}: start the posthaste that wrote it, or move the file away")]
    Version(String),
}

/// The version of the format in which an outbox is saved.
const VERSION: u64 = 1;

#[derive(Serialize)]
struct Saved<'o> {
    v: u64,
    lanes: BTreeMap<&'o Name, Lane>,
}

#[derive(Deserialize)]
struct Version {
    v: serde_json::Value,
}

#[derive(Deserialize)]
struct Restored {
    lanes: BTreeMap<Name, Lane>,
}

impl Outbox {
    /// The channels that there are now. What waits for one that is gone is forgotten.
    pub fn set_channels(&mut self, wants: BTreeMap<Name, Wants>) {
        self.lanes.retain(|name, _| wants.contains_key(name));
        for name in wants.keys() {
            self.lanes.entry(name.clone()).or_default();
        }
        self.wants = wants;
    }

    /// Offers news to all channels. A test is no news of an incident: it is sent at once or not at all, and not from here.
    pub fn offer(&mut self, news: Notification, now: Timestamp) {
        if news.change == Change::Test {
            return;
        }
        let news = news.bounded();
        for (name, lane) in &mut self.lanes {
            let wanted = self.wants.get(name).is_some_and(|wants| wants.wants(&news));
            lane.offer(&news, wanted, now);
        }
    }

    /// The messages that are due. Each counts as under way until [`Self::succeeded`] or [`Self::failed`].
    pub fn due(&mut self, now: Timestamp) -> Vec<(Name, Message)> {
        let wants = &self.wants;
        let due = |(name, lane): (&Name, &mut Lane)| Some((name.clone(), lane.due(wants.get(name)?.per_hour, now)?));
        self.lanes.iter_mut().filter_map(due).collect()
    }

    /// When a message may be due next; None: not before something is offered or comes back.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lanes.iter().filter_map(|(name, lane)| lane.next_due(self.wants.get(name)?.per_hour)).min()
    }

    /// The channel has taken its message.
    pub fn succeeded(&mut self, channel: &Name, now: Timestamp) {
        if let Some(lane) = self.lanes.get_mut(channel) {
            lane.succeeded(now);
        }
    }

    /// The channel has not taken its message: it is tried again, with what has come to wait meanwhile. Returns the number of incidents whose
    /// news is now too old to be told.
    pub fn failed(&mut self, channel: &Name, now: Timestamp) -> usize {
        self.lanes.get_mut(channel).map_or(0, |lane| lane.failed(now))
    }

    /// How many incidents wait to be told by a channel, with those in a message that is under way.
    pub fn waiting(&self, channel: &Name) -> usize {
        self.lanes.get(channel).map_or(0, Lane::waiting)
    }

    /// As bytes, for a file. What is under way waits in it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let saved = Saved { v: VERSION, lanes: self.lanes.iter().map(|(name, lane)| (name, lane.landed())).collect() };
        serde_json::to_vec(&saved).expect("an outbox has nothing that JSON cannot hold")
    }

    /// From the bytes of [`Self::to_bytes`]; the channels are to be set.
    ///
    /// # Errors
    /// The bytes are damaged, or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let version = serde_json::from_slice::<Version>(bytes)?.v;
        if version != VERSION {
            return Err(Unreadable::Version(version.to_string()));
        }
        Ok(Self { wants: BTreeMap::new(), lanes: serde_json::from_slice::<Restored>(bytes)?.lanes })
    }
}

#[cfg(test)]
mod random;
#[cfg(test)]
mod tests;
