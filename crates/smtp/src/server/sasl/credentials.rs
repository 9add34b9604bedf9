//! What a client says of itself.

use std::{borrow::Cow, fmt};

/// What a client says of itself, to be checked by whoever knows the users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Is this the user's password? Answer by `Session::authenticated`.
    Password {
        /// The user's name, prepared (RFC 4013).
        user: String,
        /// The password, prepared where that can be.
        password: Secret,
    },
    /// Is this token good, and whose is it? Answer by `Session::authenticated`.
    Bearer {
        /// The name that the client gave with it; empty where it gave none.
        user: String,
        /// The token (RFC 6750).
        token: Secret,
    },
    /// What is kept of this user's password? Answer by `Session::scram_keys`, for names that nobody has with [`ScramKeys::decoy`](super::ScramKeys::decoy).
    Keys {
        /// The user's name, prepared.
        user: String,
    },
    /// The client has proved that it knows the password behind those keys: may the user log in? Answer by `Session::authenticated`.
    Proven {
        /// The user's name, prepared.
        user: String,
    },
}

impl Credentials {
    /// The name that the client gave; empty where it gave none.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::Bearer { user, .. } | Self::Keys { user } | Self::Proven { user } => user,
        }
    }
}

/// A password or a token: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it up.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What is inside.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A name or password in the form in which two of them are compared (SASLprep, RFC 4013); as it stands where it has no such form.
pub fn prepare(text: &str) -> Cow<'_, str> {
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}
