//! Refusals as problem documents (RFC 9457), with the texts and codes that an SMTP client would get.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use posthaste_access::ShutOut;
use posthaste_smtp::server::{Answer, Refused};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_path_to_error::Segment;
use utoipa::ToSchema;

use crate::json_text;

/// Why a request was refused (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`; `reason` distinguishes problems.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The HTTP status as text.
    title: &'static str,
    /// The HTTP status of the response.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong, as text for people.
    #[schema(example = "a message has at most 1000 recipients here")]
    detail: String,
    /// What is wrong, as a stable word; the same as in the delivery log's `rejected` events.
    #[schema(example = "too_many_recipients")]
    reason: &'static str,
    /// The reply code that an SMTP client would have got.
    #[schema(example = 550)]
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp_code: Option<u16>,
    /// The enhanced code that goes with it (RFC 3463).
    #[schema(example = "5.5.3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp_enhanced: Option<String>,
    /// The invalid fields, if the problem is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// An invalid field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// Its place in the request, as a JSON pointer (RFC 6901).
    #[schema(example = "/to/0")]
    pub(super) field: String,
    /// What is wrong with it.
    #[schema(example = "an address is local-part@domain")]
    pub(super) detail: String,
}

/// A refusal, for the client and, if it is about mail, for the log.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The answer that an SMTP client would get; this client gets its text.
    pub(super) answer: Answer,
    pub(super) reason: &'static str,
    pub(super) errors: Vec<FieldError>,
    /// Whether an SMTP client could get the same refusal.
    is_mail: bool,
    /// The sender, if known.
    pub(super) from: Option<String>,
    /// The recipient that it is about.
    pub(super) rcpt: Option<String>,
    /// Whether it is not logged, because the same refusal has been logged often enough.
    pub(super) untold: bool,
}

/// A refusal, boxed because it is large and rare.
pub(super) type BoxedRefusal = Box<Refusal>;

/// The longest detail, in characters.
const DETAIL_MAX: usize = 1000;
/// The value of Retry-After for temporary refusals, in seconds.
const RETRY_AFTER: u32 = 30;

impl Refusal {
    /// A refusal that SMTP has too.
    pub(super) fn mail(answer: Answer, reason: &'static str) -> BoxedRefusal {
        Self::new(status_of(&answer, reason), answer, reason, true)
    }

    /// What an SMTP client would have been told.
    pub(super) fn of(refused: Refused) -> BoxedRefusal {
        Self::mail(refused.answer, refused.reason)
    }

