//! The server's side of SASL (RFC 4422) without I/O: messages in, challenges and questions out.
//!
//! Nothing is checked against a store here. Whoever holds the connection is asked ([`Credentials`]), and may take its time.

mod bearer;
mod password;
mod scram;

use std::{borrow::Cow, fmt};

use super::{Answer, Bindings};

pub(super) use bearer::REFUSED as TOKEN_REFUSED;
pub use scram::{Nonce, ScramKeys};

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Never more than a draft, but what old clients and appliances have.
    Login,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection (RFC 5802 §6).
    ScramSha256Plus,
    /// RFC 7628.
    OAuthBearer,
    /// Its predecessor, by Google.
    XOAuth2,
}

impl Mechanism {
    /// All there are, those that keep the password to themselves first.
    pub const ALL: [Self; 6] = [Self::ScramSha256Plus, Self::ScramSha256, Self::Plain, Self::Login, Self::OAuthBearer, Self::XOAuth2];

    /// As announced and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// By its name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
}

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
    /// What is kept of this user's password? Answer by `Session::scram_keys`, for names that nobody has with [`ScramKeys::decoy`].
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

/// An exchange under way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Plain,
    LoginName,
    LoginPassword {
        user: String,
    },
    Bearer(bearer::Dialect),
    /// A token was refused; the client has to say that it heard so (RFC 7628 §3.2.3).
    BearerRefused(Answer),
    Scram(scram::Opening),
    ScramWantsKeys(scram::First),
    ScramProof(scram::Second),
    /// The proof holds; what tells the client that we know the password too.
    ScramProven {
        user: String,
        signature: Vec<u8>,
    },
    /// That was said.
    ScramHeard {
        user: String,
    },
    /// Credentials are being checked, and the exchange has nothing more to say where they are good.
    Checking {
        user: String,
    },
    /// A token is being checked.
    CheckingToken,
}

/// What an exchange wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// This is to be sent, and the answer to it is the next message.
    Challenge(Vec<u8>),
    /// This is to be asked of whoever knows.
    Ask(Credentials),
    /// The user is logged in.
    Done(String),
    /// The client was told already why not, and this is the reply.
    Refused(Answer),
    /// The message is none of the mechanism.
    Malformed(&'static str),
    /// The client does not know what it has to know.
    Wrong { user: String },
}

impl Exchange {
    /// Begins. `announced_plus`: whether the client could have bound itself to TLS.
    pub(super) fn new(mechanism: Mechanism, announced_plus: bool) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::LoginName,
            Mechanism::ScramSha256 => Self::Scram(scram::Opening { plus: false, announced_plus }),
            Mechanism::ScramSha256Plus => Self::Scram(scram::Opening { plus: true, announced_plus }),
            Mechanism::OAuthBearer => Self::Bearer(bearer::Dialect::OAuthBearer),
            Mechanism::XOAuth2 => Self::Bearer(bearer::Dialect::XOAuth2),
        }
    }

    /// What is said before the client has said anything.
    pub(super) fn first_challenge(&self) -> &'static [u8] {
        if *self == Self::LoginName { b"Username:" } else { b"" }
    }

    /// The client's next message.
    pub(super) fn hear(self, message: &[u8], tls: Option<&Bindings>) -> (Self, Turn) {
        match self {
            Self::Plain => password::plain(message),
            Self::LoginName => password::login_name(message),
            Self::LoginPassword { user } => password::login_password(&user, message),
            Self::Bearer(dialect) => dialect.hear(message),
            Self::BearerRefused(answer) => (Self::CheckingToken, Turn::Refused(answer)),
            Self::Scram(opening) => opening.hear(message, tls),
            Self::ScramProof(second) => second.hear(message),
            Self::ScramHeard { user } if message.is_empty() => (Self::Checking { user: user.clone() }, Turn::Done(user)),
            Self::ScramHeard { user } => (Self::Checking { user }, Turn::Malformed("the last message of SCRAM is empty")),
            state @ (Self::ScramWantsKeys(_) | Self::ScramProven { .. } | Self::Checking { .. } | Self::CheckingToken) => {
                unreachable!("nothing is heard while a question is open: {state:?}")
            }
        }
    }

    /// The keys that were asked for.
    pub(super) fn keys(self, keys: &ScramKeys, nonce: &Nonce) -> (Self, Turn) {
        match self {
            Self::ScramWantsKeys(first) => first.keys(keys, nonce),
            state => panic!("no keys were asked for: {state:?}"),
        }
    }
}
