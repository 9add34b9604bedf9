//! How much is kept, and which keys always have figures of their own.

use std::{collections::HashSet, sync::Arc};

use jiff::SignedDuration;

use crate::{Dimension, PAIR};

/// How much is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long minutes are kept. Two days at least, since days are made of them where a zone's days begin within an hour.
    pub minutes: SignedDuration,
    /// How long hours are kept.
    pub hours: SignedDuration,
    /// How long days are kept.
    pub days: SignedDuration,
    /// Keys of each dimension that have figures of their own in each span, the largest; the rest share one.
    pub keys: usize,
    /// Keys that have figures of their own in any case. They count among `keys`.
    pub kept: Arc<Kept>,
}

impl Default for Limits {
    fn default() -> Self {
        let hours = SignedDuration::from_hours;
        Self { minutes: hours(48), hours: hours(90 * 24), days: hours(400 * 24), keys: 500, kept: Arc::default() }
    }
}

/// What the configuration names: it has figures of its own in each block, whatever else there is. A pair has if both halves are named here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The providers of the table.
    pub providers: HashSet<Box<str>>,
    /// The streams.
    pub streams: HashSet<Box<str>>,
    /// The sources.
    pub sources: HashSet<Box<str>>,
    /// The users.
    pub users: HashSet<Box<str>>,
}

impl Kept {
    /// Whether this key has figures of its own in any case.
    pub(crate) fn holds(&self, dimension: Dimension, key: &str) -> bool {
        let both = |first: &HashSet<Box<str>>, second: &HashSet<Box<str>>| {
            key.split_once(PAIR).is_some_and(|(one, other)| first.contains(one) && second.contains(other))
        };
        match dimension {
            // There are as many as the program has words for.
            Dimension::All | Dimension::Class | Dimension::Reason => true,
            Dimension::Provider => self.providers.contains(key),
            Dimension::Source => self.sources.contains(key),
            Dimension::Stream => self.streams.contains(key),
            Dimension::User => self.users.contains(key),
            Dimension::StreamProvider => both(&self.streams, &self.providers),
            Dimension::SourceProvider => both(&self.sources, &self.providers),
            Dimension::UserStream => both(&self.users, &self.streams),
            Dimension::FromDomain | Dimension::Domain | Dimension::Tag | Dimension::RuleProvider => false,
        }
    }
}
