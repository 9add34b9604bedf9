//! `[user.NAME]`, in the configuration and in the file that `posthaste user` writes: users, their credentials and limits.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use posthaste_access::users::{PasswordHash, Rate, Right, Role, SenderPattern, TokenHash, User, check_name, scram};
use posthaste_host::Host;
use posthaste_mail::{Name, TransferPriority};
use posthaste_smtp::server::sasl::ScramKeys;

use super::{
    document::Document,
    error::ConfigError,
    reader::{Findings, Item, Parsed, Reading, Table, fault},
    reference::{defined, named_streams},
    stream::Stream,
    value::{MIB, from_text, list, number, one_of, size, some, string, zero_is_none},
};

/// All users by name.
pub type UsersByName = BTreeMap<Arc<str>, Arc<User>>;

/// The users in the users file, or its errors; nothing if there is no such file.
pub(super) fn read_file(path: &Path, host: &dyn Host, base: &Document<'_>, above: &Above<'_>) -> (UsersByName, Option<Findings>) {
    let name = path.display().to_string();
    let trouble = |message: String, unread| {
        let error = ConfigError { file: name.as_str().into(), line: None, column: None, key: String::new(), value: None, message, unread };
        (UsersByName::new(), Some(Findings { errors: vec![error], lines: Default::default(), known: Default::default() }))
    };
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        // Nobody waits for a pipe.
        return trouble("is not a file".into(), true);
    }
    let text = match host.read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return trouble("not UTF-8, as TOML must be".into(), false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (UsersByName::new(), None),
        Err(error) => return trouble(format!("cannot be read: {error}"), true),
    };
    match Document::new(&name, &text) {
        Ok(document) => {
            let reading = Reading::new(&document, base);
            let users = reading.root(|t| read_all(t, above));
            (users, Some(reading.finish()))
        }
        Err(errors) => (UsersByName::new(), Some(Findings { errors: errors.0, lines: Default::default(), known: Default::default() })),
    }
}

/// What a table of users is checked against.
pub(super) struct Above<'a> {
    /// The defined streams.
    pub(super) streams: &'a BTreeMap<Name, Stream>,
    /// The users in the configuration itself.
    pub(super) users: &'a UsersByName,
}

/// Reads the user tables of a file. No two users may share a certificate or a token.
pub(super) fn read_all(root: &Table<'_>, above: &Above<'_>) -> UsersByName {
    let free = |word: &str| match check_name(word)? {
        name if above.users.contains_key(&name) => Err("the configuration itself defines a user with this name".to_owned()),
        name => Ok(name),
    };
    let read = |t: &Table<'_>, word: &str| Some(t.entry(word, |t| read(t, word, above)));
    let users = root.table("user", |t| t.entries(free, read)).into_iter().map(|(name, user)| (name, Arc::new(user)));
    let users = UsersByName::from_iter(users);
    let all = || above.users.values().chain(users.values());
    for user in users.values() {
        let others = || all().filter(|other| other.name != user.name);
        let twice = |key: &str, other: &User| root.object_at(&["user", &user.name, key], format!("user {} has it too", other.name));
        others().find(|o| o.certificates.iter().any(|c| user.certificates.contains(c))).inspect(|other| twice("certificates", other));
        others().find(|o| o.tokens.iter().any(|token| user.tokens.contains(token))).inspect(|other| twice("tokens", other));
    }
    users
}

fn read(t: &Table<'_>, name: &str, above: &Above<'_>) -> User {
    let stream = t.given("stream", from_text::<Name>);
    if let Some(stream) = &stream {
        defined(t, "stream", stream, above.streams);
    }
    let level = |key: &str| t.given(key, number(TransferPriority::MIN..=TransferPriority::MAX)).and_then(TransferPriority::new);
    let priority = level("priority").unwrap_or_default();
    let priority_max = level("priority_max").unwrap_or(priority.max(TransferPriority::default()));
    if priority > priority_max {
        t.object_to(
            &["priority_max", "priority"],
            "priority must not be more than priority_max, the highest that this user's mail may have",
        );
    }
    let role = t.given("role", one_of(&Role::ALL));
    if role.is_some() && !t.has("password") {
        t.object("role", format!("the page asks for a password, and this user has none: `posthaste user passwd {name}` gives it one"));
    }
    User {
        name: name.into(),
        password: t.given("password", password),
        scram: t.given("scram_sha256", scram_keys),
        certificates: t.given("certificates", some(certificate)).unwrap_or_default(),
        tokens: t.given("tokens", list(token)).unwrap_or_default(),
        rights: t.given("http", some(one_of(&Right::ALL))).unwrap_or_else(|| vec![Right::Send]),
        role,
        senders: t.given("senders", list(sender)).unwrap_or_else(|| vec![SenderPattern::Anybody]),
        stream,
        streams: named_streams(t, above.streams),
        alone: false,
        priority,
        priority_max,
        rate: t.given("rate", rate),
        daily_quota: t.given("daily_quota", zero_is_none(number(1..=1_000_000_000))).flatten(),
        message_size: t.given("message_size", size(1024..=2048 * MIB)),
        recipients: t.given("recipients", number(1..=100_000)),
    }
}

/// The file in which `posthaste user` keeps users.
pub(super) fn file(t: &Table<'_>, data_dir: &Path) -> PathBuf {
    data_dir.join(t.get("users_file", super::value::path))
}

fn password(item: Item<'_>) -> Parsed<PasswordHash> {
    PasswordHash::parse(string(item)?).or_else(|error| fault(item, error.to_string()))
}

fn scram_keys(item: Item<'_>) -> Parsed<ScramKeys> {
    let keys = scram::parse(string(item)?);
    keys.map_or_else(|| fault(item, "not SCRAM-SHA-256$ROUNDS:SALT$STORED:SERVER; `posthaste user passwd NAME` makes it"), Ok)
}

fn token(item: Item<'_>) -> Parsed<TokenHash> {
    let hash = TokenHash::parse(string(item)?);
    hash.map_or_else(|| fault(item, "not the hash of a token, sha256:…; `posthaste user token NAME` makes one"), Ok)
}

fn certificate(item: Item<'_>) -> Parsed<String> {
    match string(item)? {
        "" => fault(item, "expected a name in the client's certificate, such as \"app.example.com\""),
        name => Ok(name.to_ascii_lowercase()),
    }
}

fn sender(item: Item<'_>) -> Parsed<SenderPattern> {
    SenderPattern::parse(string(item)?).or_else(|message| fault(item, message))
}

fn rate(item: Item<'_>) -> Parsed<Rate> {
    Rate::parse(string(item)?).map_or_else(|| fault(item, r#"expected recipients per time, such as "2/s", "100/m" or "1000/h""#), Ok)
}
