//! Who may send: users with their passwords, tokens and certificates, and what each of them may.
//!
//! Nothing here can be turned back into a password: [`password`] keeps argon2id hashes, [`scram`] the keys of RFC 5802, [`token`] SHA-256 of what is
//! random enough for that. [`check`] holds what a client says against them without telling, by its answer or by its time, whether there is such a user.

pub mod check;
pub mod file;
pub mod password;
pub mod quota;
pub mod rate;
pub mod scram;
pub mod senders;
pub mod token;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use posthaste_mail::{Name, TransferPriority};
use posthaste_smtp::server::sasl::ScramKeys;

pub use self::{
    check::{Check, Passwords},
    password::PasswordHash,
    quota::{Quotas, Spent},
    rate::Rate,
    senders::SenderPattern,
    token::TokenHash,
};

/// Somebody who may send, and what.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// What it is called when it says who it is, and in the log.
    pub name: Arc<str>,
    /// For AUTH PLAIN and LOGIN; None: it has no password.
    pub password: Option<PasswordHash>,
    /// For AUTH SCRAM-SHA-256, which never shows us the password.
    pub scram: Option<ScramKeys>,
    /// Names in certificates that prove it is this user, in lower case.
    pub certificates: Vec<String>,
    /// Bearer tokens of the HTTP interface.
    pub tokens: Vec<TokenHash>,
    /// What may be done with them.
    pub rights: Vec<Right>,
    /// In whose name it may write: by the envelope's sender and by From. Never empty.
    pub senders: Vec<SenderPattern>,
    /// The stream of its mail that names none; None: the listener's.
    pub stream: Option<Name>,
    /// How its mail stands among others of its stream, where it does not say.
    pub priority: TransferPriority,
    /// The highest that it may ask for.
    pub priority_max: TransferPriority,
    /// How many recipients it may write to, in short; None: no limit.
    pub rate: Option<Rate>,
    /// How many recipients it may write to in a day of UTC; None: no limit.
    pub daily_quota: Option<u64>,
    /// The longest of its messages, where that is less than everybody's.
    pub message_size: Option<u64>,
    /// Recipients of one of its messages, where that is less than everybody's.
    pub recipients: Option<usize>,
}

impl User {
    /// Whether it may write in the name of `address`.
    pub fn may_send_as(&self, address: &str) -> bool {
        self.senders.iter().any(|pattern| pattern.covers(address))
    }

    /// Whether it may write in anybody's name.
    pub fn may_send_as_anybody(&self) -> bool {
        self.senders.contains(&SenderPattern::Anybody)
    }
}

/// The priority of a message of this user, or of a client that is none, that asked for one or did not. Who is not known may step back, and never
/// forward (RFC 6710 §5 leaves that to us).
pub fn granted(user: Option<&User>, asked: Option<TransferPriority>) -> TransferPriority {
    let (usual, most) = user.map_or_else(Default::default, |user| (user.priority, user.priority_max));
    asked.map_or(usual, |asked| asked.min(most))
}

/// What may be done with a user's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Hand in mail.
    Send,
    /// Look at messages and at the suppression list.
    Read,
    /// Change the suppression list.
    Suppress,
}

