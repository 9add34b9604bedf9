//! The credentials that a client presents.

use std::borrow::Cow;

use posthaste_mail::Secret;

/// The credentials that a client presents, for the caller to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Check this password; answer by `Session::authenticated`.
    Password {
        /// The user name, prepared (RFC 4013).
        user: String,
        /// The password, prepared if possible.
        password: Secret,
    },
    /// Check this token; answer by `Session::authenticated` with the user it belongs to.
    Bearer {
        /// The name that the client gave with the token; empty if none.
        user: String,
        /// The token (RFC 6750).
        token: Secret,
    },
    /// Look up this user's SCRAM keys; answer by `Session::scram_keys`, for an unknown user with
    /// [`ScramKeys::decoy`](super::ScramKeys::decoy).
    Keys {
        /// The user's name, prepared.
        user: String,
    },
    /// The client has proved that it knows the password behind those keys. Decide whether the user may log in; answer by
    /// `Session::authenticated`.
    Proven {
        /// The user's name, prepared.
        user: String,
    },
}

impl Credentials {
    /// The name that the client gave; empty if none.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::Bearer { user, .. } | Self::Keys { user } | Self::Proven { user } => user,
        }
    }
}

/// A name or password prepared for comparison (SASLprep, RFC 4013); unchanged if it cannot be prepared.
pub fn prepare(text: &str) -> Cow<'_, str> {
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}
