//! `POST /v1/messages` and its batch: from a request to what intake says.

pub(crate) mod batch;
mod request;

use std::{net::IpAddr, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use posthaste_host::clock;
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
    state::{Api, Peer},
};
use request::{Idempotent, Incoming};

/// The name in `rejected` events of what was refused here.
const COMMAND: &str = "http";

/// A message that is ours now: on disk, and in the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// Its id, by which log, `trace` and `GET /v1/messages/{id}` know it.
    #[schema(example = "01K6Z5D0V4QK9M2T8YJ3N7RXCE")]
    id: String,
    /// To how many it goes.
    recipients: usize,
}

/// Send a message.
///
/// As JSON, or as MIME with the envelope in the query. It is on disk when this is answered. With an `Idempotency-Key`, the same request within
/// 24 hours gets the same answer and sends nothing again; requests that took nothing are not remembered.
#[utoipa::path(
    post,
    path = "/v1/messages",
    tag = "messages",
    security(("token" = ["send"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters, new for each message.", max_length = 255),
        ("from" = Option<String>, Query, description = "For `message/rfc822`: who is told of failures; empty: nobody."),
        ("to" = Option<Vec<String>>, Query, description = "For `message/rfc822`: a recipient; may stand several times."),
        ("stream" = Option<String>, Query, description = "For `message/rfc822`: the stream."),
        ("tag" = Option<Vec<String>>, Query, description = "For `message/rfc822`: a tag; may stand several times."),
        ("send_at" = Option<String>, Query, description = "For `message/rfc822`: before when it is not to be sent."),
        ("priority" = Option<i8>, Query, description = "For `message/rfc822`: how it stands among others of its stream, -9 to 9."),
    ),
    request_body(content((Draft<'static> = "application/json"), (String = "message/rfc822")), description = "The message."),
    responses(
        (status = 202, description = "It is ours now.", body = Taken,
            headers(("Location" = String, description = "Where to ask what became of it."),
                ("Idempotency-Replayed" = String, description = "`true` where this was answered before, and nothing was sent now."))),
        (status = 400, description = "Not JSON, or not a request that this takes.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or one that nobody has.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token has no right to this.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A request with the same key is under way.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request or the message is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A body of another kind.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The message cannot be sent as it is, or the key was used for another.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The user has sent enough for now, or too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No room at present: come back after `Retry-After` seconds.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn send(State(api): State<Arc<Api>>, peer: Peer, who: Result<Principal, Refusal>, request: Request) -> Response {
    let known = who.as_ref().ok().cloned();
    let sent = async {
        let who = who?;
        let incoming = Incoming::read(&api, &who, request).await?;
        let kind = incoming.media_type.as_str();
        if kind != "application/json" && kind != "message/rfc822" {
            return Err(super::body::unsupported(kind, "application/json or message/rfc822"));
        }
        let api = api.clone();
        // A task of its own: a client that goes away does not leave a message half taken.
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
    work.begin()?;
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
    /// Hands a message to intake: the same way as one that comes by SMTP.
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
        let client = Client { ip, stream, arc: false, user: Some(user.clone()), http: true };
        match self.intake.take_as(id, submission, &client).await {
            Ok(()) => Ok(taken),
            Err(refused) => Err(Refusal::of(refused).sent_by(Some(from))),
        }
    }

    /// One line in the log for each refusal, as for SMTP's.
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
        self.intake.journal.append(clock::now(), what);
    }
}
