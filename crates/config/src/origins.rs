//! Where each value in force comes from, for `posthaste why` and for reports of a reload.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The place of a value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The operator's file.
    File {
        /// The file, as named by the caller.
        file: Arc<str>,
        /// Counted from 1.
        line: usize,
    },
    /// The defaults, `config/posthaste.toml`.
    Default {
        /// Counted from 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Default { line } => write!(f, "default (config/posthaste.toml:{line})"),
        }
    }
}

/// From each key path (`source.ip1.address`, as in errors) to the place of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(BTreeMap<String, Origin>);

impl Lines {
    /// Where the value of `key` comes from; None if the key is in no file.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.0.get(key)
    }

    /// Every key in force, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().map(|(key, origin)| (key.as_str(), origin))
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(super) fn record(&mut self, key: String, origin: Origin) {
        self.0.insert(key, origin);
    }
}
