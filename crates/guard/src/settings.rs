//! The guard's settings. The configuration's documentation (`[guard]` in config/posthaste.toml) says what each of them is for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use posthaste_findings::Rule;
use posthaste_mail::Name;
use posthaste_queue::MailOf;

use crate::RoomLimits;

/// Whose new mail is held when, and how much of it for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether users and streams without settings of their own are guarded.
    pub enabled: bool,
    /// Whether that is about users.
    pub by_user: bool,
    /// Whether that is about streams.
    pub by_stream: bool,
    /// The rules whose critical findings count.
    pub rules: Vec<Rule>,
    /// Users with settings of their own.
    pub users: BTreeMap<Arc<str>, Own>,
    /// Streams with settings of their own.
    pub streams: BTreeMap<Name, Own>,
    /// How long the figures that made it hold are left alone after a release, at most.
    pub grace: Duration,
    /// The same after a drop.
    pub grace_after_drop: Duration,
    /// How long nothing is found before figures count as gone: when incidents close.
    pub gone_after: Duration,
    /// How long a message is held at most; then it expires.
    pub keep: Duration,
    /// How long before that there is an alarm.
    pub warn_before: Duration,
    /// How much may be held.
    pub room: RoomLimits,
}

/// What is set for one user or stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Whether it is guarded; None: as the others.
    pub enabled: Option<bool>,
    /// The rules that count for it; None: as for the others.
    pub rules: Option<Vec<Rule>>,
}

impl Settings {
    /// Whether a critical finding of this rule holds this mail.
    pub fn counts(&self, of: &MailOf, rule: Rule) -> bool {
        let (own, usual) = match of {
            MailOf::User(name) => (self.users.get(name), self.enabled && self.by_user),
            MailOf::Stream(name) => (self.streams.get(name), self.enabled && self.by_stream),
        };
        let rules = own.and_then(|own| own.rules.as_ref()).unwrap_or(&self.rules);
        own.and_then(|own| own.enabled).unwrap_or(usual) && rules.contains(&rule)
    }

    /// Whether anybody is guarded.
    pub fn is_on(&self) -> bool {
        let own = || self.users.values().chain(self.streams.values());
        (self.enabled && (self.by_user || self.by_stream)) || own().any(|own| own.enabled == Some(true))
    }
}
