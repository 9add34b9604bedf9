//! A SASL exchange: takes the client's messages; returns challenges and questions.

use super::{Credentials, Mechanism, Nonce, ScramKeys, Turn, bearer, password, scram};
use crate::server::{Answer, Bindings};

/// The state of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) enum Exchange {
    Plain,
    LoginName,
    LoginPassword {
        user: String,
    },
    Bearer(bearer::Dialect),
    /// A token was refused; the client still has to respond to the reason (RFC 7628 §3.2.3).
    BearerRefused(Answer),
    Scram(scram::Opening),
    ScramWantsKeys(scram::First),
    ScramProof(scram::Second),
    /// The proof is valid; the signature proves to the client that the server knows the password too.
    ScramProven {
        user: String,
        signature: Vec<u8>,
    },
    /// The signature was sent.
    ScramHeard {
        user: String,
    },
    /// Credentials are being checked; the exchange ends with the result.
    Checking,
    /// A token is being checked.
    CheckingToken,
}

impl Exchange {
    /// Begins an exchange. `announced_plus`: whether -PLUS was announced.
    pub(in crate::server) fn new(mechanism: Mechanism, announced_plus: bool) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::LoginName,
            Mechanism::ScramSha256 => Self::Scram(scram::Opening { plus: false, announced_plus }),
            Mechanism::ScramSha256Plus => Self::Scram(scram::Opening { plus: true, announced_plus }),
            Mechanism::OAuthBearer => Self::Bearer(bearer::Dialect::OAuthBearer),
            Mechanism::XOAuth2 => Self::Bearer(bearer::Dialect::XOAuth2),
        }
    }

    /// The challenge sent before the client's first message.
    pub(in crate::server) fn first_challenge(&self) -> &'static [u8] {
        if *self == Self::LoginName { b"Username:" } else { b"" }
    }

    /// Takes the client's next message.
    pub(in crate::server) fn hear(self, message: &[u8], tls: Option<&Bindings>) -> (Self, Turn) {
        match self {
            Self::Plain => (Self::Checking, password::plain(message)),
            Self::LoginName => match password::login_name(message) {
                Ok(user) => (Self::LoginPassword { user }, Turn::Challenge(b"Password:".to_vec())),
                Err(turn) => (Self::LoginName, turn),
            },
            Self::LoginPassword { user } => (Self::Checking, password::login_password(&user, message)),
            Self::Bearer(dialect) => (Self::CheckingToken, dialect.hear(message)),
            Self::BearerRefused(answer) => (Self::CheckingToken, Turn::Refused(answer)),
            Self::Scram(opening) => match opening.hear(message, tls) {
                Ok(first) => {
                    let ask = Turn::Ask(Credentials::Keys { user: first.user().to_owned() });
                    (Self::ScramWantsKeys(first), ask)
                }
                Err(why) => (Self::Scram(opening), Turn::Malformed(why)),
            },
            Self::ScramProof(second) => {
                let user = second.user().to_owned();
                match second.hear(message) {
                    Ok(Some(signature)) => {
                        let ask = Turn::Ask(Credentials::Proven { user: user.clone() });
                        (Self::ScramProven { user, signature }, ask)
                    }
                    Ok(None) => (Self::Checking, Turn::Wrong { user }),
                    Err(why) => (Self::Checking, Turn::Malformed(why)),
                }
            }
            Self::ScramHeard { user } if message.is_empty() => (Self::Checking, Turn::Done(user)),
            Self::ScramHeard { .. } => (Self::Checking, Turn::Malformed("the last message of SCRAM is empty")),
            state @ (Self::ScramWantsKeys(_) | Self::ScramProven { .. } | Self::Checking | Self::CheckingToken) => {
                unreachable!("no message is taken while a question is open: {state:?}")
            }
        }
    }

    /// Takes the keys that were asked for.
    pub(in crate::server) fn keys(self, keys: &ScramKeys, nonce: &Nonce) -> (Self, Turn) {
        match self {
            Self::ScramWantsKeys(first) => {
                let (second, challenge) = first.keys(keys, nonce);
                (Self::ScramProof(second), Turn::Challenge(challenge))
            }
            state => panic!("no keys were asked for: {state:?}"),
        }
    }
}
