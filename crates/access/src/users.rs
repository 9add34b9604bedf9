//! Users with their passwords, tokens and certificates, and their limits.
//!
//! Nothing here can be turned back into a password: [`password`] keeps argon2id hashes, [`scram`] the keys of RFC 5802, [`token`] SHA-256
//! hashes of tokens, which are random enough for that. `check` verifies passwords; neither its answer nor its timing reveals whether a user
//! exists.

mod check;
mod decoy;
pub mod file;
mod login;
pub mod password;
mod quota;
mod rate;
pub mod scram;
mod senders;
mod streams;
pub mod token;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use posthaste_mail::{Name, TransferPriority};
use posthaste_smtp::server::sasl::ScramKeys;

pub(crate) use self::quota::{Moment, Quotas, Spent};
pub use self::{
    check::{LoginCheck, Passwords},
    decoy::Decoys,
    login::{Credential, Login},
    password::PasswordHash,
    rate::Rate,
    senders::SenderPattern,
    streams::NamedStreams,
    token::TokenHash,
};

/// A user, with credentials and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Its name in logins and in the log.
    pub name: Arc<str>,
    /// Its password for AUTH PLAIN and LOGIN, if any.
    pub password: Option<PasswordHash>,
    /// Its keys for AUTH SCRAM-SHA-256, in which the password is never sent.
    pub scram: Option<ScramKeys>,
    /// Names in client certificates that identify this user, in lower case.
    pub certificates: Vec<String>,
    /// Its bearer tokens.
    pub tokens: Vec<TokenHash>,
    /// What its tokens, and those that the introspection endpoint knows as its, may be used for, by HTTP and by SMTP.
    pub rights: Vec<Right>,
    /// What it may do on the web page, where it logs in with its password; None: it may not open it.
    pub role: Option<Role>,
    /// Addresses that it may use as the envelope's sender and in From. Empty: it sends no mail.
    pub senders: Vec<SenderPattern>,
    /// The stream of messages that name none; None: the listener's stream.
    pub stream: Option<Name>,
    /// The streams that its messages may name; None: those by default (see [`User::may_name`]).
    pub streams: Option<NamedStreams>,
    /// Whether the relay has no other user who sends; [`Users::new`] sets it. What the relay does is then all this user's own.
    pub alone: bool,
    /// The priority, within the stream, of messages that ask for none.
    pub priority: TransferPriority,
    /// The highest priority that it may ask for.
    pub priority_max: TransferPriority,
    /// Limit of recipients per second, minute or hour; None: no limit.
    pub rate: Option<Rate>,
    /// Limit of recipients per day (UTC); None: no limit.
    pub daily_quota: Option<u64>,
    /// Limit of a message's size in bytes, if lower than the general one.
    pub message_size: Option<u64>,
    /// Limit of recipients per message, if lower than the general one.
    pub recipients: Option<usize>,
}

impl User {
    /// Whether it may use `address` as a sender.
    pub fn may_send_as(&self, address: &str) -> bool {
        self.senders.iter().any(|pattern| pattern.covers(address))
    }

    /// Whether it may send mail at all. Who may not is there for the web page.
    pub fn sends(&self) -> bool {
        !self.senders.is_empty()
    }