    /// A refusal of the HTTP request, not of mail.
    pub(super) fn http(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> BoxedRefusal {
        let code = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS { 451 } else { 550 };
        Self::new(status, Answer::new(code, 5, 0, detail), reason, false)
    }

    /// A refusal of a client that sent too many wrong tokens or passwords.
    pub(super) fn shut_out(ShutOut { answer, tell }: ShutOut) -> BoxedRefusal {
        let mut refused = Self::mail(answer, "banned");
        refused.untold = !tell;
        refused
    }

    /// The refusal of a path to something that does not exist.
    pub(super) fn not_found(what: &str) -> BoxedRefusal {
        Self::http(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    fn new(status: StatusCode, answer: Answer, reason: &'static str, is_mail: bool) -> BoxedRefusal {
        Box::new(Self { status, answer, reason, errors: Vec::new(), is_mail, from: None, rcpt: None, untold: false })
    }

    /// Adds the invalid fields.
    pub(super) fn about(mut self: Box<Self>, errors: Vec<FieldError>) -> BoxedRefusal {
        self.errors = errors;
        self
    }

    /// Says how many entries were added to the list before this went wrong.
    pub(super) fn after(mut self: Box<Self>, added: usize) -> BoxedRefusal {
        if added > 0 {
            self.answer.text = format!("{}; {added} entries were added before", self.answer.text);
        }
        self
    }

    /// Adds the message's sender.
    pub(super) fn sent_by(mut self: Box<Self>, from: Option<String>) -> BoxedRefusal {
        self.from = from;
        self
    }

    /// The problem document for the client.
    pub(super) fn problem(&self) -> Problem {
        Problem {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Refused"),
            status: self.status.as_u16(),
            detail: self.answer.text.chars().take(DETAIL_MAX).collect(),
            reason: self.reason,
            smtp_code: self.is_mail.then_some(self.answer.code),
            smtp_enhanced: self.is_mail.then(|| self.answer.enhanced.to_string()),
            errors: self.errors.clone(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.problem()).expect("a problem has nothing that JSON can't hold");
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS, StatusCode::CONFLICT].contains(&self.status) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER.into());
        }
        response
    }
}

/// The HTTP status of a refusal of mail.
fn status_of(answer: &Answer, reason: &str) -> StatusCode {
    match (reason, answer.code) {
        ("bad_token", _) => StatusCode::UNAUTHORIZED,
        ("not_allowed" | "sender_not_allowed" | "bad_from", _) => StatusCode::FORBIDDEN,
        ("too_many_recipients", _) => StatusCode::UNPROCESSABLE_ENTITY,
        ("user_rate" | "user_quota" | "banned", _) => StatusCode::TOO_MANY_REQUESTS,
        ("too_large" | "header_too_large", _) => StatusCode::PAYLOAD_TOO_LARGE,
        (_, 400..=499) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// The refusal of a request whose task failed.
pub(crate) fn broken(error: &tokio::task::JoinError) -> BoxedRefusal {
    tracing::error!(%error, "a request failed: its task ended early");
    Refusal::mail(posthaste_smtp::server::Answer::trouble("the relay could not work on this, try again later"), "trouble")
}

/// Reads a JSON object. Invalid JSON and valid JSON with wrong contents are different refusals.
pub(crate) fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, BoxedRefusal> {
    // Serde would accept a list as an object, with its fields by position.
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Refusal::mail(Answer::new(554, 6, 0, "an object goes here, not a list"), "bad_field"));
    }
    // The name of a field that is not known would be held several times over, for the answer.
    if json_text::has_long_key(text) {
        return Err(Refusal::mail(
            Answer::new(554, 6, 0, format!("a field's name has more than {} bytes", json_text::KEY_MAX)),
            "bad_field",
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (field, error) = (pointer(error.path()), error.into_inner());
        match (error.classify(), field.is_empty()) {
            (Category::Data, true) => Refusal::mail(Answer::new(554, 6, 0, said(&error)), "bad_field"),
            (Category::Data, false) => {
                let detail = said(&error);
                Refusal::mail(Answer::new(554, 6, 0, format!("{field}: {detail}")), "bad_field").about(vec![FieldError { field, detail }])
            }
            _ => not_json(&error),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(read)
}

/// What is wrong with a value, and where it ends in the text.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).map_or(text.clone(), |what| format!("{what} (line {}, column {})", error.line(), error.column()))
}

fn not_json(error: &serde_json::Error) -> BoxedRefusal {
    Refusal::http(StatusCode::BAD_REQUEST, "syntax", format!("not JSON: {error}"))
}

/// A place in a document as a JSON pointer (RFC 6901); empty for the whole.
fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        #[serde(default)]
        #[expect(dead_code, reason = "it is only read into")]
        rows: Vec<Row>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Row {
        #[expect(dead_code, reason = "it is only read into")]
        number: u8,
    }

    #[test]
    fn a_wrong_value_is_named_by_its_place() {
        let refused = |text: &str| json::<Form>(text.as_bytes()).unwrap_err();
        for (text, field) in [
            (r#"{"rows": [{"number": 1}, {"number": "two"}]}"#, "/rows/1/number"),
            (r#"{"rows": 5}"#, "/rows"),
            (r#"{"a/b~": 5}"#, "/a~1b~0"),
            (r#"{"rows": [{"number": 1, "colour": 2}]}"#, "/rows/0/colour"),
        ] {
            let refused = refused(text);
            assert_eq!((refused.status.as_u16(), refused.errors[0].field.as_str()), (422, field), "{refused:?}");
            assert!(refused.answer.text.starts_with(&format!("{field}: ")), "{refused:?}");
        }
        assert!(refused(r#"{"rows": [{}]}"#).errors[0].field.starts_with("/rows/0"), "what is missing is missing there");
        for text in [r#"{"rows": []} x"#, r#"{"rows": "#] {
            assert_eq!(refused(text).status.as_u16(), 400, "{text}");
        }
    }
}
