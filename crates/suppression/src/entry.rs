//! An entry of the list: an address with scope, reason and time.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use jiff::Timestamp;
use posthaste_mail::{Address, Class, MessageId, Name};
use serde::{Deserialize, Serialize};

/// An address that receives no mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuppressionEntry {
    /// The address as it was given; compared by [`Address::folded`].
    pub address: Address,
    /// Whose mail the entry stops.
    pub scope: Breadth,
    /// The reason.
    pub reason: Reason,
    /// When the entry was made.
    pub since: Timestamp,
    /// When the entry expires; None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What caused the entry.
    #[serde(flatten)]
    pub source: EntrySource,
}

/// What put an address on the list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntrySource {
    /// The class of the bounce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// The message that bounced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// The classifier's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// The reply, or a remark; at most [`EntrySource::TEXT_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Who made the entry by hand, or the server that reported the bounce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl EntrySource {
    /// The longest text kept, in bytes.
    pub const TEXT_MAX: usize = 512;
}

impl SuppressionEntry {
    /// Makes an entry in force from `now` on; it expires after `lasts`, or never if None.
    pub fn new(address: Address, scope: Breadth, reason: Reason, now: Timestamp, lasts: Option<Duration>, mut source: EntrySource) -> Self {
        if let Some(text) = &mut source.text {
            text.truncate(text.floor_char_boundary(EntrySource::TEXT_MAX));
        }
        let until = lasts.map(|lasts| now.saturating_add(lasts).unwrap_or(Timestamp::MAX));
        Self { address, scope, reason, since: now, until, source }
    }

    /// Whether the entry has not expired.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// Whether the entry holds at least as long as the other.
    pub(super) fn outlasts(&self, other: &Self) -> bool {
        let end = |e: &Self| e.until.unwrap_or(Timestamp::MAX);
        end(self) >= end(other)
    }

    /// The stored form.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry has nothing that JSON can't hold")
    }

    /// Reads the stored form; None if it is damaged, which must not stop mail to other addresses.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).inspect_err(|error| tracing::error!(%error, "an entry of the suppression list cannot be read")).ok()
    }
}

/// Why an address is on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Mail to the address bounces; the class tells why.
    HardBounce,
    /// The recipient reported mail as spam.
    Complaint,
    /// The recipient unsubscribed.
    Unsubscribe,
    /// An operator or an import listed the address.
    Manual,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::HardBounce, Self::Complaint, Self::Unsubscribe, Self::Manual];

    /// The word in lists, logs and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HardBounce => "hard_bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
            Self::Manual => "manual",
        }
    }
}

/// An unknown word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no {1}")]
pub struct WordError(String, &'static str);

impl WordError {
    fn new(text: &str, what: &'static str) -> Self {
        Self(text.chars().take(80).collect(), what)
    }
}

impl FromStr for Reason {
    type Err = WordError;
    /// Takes the word with underscores or hyphens.
    fn from_str(text: &str) -> Result<Self, WordError> {
        let word = text.trim().replace('-', "_").to_ascii_lowercase();
        let found = Self::ALL.into_iter().find(|r| r.as_str() == word);
        found.ok_or_else(|| WordError::new(text, "reason: hard_bounce, complaint, unsubscribe or manual"))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whose mail an entry stops. Written `global`, `stream:NAME`, `user:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Breadth {
    /// Everybody's mail.
    Global,
    /// The mail of one stream.
    Stream(Name),
    /// The mail of one user.
    User(UserScope),
}

impl Breadth {
    /// Appends the text of [`fmt::Display`] to a key and returns the key.
    pub(super) fn write<'k>(&self, key: &'k mut Vec<u8>) -> &'k [u8] {
        match self {
            Self::Global => key.extend_from_slice(b"global"),
            Self::Stream(name) => drop(Self::write_stream(name, key)),
            Self::User(user) => drop(Self::write_user(user, key)),
        }
        key
    }

    pub(super) fn write_stream<'k>(name: &Name, key: &'k mut Vec<u8>) -> &'k [u8] {
        key.extend_from_slice(STREAM.as_bytes());
        key.extend_from_slice(name.as_str().as_bytes());
        key
    }

    pub(super) fn write_user<'k>(user: &UserScope, key: &'k mut Vec<u8>) -> &'k [u8] {
        key.extend_from_slice(USER.as_bytes());
        key.extend_from_slice(user.as_str().as_bytes());
        key
    }
}

const STREAM: &str = "stream:";
const USER: &str = "user:";

impl fmt::Display for Breadth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Stream(name) => write!(f, "{STREAM}{name}"),
            Self::User(user) => write!(f, "{USER}{}", user.as_str()),
        }
    }
}

impl FromStr for Breadth {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        let wrong = || WordError::new(text, "scope: global, stream:NAME or user:NAME");
        match (text, text.strip_prefix(STREAM), text.strip_prefix(USER)) {
            ("global", ..) => Ok(Self::Global),
            (_, Some(name), _) => Name::new(name).map(Self::Stream).map_err(|_| wrong()),
            (.., Some(user)) => UserScope::new(user).map(Self::User).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Breadth {
    type Error = WordError;
    fn try_from(text: String) -> Result<Self, WordError> {
        text.parse()
    }
}

impl From<Breadth> for String {
    fn from(scope: Breadth) -> Self {
        scope.to_string()
    }
}

/// The login name of a user who submits mail: 1 to 128 printable ASCII characters without blanks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserScope(Arc<str>);

impl UserScope {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Name::MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
