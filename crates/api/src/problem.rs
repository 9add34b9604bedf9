//! No, in a form that programs can read: RFC 9457, with the words and codes that an SMTP client would hear.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use posthaste_access::ShutOut;
use posthaste_smtp::server::{Answer, Refused};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use utoipa::ToSchema;

/// Why a request was refused (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: `reason` tells them apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the response.
    #[schema(example = 422)]
    status: u16,
    /// What is wrong, for people.
    #[schema(example = "a message has at most 1000 recipients here")]
    detail: String,
    /// The same as a word that stays the same, as in the delivery log's `rejected` events.
    #[schema(example = "too_many_recipients")]
    reason: &'static str,
    /// What an SMTP client would have been told.
    #[schema(example = 550)]
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp_code: Option<u16>,
    /// The enhanced code that goes with it (RFC 3463).
    #[schema(example = "5.5.3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    smtp_enhanced: Option<String>,
    /// The fields that are wrong, where it is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// A field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct FieldError {
    /// Where it stands, as a JSON pointer (RFC 6901).
    #[schema(example = "/to/0")]
    pub(super) field: String,
    /// What is wrong with it.
    #[schema(example = "an address is local-part@domain")]
    pub(super) detail: String,
}

/// A refusal on its way to the client, and into the log where it is about mail.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// What an SMTP client would be told; its text is what this client is told.
    pub(super) answer: Answer,
    pub(super) reason: &'static str,
    pub(super) errors: Vec<FieldError>,
    /// Whether an SMTP client could hear the same.
    is_mail: bool,
    /// The sender, once known.
    pub(super) from: Option<String>,
    /// The recipient that it is about.
    pub(super) rcpt: Option<String>,
    /// Whether the log has heard of the like often enough.
    pub(super) untold: bool,
}

/// Boxed: it is large, and rare.
pub(super) type BoxedRefusal = Box<Refusal>;

/// When to come back after a refusal that will pass, in seconds.
const RETRY_AFTER: u32 = 30;

impl Refusal {
    /// One that SMTP has too.
    pub(super) fn mail(answer: Answer, reason: &'static str) -> BoxedRefusal {
        Self::new(status_of(&answer, reason), answer, reason, true)
    }

    /// What an SMTP client would have been told.
    pub(super) fn of(refused: Refused) -> BoxedRefusal {
        Self::mail(refused.answer, refused.reason)
    }

    /// One about the request, not about mail.
    pub(super) fn http(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> BoxedRefusal {
        let code = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS { 451 } else { 550 };
        Self::new(status, Answer::new(code, 5, 0, detail), reason, false)
    }

    /// One to a client that guessed tokens or passwords too often.
    pub(super) fn shut_out(ShutOut { answer, tell }: ShutOut) -> BoxedRefusal {
        let mut refused = Self::mail(answer, "banned");
        refused.untold = !tell;
        refused
    }

    /// There is no such thing.
    pub(super) fn not_found(what: &str) -> BoxedRefusal {
        Self::http(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    fn new(status: StatusCode, answer: Answer, reason: &'static str, is_mail: bool) -> BoxedRefusal {
        Box::new(Self { status, answer, reason, errors: Vec::new(), is_mail, from: None, rcpt: None, untold: false })
    }

    /// The same with the fields that are wrong.
    pub(super) fn about(mut self: Box<Self>, errors: Vec<FieldError>) -> BoxedRefusal {
        self.errors = errors;
        self
    }

    /// The same, of a message by this sender.
    pub(super) fn sent_by(mut self: Box<Self>, from: Option<String>) -> BoxedRefusal {
        self.from = from;
        self
    }

    /// As the client reads it.
    pub(super) fn problem(&self) -> Problem {
        Problem {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Refused"),
            status: self.status.as_u16(),
            detail: self.answer.text.clone(),
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

/// What a refusal of mail is in HTTP's terms.
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

/// A task of ours that broke.
pub(crate) fn broken(error: &tokio::task::JoinError) -> BoxedRefusal {
    tracing::error!(%error, "a request could not be worked on");
    Refusal::mail(posthaste_smtp::server::Answer::trouble("the relay could not work on this, try again later"), "trouble")
}

/// Reads an object of JSON: what is no JSON at all is another fault than what says the wrong thing.
pub(crate) fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, BoxedRefusal> {
    // Serde would take a list for an object whose fields are told by their order.
    if text.trim_ascii_start().starts_with(b"[") {
        return Err(Refusal::mail(Answer::new(554, 6, 0, "an object goes here, not a list"), "bad_field"));
    }
    serde_json::from_slice(text).map_err(|error| match error.classify() {
        Category::Data => Refusal::mail(Answer::new(554, 6, 0, error.to_string()), "bad_field"),
        _ => Refusal::http(StatusCode::BAD_REQUEST, "syntax", format!("not JSON: {error}")),
    })
}
