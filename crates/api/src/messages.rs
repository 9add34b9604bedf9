//! `POST /v1/messages` and the batch: from a request to the intake's answer.

pub(crate) mod batch;
mod request;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use posthaste_access::users::Right;
use posthaste_host::clock;
use posthaste_http::Peer;
use posthaste_mail::{MessageId, Name, What};
use posthaste_smtp::server::Submission;
use posthaste_submission::Client;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    auth::Principal,
    compose::{Composed, compose, compose_raw},
    draft::Draft,
    problem::{BoxedRefusal, Problem, Refusal, broken, json},
    state::Api,
};
use request::{Idempotent, Incoming};

/// The `command` in the `rejected` events of messages refused here.
const COMMAND: &str = "http";

/// A message that was accepted: it is on disk and in the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// Its id in the log, `trace` and `GET /v1/messages/{id}`.
    #[schema(example = "01K6Z5D0V4QK9M2T8YJ3N7RXCE")]
    id: String,
    /// The number of its recipients.
    recipients: usize,
}

/// Send a message.
///
/// As JSON, or as MIME with the envelope in the query. The message is on disk when the answer is sent. With an `Idempotency-Key`, the same
/// request within 24 hours gets the same answer and sends nothing again; requests of which no message was accepted are not remembered.
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "messages",
    security(("token" = ["send"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters, new for each message.", max_length = 255),
        ("from" = Option<String>, Query, description = "For `message/rfc822`: the address that failure notices go to; empty: no notices."),
        ("to" = Option<Vec<String>>, Query, description = "For `message/rfc822`: a recipient; may be repeated."),
        ("stream" = Option<String>, Query, description = "For `message/rfc822`: the stream."),
        ("tag" = Option<Vec<String>>, Query, description = "For `message/rfc822`: a tag; may be repeated."),
        ("send_at" = Option<String>, Query, description = "For `message/rfc822`: the time before which it is not sent."),
        ("priority" = Option<i8>, Query, description = "For `message/rfc822`: its priority within its stream, -9 to 9."),
    ),
    request_body(content((Draft<'static> = "application/json"), (String = "message/rfc822")), description = "The message."),
    responses(
        (status = 202, description = "The message was accepted.", body = Taken,
            headers(("Location" = String, description = "The path of its delivery status."),
                ("Idempotency-Replayed" = String, description = "`true` if this request was answered before and nothing was sent now."))),
        (status = 400, description = "The request is not JSON, or is not a valid request here.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to do this.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not arrive in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A request with the same key is in progress.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request or the message is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body's media type is not supported.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The message cannot be sent as it is, or the key was used for another request.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The user has sent enough for now, or too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The relay cannot accept this at present: try again after `Retry-After` seconds.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn send(State(api): State<Arc<Api>>, peer: Peer, who: Result<Principal, Refusal>, request: Request) -> Response {
    let known = who.as_ref().ok().cloned();
    let sent = async {
        let who = who?;
        let incoming = Incoming::read(&api, &who, request).await?;
        let who = who.still(&api)?;
        who.may(Right::Send)?;
        let kind = incoming.media_type.as_str();
        if kind != "application/json" && kind != "message/rfc822" {
            return Err(super::body::unsupported(kind, "application/json or message/rfc822"));
        }
        let api = api.clone();
        // In a task of its own: a client that disconnects does not interrupt the intake of its message.
        tokio::spawn(async move { one(&api, &who, peer, incoming).await }).await.map_err(|e| broken(&e))?
    };
    sent.await.unwrap_or_else(|refused: BoxedRefusal| {
        api.rejected(peer.0, known.as_ref(), &refused);
        refused.into_response()
    })
}

async fn one(api: &Arc<Api>, who: &Principal, peer: Peer, mut incoming: Incoming) -> Result<Response, BoxedRefusal> {
    let mut work = match incoming.remembered(api).await? {
        Idempotent::Answered(status, body) => return Ok(answer(status, body, true)),
        Idempotent::To(work) => work,
    };
    let id = work.ids(1)[0];
    let composed = incoming.blocking(move |i, limits| match i.media_type.as_str() {
        "application/json" => compose(&json::<Draft<'_>>(&i.body)?, limits),
        _ => compose_raw(&i.query, &i.body, limits),
    });
    let composed = composed.await?;
    work.begin(&api.intake.spool).await?;
    let taken = if work.has(id) { Ok(Taken::of(id, &composed)) } else { api.take(who, peer.0, id, composed).await };
    let taken = taken.inspect_err(|_| work.forget())?;
    let body = serde_json::to_value(&taken).expect("an answer has nothing that JSON can't hold");
    work.answered(StatusCode::ACCEPTED.as_u16(), body.clone());
    Ok(answer(StatusCode::ACCEPTED.as_u16(), body, false))
}

fn answer(status: u16, body: Value, replayed: bool) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::ACCEPTED);
    let location = body["id"].as_str().and_then(|id| HeaderValue::try_from(format!("/v1/messages/{id}")).ok());
    let mut response = (status, Json(body)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if replayed {
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

impl Taken {
    fn of(id: MessageId, composed: &Composed) -> Self {
        Self { id: id.to_string(), recipients: composed.envelope.recipients.len() }
    }
}

impl Api {
    /// Hands a message to the intake, as SMTP sessions do.
    pub(crate) async fn take(&self, who: &Principal, ip: IpAddr, id: MessageId, composed: Composed) -> Result<Taken, BoxedRefusal> {
        let taken = Taken::of(id, &composed);
        let from = composed.envelope.reverse_path.to_string();
        if let Some(closed) = self.intake.closed() {
            return Err(Refusal::of(closed).sent_by(Some(from)));
        }
        let user = &who.0;
        let may = self.intake.allowances.may_begin(user, &composed.envelope.reverse_path, None);
        let may = may.and_then(|()| self.intake.allowances.may_add(user, composed.envelope.recipients.len() as u64));
        may.map_err(|refused| Refusal::of(refused).sent_by(Some(from.clone())))?;
        let (helo, has_8bit) = ("".into(), composed.has_8bit);
        let submission =
            Submission { envelope: composed.envelope, data: composed.data, helo, esmtp: true, tls: false, user: None, has_8bit };
        let stream = Name::new("default").expect("default is a name");
        let client = Client { ip, stream, streams: None, arc: false, user: Some(user.clone()), http: true };
        match self.intake.take_as(id, submission, &client).await {
            Ok(()) => Ok(taken),
            Err(refused) => Err(Refusal::of(refused).sent_by(Some(from))),
        }
    }

    /// Logs a refusal as SMTP sessions do: a user's has a line of its own.
    pub(crate) fn rejected(&self, client_ip: IpAddr, who: Option<&Principal>, refused: &Refusal) {
        if refused.untold {
            return;
        }
        let what = What::Rejected {
            client_ip,
            client_ehlo: None,
            user: who.map(|who| who.0.name.to_string()),
            command: COMMAND.into(),
            from: refused.from.clone(),
            rcpt: refused.rcpt.clone(),
            reply: refused.answer.to_reply(),
            reason: refused.reason.into(),
        };
        match who {
            Some(_) => self.intake.journal.append(clock::now(), what),
            None => self.intake.journal.refuse_stranger(clock::now(), client_ip, refused.reason, what),
        }
    }
}
