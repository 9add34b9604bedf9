//! Decides whether an answer of the endpoint (RFC 7662 §2.2) makes a token valid. Pure: time is an argument.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// What an answer must contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// The field that names the user.
    pub username: UserField,
    /// Must be among the token's scopes; None: any scope is accepted.
    pub scope: Option<String>,
    /// Must be in the token's audience; None: any audience is accepted.
    pub audience: Option<String>,
}

/// The field of an answer that names the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserField {
    /// A name for people.
    Username,
    /// The subject, often a number.
    Sub,
    /// The application, where it has its own account.
    ClientId,
    /// Not in RFC 7662, but many servers add it.
    Email,
}

impl UserField {
    /// All fields, with their names in the configuration and in answers.
    pub const ALL: [(&'static str, Self); 4] =
        [("username", Self::Username), ("sub", Self::Sub), ("client_id", Self::ClientId), ("email", Self::Email)];
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The token is valid.
    Right {
        /// The user that the answer names. There may be no such user.
        user: String,
        /// When the token expires; None: the answer does not say.
        until: Option<Timestamp>,
    },
    /// The token is wrong, for this reason.
    Wrong(&'static str),
}

/// The reason why an answer cannot be read. A field that cannot be read must not be ignored: it may be the one that forbids the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

/// The fields that matter. A field that occurs twice is an error.
#[derive(Deserialize)]
struct Fields {
    active: bool,
    username: Option<Value>,
    sub: Option<Value>,
    client_id: Option<Value>,
    email: Option<Value>,
    scope: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
}

/// How far the endpoint's clock may be ahead of ours, for a token that was just issued (RFC 7519 §4.1.5).
const LEEWAY: SignedDuration = SignedDuration::from_secs(10);

/// Checks an answer against the rules.
pub(super) fn judge(answer: &[u8], rules: &TokenRules, now: Timestamp) -> Result<Judgement, Unreadable> {
    let fields: Fields =
        serde_json::from_slice(answer).map_err(|e| Unreadable(format!("it is not what RFC 7662 §2.2 describes: {}", shape(&e))))?;
    if !fields.active {
        return Ok(Judgement::Wrong("it is not active"));
    }
    let until = fields.exp.as_ref().map(|exp| time("exp", exp)).transpose()?;
    let from = fields.nbf.as_ref().map(|nbf| time("nbf", nbf)).transpose()?;
    let scope = fields.scope.as_ref().map(|scope| text("scope", scope)).transpose()?;
    let audience = fields.aud.as_ref().map(audience).transpose()?.unwrap_or_default();
    let user = match rules.username {
        UserField::Username => fields.username,
        UserField::Sub => fields.sub,
        UserField::ClientId => fields.client_id,
        UserField::Email => fields.email,
    };
    let user = user.as_ref().map(|user| text("the name of the user", user)).transpose()?;
    let lacks_scope = |wanted: &String| !scope.unwrap_or_default().split(' ').any(|scope| scope == wanted);
    // RFC 7519 §4.1.4: the token is expired on and after exp.
    Ok(if until.is_some_and(|until| until <= now) {
        Judgement::Wrong("its time is over (exp)")
    } else if from.is_some_and(|from| from > now.saturating_add(LEEWAY).expect("a few seconds fit")) {
        Judgement::Wrong("its time is yet to come (nbf)")
    } else if rules.scope.as_ref().is_some_and(lacks_scope) {
        Judgement::Wrong("it has not the scope")
    } else if rules.audience.as_ref().is_some_and(|wanted| !audience.contains(&wanted.as_str())) {
        Judgement::Wrong("it is for another audience (aud)")
    } else {
        match user.filter(|user| !user.is_empty()) {
            Some(user) => Judgement::Right { user: user.to_owned(), until },
            None => Judgement::Wrong("it names no user"),
        }
    })
}

/// Seconds since 1970 (RFC 7519 §2: fractions are allowed). Times out of range become the first or last representable time.
fn time(field: &str, value: &Value) -> Result<Timestamp, Unreadable> {
    let seconds = value.as_f64().ok_or_else(|| Unreadable(format!("{field} is no number")))?;
    // `as` saturates (and there is no NaN in JSON).
    let whole = value.as_i64().unwrap_or(seconds.floor() as i64);
    Ok(Timestamp::from_second(whole).unwrap_or(if whole < 0 { Timestamp::MIN } else { Timestamp::MAX }))
}

fn text<'v>(field: &str, value: &'v Value) -> Result<&'v str, Unreadable> {
    value.as_str().ok_or_else(|| Unreadable(format!("{field} is no text")))
}

/// One audience, or a list (RFC 7519 §4.1.3).
fn audience(value: &Value) -> Result<Vec<&str>, Unreadable> {
    match value {
        Value::Array(all) => all.iter().map(|one| text("aud", one)).collect(),
        one => text("aud", one).map(|one| vec![one]),
    }
}

/// What is wrong with the JSON, without quoting any of it: an endpoint may repeat the token.
fn shape(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a field is missing, or there twice, or of another type",
        _ => "no JSON",
    }
}

#[cfg(test)]
mod tests;