    /// Whether its tokens have this right.
    pub fn has(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// Whether its messages may name `stream`. `usual`: the stream of its messages that name none. Without a list of its own it may name no
    /// other, unless it is the only user.
    pub fn may_name(&self, stream: &Name, usual: &Name) -> bool {
        stream == usual || self.stream.as_ref() == Some(stream) || self.streams.as_ref().map_or(self.alone, |list| list.hold(stream))
    }

    /// The streams that the configuration gives to it by name. "*" gives none: it only permits to name them.
    pub fn own_streams(&self) -> impl Iterator<Item = &Name> {
        self.stream.iter().chain(self.streams.iter().flat_map(|list| list.by_name()))
    }

    /// Whether it may use any address as a sender.
    pub(crate) fn may_send_as_anybody(&self) -> bool {
        self.senders.contains(&SenderPattern::Anybody)
    }
}

/// The priority of a message, given the user, if any, and the priority asked for, if any. A client that is not logged in may lower its
/// priority but never raise it (RFC 6710 §5 leaves that to us).
pub fn granted(user: Option<&User>, asked: Option<TransferPriority>) -> TransferPriority {
    let (usual, most) = user.map_or_else(Default::default, |user| (user.priority, user.priority_max));
    asked.map_or(usual, |asked| asked.min(most))
}

/// What a user's tokens may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Submit mail, by HTTP and by SMTP.
    Send,
    /// Read the state of its own messages, its own entries of the suppression list, and what is found about it and its streams.
    Read,
    /// Change its own entries of the suppression list.
    Suppress,
    /// Read the state of all messages, the whole suppression list, and all that the monitoring knows.
    Monitor,
    /// Read and change the whole suppression list: global entries and those of other users and streams. Mute and close incidents.
    Admin,
}

