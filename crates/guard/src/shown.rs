//! The guard's state, as `posthaste guard list` and the API show it.

use jiff::Timestamp;
use posthaste_findings::Guarded;
use posthaste_queue::MailOf;
use serde::{Deserialize, Serialize};

use crate::{Ended, Hold, Room, Settings};

/// Somebody whose new mail is held, or who is left alone after a release or a drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Whose mail: `user:shop` or `stream:news`.
    pub key: String,
    /// `holding`, or `left_alone` after a release or a drop.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// The rules that count: those that made it hold, or those whose figures are left alone.
    pub rules: Vec<String>,
    /// What was found, or who judged it and how, as a sentence.
    pub why: String,
    /// Messages that are held.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
    /// Their size as stored.
    pub bytes: u64,
    /// Messages that are held at most.
    pub max_messages: u64,
    /// Bytes that are held at most.
    pub max_bytes: u64,
    /// Whether there is no room for more: then it is put off at the door.
    pub full: bool,
    /// When the oldest that is held was accepted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub oldest: Option<Timestamp>,
    /// When that expires.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires: Option<Timestamp>,
    /// Until when it is left alone at most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Timestamp>,
}

/// What is held of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) messages: u64,
    pub(crate) recipients: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest: Option<Timestamp>,
}

impl Sum {
    /// Of this mail, with what came since it was counted.
    pub(crate) fn of(of: &MailOf, room: &Room) -> Self {
        let rows = || room.rows().iter().filter(|row| of.covers(row.user.as_deref(), &row.stream));
        let held = room.held(Some(of));
        // What came since has one recipient at least.
        let fresh = held.messages.saturating_sub(rows().map(|row| row.messages).sum());
        Self {
            messages: held.messages,
            recipients: rows().map(|row| row.recipients).sum::<u64>() + fresh,
            bytes: held.bytes,
            oldest: rows().map(|row| row.oldest).min(),
        }
    }

    /// When the oldest expires.
    pub(crate) fn expires(&self, settings: &Settings) -> Option<Timestamp> {
        self.oldest.and_then(|oldest| oldest.checked_add(settings.keep).ok())
    }
}

/// A hold for the rules of `findings`.
pub(crate) fn guarded(hold: &Hold, room: &Room, settings: &Settings) -> Guarded {
    let sum = Sum::of(&hold.of, room);
    Guarded {
        since: hold.since,
        why: hold.why.clone(),
        messages: sum.messages,
        recipients: sum.recipients,
        bytes: sum.bytes,
        most: settings.room.each.messages,
        full: !room.has_room(&hold.of, 1, &settings.room),
        expires: sum.expires(settings),
    }
}

impl Shown {
    pub(crate) fn hold(hold: &Hold, room: &Room, settings: &Settings) -> Self {
        let sum = Sum::of(&hold.of, room);
        Self {
            since: hold.since,
            rules: hold.rules.iter().map(|rule| rule.as_str().to_owned()).collect(),
            why: hold.why.clone(),
            messages: sum.messages,
            recipients: sum.recipients,
            bytes: sum.bytes,
            full: !room.has_room(&hold.of, 1, &settings.room),
            oldest: sum.oldest,
            expires: sum.expires(settings),
            ..Self::of(&hold.of, "holding", settings)
        }
    }

    /// None: no figures are left alone any more.
    pub(crate) fn ended(of: &MailOf, ended: &Ended, settings: &Settings) -> Option<Self> {
        let grace = ended.grace.as_ref()?;
        let how = if ended.dropped.is_some() { "dropped" } else { "released" };
        Some(Self {
            since: ended.at,
            rules: grace.rules.keys().map(|rule| rule.as_str().to_owned()).collect(),
            why: format!("{} {how} what was held of it.", ended.by),
            until: Some(grace.until),
            ..Self::of(of, "left_alone", settings)
        })
    }

    fn of(of: &MailOf, state: &str, settings: &Settings) -> Self {
        Self {
            key: of.to_string(),
            state: state.to_owned(),
            since: Timestamp::UNIX_EPOCH,
            rules: Vec::new(),
            why: String::new(),
            messages: 0,
            recipients: 0,
            bytes: 0,
            max_messages: settings.room.each.messages,
            max_bytes: settings.room.each.bytes,
            full: false,
            oldest: None,
            expires: None,
            until: None,
        }
    }
}
