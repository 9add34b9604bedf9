//! Whether an answer of the endpoint (RFC 7662 §2.2) makes its token a right one. Pure: time is an argument.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

/// What an answer must say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The field that names the user.
    pub username: UserField,
    /// Must be among the token's scopes; None: any will do.
    pub scope: Option<String>,
    /// Must be among those for whom the token is; None: it may be for anybody.
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
    /// No field of RFC 7662, but one that many servers add.
    Email,
}

impl UserField {
    /// Every one, with its word, which is also what the field is called.
    pub const ALL: [(&'static str, Self); 4] =
        [("username", Self::Username), ("sub", Self::Sub), ("client_id", Self::ClientId), ("email", Self::Email)];
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The token is right.
    Right {
        /// Whose it says that it is. There may be no such user.
        user: String,
        /// When it ends; None: that is not said.
        until: Option<Timestamp>,
    },
    /// The token is wrong, and why.
    Wrong(&'static str),
}

/// An answer that says neither yes nor no, and why. What cannot be read must not be passed over: it may be what forbids the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Junk(pub(super) String);

/// The fields that matter. One that is there twice is an error, whichever was meant.
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

/// How far the endpoint's clock may be ahead of ours, for a token that has just been made (RFC 7519 §4.1.5).
const LEEWAY: SignedDuration = SignedDuration::from_secs(10);

/// Holds an answer against the rules.
pub(super) fn judge(answer: &[u8], rules: &Rules, now: Timestamp) -> Result<Judgement, Junk> {
    let fields: Fields =
        serde_json::from_slice(answer).map_err(|e| Junk(format!("it is not what RFC 7662 §2.2 describes: {}", shape(&e))))?;
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
    // RFC 7519 §4.1.4: on or after exp it is over.
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

/// Seconds since 1970 (RFC 7519 §2: fractions are allowed). Times beyond all clocks are the last or the first there is.
fn time(field: &str, value: &Value) -> Result<Timestamp, Junk> {
    let seconds = value.as_f64().ok_or_else(|| Junk(format!("{field} is no number")))?;
    // A float in `as` is cut off at the ends of the whole numbers (and there is no NaN in JSON).
    let whole = value.as_i64().unwrap_or(seconds.floor() as i64);
    Ok(Timestamp::from_second(whole).unwrap_or(if whole < 0 { Timestamp::MIN } else { Timestamp::MAX }))
}

fn text<'v>(field: &str, value: &'v Value) -> Result<&'v str, Junk> {
    value.as_str().ok_or_else(|| Junk(format!("{field} is no text")))
}

/// One, or a list of them (RFC 7519 §4.1.3).
fn audience(value: &Value) -> Result<Vec<&str>, Junk> {
    match value {
        Value::Array(all) => all.iter().map(|one| text("aud", one)).collect(),
        one => text("aud", one).map(|one| vec![one]),
    }
}

/// What is wrong with the JSON, and never a word of it: who knows what an endpoint repeats.
fn shape(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a field is missing, or there twice, or of another type",
        _ => "no JSON",
    }
}

#[cfg(test)]
mod tests;