impl Right {
    /// Every one, with its word.
    pub const ALL: [(&'static str, Self); 3] = [("send", Self::Send), ("read", Self::Read), ("suppress", Self::Suppress)];
}

/// All users, found by each of the ways in which they say who they are.
#[derive(Debug, Default)]
pub struct Users {
    by_name: BTreeMap<Arc<str>, Arc<User>>,
    by_token: HashMap<TokenHash, Arc<User>>,
    by_certificate: HashMap<String, Arc<User>>,
}

impl Users {
    /// From a configuration, in which no two share a token or a certificate.
    pub fn new(users: &BTreeMap<Arc<str>, Arc<User>>) -> Self {
        let mut all = Self { by_name: users.clone(), ..Self::default() };
        for user in users.values() {
            all.by_token.extend(user.tokens.iter().map(|token| (token.clone(), user.clone())));
            all.by_certificate.extend(user.certificates.iter().map(|name| (name.clone(), user.clone())));
        }
        all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether anybody can say a password.
    pub fn have_passwords(&self) -> bool {
        self.by_name.values().any(|user| user.password.is_some())
    }

    /// Whether anybody can use SCRAM-SHA-256.
    pub fn have_scram(&self) -> bool {
        self.by_name.values().any(|user| user.scram.is_some())
    }

    /// Whether anybody has a bearer token.
    pub fn have_tokens(&self) -> bool {
        !self.by_token.is_empty()
    }

    /// The user of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user who has this bearer token. A hash is looked up, so that the time it takes says nothing about tokens.
    pub fn by_token(&self, token: &str) -> Option<&Arc<User>> {
        self.by_token.get(&TokenHash::of(token))
    }

    /// The user whose certificate carries one of these names; the certificate has been verified.
    pub fn by_certificate<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<&Arc<User>> {
        names.into_iter().find_map(|name| self.by_certificate.get(&name.to_ascii_lowercase()))
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }
}

/// The longest name of a user, in bytes.
pub const NAME_MAX: usize = 128;

/// A user's name: printable ASCII without blanks, so that it reads the same in every mechanism, file and log. An address is one.
pub fn check_name(text: &str) -> Result<Arc<str>, String> {
    let fits = |b: u8| b.is_ascii_graphic() && !b"\"\\,=<>".contains(&b);
    match text {
        "" => Err("a user needs a name".into()),
        text if text.len() > NAME_MAX => Err(format!("too long: a user's name has at most {NAME_MAX} bytes")),
        text if !text.bytes().all(fits) => {
            Err("a user's name is of printable ASCII without blanks and without any of \" \\ , = < >; an address will do".into())
        }
        text => Ok(text.into()),
    }
}

/// What the tests of this folder share.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A user who may everything and has nothing to prove it by.
    pub(crate) fn user(name: &str) -> User {
        User {
            name: name.into(),
            password: None,
            scram: None,
            certificates: Vec::new(),
            tokens: Vec::new(),
            rights: vec![Right::Send],
            senders: vec![SenderPattern::Anybody],
            stream: None,
            priority: TransferPriority::default(),
            priority_max: TransferPriority::default(),
            rate: None,
            daily_quota: None,
            message_size: None,
            recipients: None,
        }
    }

    pub(crate) fn users(all: impl IntoIterator<Item = User>) -> Users {
        Users::new(&all.into_iter().map(|user| (user.name.clone(), Arc::new(user))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{user, users},
        *,
    };

    #[test]
    fn a_priority_is_what_was_asked_for_as_far_as_the_user_may() {
        let level = |n| TransferPriority::new(n).unwrap();
        let app = User { priority: level(2), priority_max: level(5), ..user("app") };
        for (who, asked, expected) in [
            (Some(&app), None, 2),
            (Some(&app), Some(4), 4),
            (Some(&app), Some(9), 5),
            (Some(&app), Some(-9), -9),
            (None, None, 0),
            (None, Some(3), 0),
            (None, Some(-3), -3),
        ] {
            assert_eq!(granted(who, asked.map(level)), level(expected), "{asked:?}");
        }
    }

    #[test]
    fn a_user_is_found_by_name_token_and_certificate() {
        let (token, hash) = token::generate();
        let app = User { tokens: vec![hash], certificates: vec!["app.example.com".into()], ..user("app") };
        let all = users([app, user("other")]);
        let name = |found: Option<&Arc<User>>| found.map(|u| u.name.to_string());
        assert_eq!(name(all.get("app")).as_deref(), Some("app"));
        assert_eq!(name(all.by_token(&token)).as_deref(), Some("app"));
        assert_eq!(name(all.by_certificate(["x.example.com", "APP.example.com"])).as_deref(), Some("app"));
        assert!(all.get("App").is_none() && all.by_token("app").is_none() && all.by_token("").is_none());
        assert!(all.by_certificate(["example.com"]).is_none());
        assert!(!all.have_passwords() && !all.have_scram() && !all.is_empty());
    }

    #[test]
    fn a_name_is_printable_and_has_no_blanks() {
        for good in ["app", "news@example.com", "a+b", &"x".repeat(NAME_MAX)] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a b", "ünï", "a\0", "a=b", "a,b", "\"a\"", &"x".repeat(NAME_MAX + 1)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
