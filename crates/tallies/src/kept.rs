//! Which keys always have figures of their own.

use std::collections::HashSet;

use crate::{Dimension, PAIR};

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
