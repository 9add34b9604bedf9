//! Which streams a message may name.

use posthaste_mail::Name;

/// The streams that a user, or the clients of a listener, may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedStreams {
    /// Every stream.
    All,
    /// These.
    These(Vec<Name>),
}

impl NamedStreams {
    /// Whether this one may be named.
    pub fn hold(&self, stream: &Name) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(stream),
        }
    }

    /// The streams that are listed by name.
    pub(crate) fn by_name(&self) -> &[Name] {
        match self {
            Self::All => &[],
            Self::These(names) => names,
        }
    }
}
