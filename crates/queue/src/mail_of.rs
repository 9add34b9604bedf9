//! Whose mail is meant: a user's or a stream's.

use std::{fmt, str::FromStr, sync::Arc};

use posthaste_mail::Name;
use serde::{Deserialize, Serialize};

/// A user's mail or a stream's, written as `user:shop` and `stream:news`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MailOf {
    /// What this user submitted, whatever its stream.
    User(Arc<str>),
    /// What goes by this stream, whoever submitted it.
    Stream(Name),
}

/// A text that names neither a user nor a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names neither a user nor a stream: write user:NAME or stream:NAME")]
pub struct NoMailOf(String);

impl MailOf {
    /// Whether mail of this user (None: of nobody who logged in) and this stream is meant.
    pub fn covers(&self, user: Option<&str>, stream: &Name) -> bool {
        match self {
            Self::User(name) => user == Some(name),
            Self::Stream(name) => name == stream,
        }
    }

    /// `user` or `stream`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Stream(_) => "stream",
        }
    }

    /// The name of the user or the stream.
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) => name,
            Self::Stream(name) => name.as_str(),
        }
    }
}

impl fmt::Display for MailOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.word(), self.name())
    }
}

impl FromStr for MailOf {
    type Err = NoMailOf;

    fn from_str(text: &str) -> Result<Self, NoMailOf> {
        match text.split_once(':') {
            Some(("user", name)) if !name.is_empty() => Some(Self::User(name.into())),
            Some(("stream", name)) => Name::new(name).ok().map(Self::Stream),
            _ => None,
        }
        .ok_or_else(|| NoMailOf(text.chars().take(Name::MAX).collect()))
    }
}

impl TryFrom<String> for MailOf {
    type Error = NoMailOf;

    fn try_from(text: String) -> Result<Self, NoMailOf> {
        text.parse()
    }
}

impl From<MailOf> for String {
    fn from(of: MailOf) -> Self {
        of.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["user:shop", "user:ann@example.com", "user:a:b", "stream:news"] {
            assert_eq!(text.parse::<MailOf>().unwrap().to_string(), text);
        }
        for text in ["", "shop", "user:", "stream:", "stream:a b", "source:ip1"] {
            assert!(text.parse::<MailOf>().is_err(), "{text}");
        }
    }
}