impl Right {
    /// All rights, with their words in the configuration.
    pub const ALL: [(&'static str, Self); 5] =
        [("send", Self::Send), ("read", Self::Read), ("suppress", Self::Suppress), ("monitor", Self::Monitor), ("admin", Self::Admin)];
}

/// What a user may do on the web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look, and steer: hold, release and drop mail, mute incidents, change warm-ups.
    Operator,
}

impl Role {
    /// All roles, with their words in the configuration.
    pub const ALL: [(&'static str, Self); 2] = [("viewer", Self::Viewer), ("operator", Self::Operator)];

    /// Its word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// Who does not see on the web page whom mail is for and whom it is from: of people's addresses the first letter and the
/// domain are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// Nobody: all see the addresses.
    None,
    /// Viewers.
    Viewers,
    /// Everybody.
    Everybody,
}

impl Privacy {
    /// All of them, with their words in the configuration.
    pub const ALL: [(&'static str, Self); 3] = [("none", Self::None), ("viewers", Self::Viewers), ("everybody", Self::Everybody)];

    /// Whether addresses are hidden from whoever has this role.
    pub fn hides_from(self, role: Role) -> bool {
        match self {
            Self::None => false,
            Self::Viewers => role == Role::Viewer,
            Self::Everybody => true,
        }
    }
}

/// All users, indexed by name, token and certificate.
#[derive(Debug, Default)]
pub struct Users {
    by_name: BTreeMap<Arc<str>, Arc<User>>,
    by_token: HashMap<TokenHash, Arc<User>>,
    by_certificate: HashMap<String, Arc<User>>,
}

impl Users {
    /// From the configured users, no two of which share a token or a certificate.
    pub fn new(users: &BTreeMap<Arc<str>, Arc<User>>) -> Self {
        let alone = users.values().filter(|user| user.sends()).count() == 1;
        let marked = |user: &Arc<User>| Arc::new(User { alone: alone && user.sends(), ..User::clone(user) });
        let mut all = Self { by_name: users.iter().map(|(name, user)| (name.clone(), marked(user))).collect(), ..Self::default() };
        for user in all.by_name.values() {
            all.by_token.extend(user.tokens.iter().map(|token| (token.clone(), user.clone())));
            all.by_certificate.extend(user.certificates.iter().map(|name| (name.clone(), user.clone())));
        }
        all
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether none of them sends mail.
    pub fn send_nothing(&self) -> bool {
        !self.by_name.values().any(|user| user.sends())
    }

    /// Whether any user has a password.
    pub fn have_passwords(&self) -> bool {
        self.by_name.values().any(|user| user.password.is_some())
    }

    /// Whether any user can use SCRAM-SHA-256.
    pub fn have_scram(&self) -> bool {
        self.by_name.values().any(|user| user.scram.is_some())
    }

    /// Whether any user has a bearer token.
    pub fn have_tokens(&self) -> bool {
        !self.by_token.is_empty()
    }

    /// The user with this name.
    pub fn get(&self, name: &str) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user with this bearer token. The hash is looked up, so that timing reveals nothing about tokens.
    pub fn by_token(&self, token: &str) -> Option<&Arc<User>> {
        self.by_token.get(&TokenHash::of(token))
    }

    /// All users, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }
}

/// The longest name of a user, in bytes.
pub const NAME_MAX: usize = 128;

/// Checks a user's name: printable ASCII without blanks, so that it reads the same in every mechanism, file and log. An address is a valid
/// name.
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

/// Shared by tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A user without limits and without credentials.
    pub(crate) fn user(name: &str) -> User {
        User {
            name: name.into(),
            password: None,
            scram: None,
            certificates: Vec::new(),
            tokens: Vec::new(),
            rights: vec![Right::Send],
            role: None,
            senders: vec![SenderPattern::Anybody],
            stream: None,
            streams: None,
            alone: false,
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
        assert_eq!(all.by_certificate(["x.example.com", "APP.example.com"]).map(|login| login.name().to_string()).as_deref(), Some("app"));
        assert!(all.get("App").is_none() && all.by_token("app").is_none() && all.by_token("").is_none());
        assert!(all.by_certificate(["example.com"]).is_none());
        assert!(!all.have_passwords() && !all.have_scram() && !all.is_empty());
    }

    #[test]
    fn who_is_there_for_the_page_alone_takes_nothing_from_the_only_user_who_sends() {
        let usual = Name::new("default").unwrap();
        let viewer = User { role: Some(Role::Viewer), senders: Vec::new(), ..user("ann") };
        let all = users([user("app"), viewer.clone()]);
        assert!(all.get("app").unwrap().alone && !all.get("ann").unwrap().alone && !all.send_nothing());
        assert!(!all.get("ann").unwrap().may_send_as("ann@example.com") && !all.get("ann").unwrap().sends());
        let other = Name::new("news").unwrap();
        assert!(all.get("app").unwrap().may_name(&other, &usual) && !all.get("ann").unwrap().may_name(&other, &usual));
        let page_only = users([viewer]);
        assert!(page_only.send_nothing() && !page_only.get("ann").unwrap().alone);
        assert!(!users([user("app"), user("other")]).get("app").unwrap().alone);
    }

    #[test]
    fn addresses_are_hidden_from_whom_the_operator_names() {
        let hidden = |privacy: Privacy| Role::ALL.map(|(_, role)| privacy.hides_from(role));
        assert_eq!(Privacy::ALL.map(|(_, privacy)| hidden(privacy)), [[false, false], [true, false], [true, true]]);
        assert!(Role::ALL.iter().all(|(word, role)| role.word() == *word));
    }

    #[test]
    fn a_stream_is_named_by_those_who_have_it_and_by_the_only_user() {
        let name = |text: &str| Name::new(text).unwrap();
        let (usual, news, codes) = (name("default"), name("news"), name("codes"));
        let may = |all: &Users| [&usual, &news, &codes].map(|stream| all.get("app").unwrap().may_name(stream, &usual));
        let app = User { stream: Some(news.clone()), ..user("app") };
        assert_eq!(may(&users([app.clone()])), [true, true, true], "alone");
        assert_eq!(may(&users([app, user("other")])), [true, true, false]);
        let listed = User { streams: Some(NamedStreams::These(vec![codes.clone()])), ..user("app") };
        assert_eq!(may(&users([listed.clone()])), [true, false, true], "a list counts even for the only user");
        assert!(users([listed]).get("app").unwrap().own_streams().eq([&codes]));
        let all = User { streams: Some(NamedStreams::All), ..user("app") };
        assert_eq!(may(&users([all, user("other")])), [true, true, true]);
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
