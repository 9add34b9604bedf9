//! `POST /v1/messages/batch`: many messages in one request, each with its own result.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use posthaste_access::users::Right;
use posthaste_http::Peer;
use posthaste_mail::MessageId;
use posthaste_smtp::server::Answer;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::{
    Taken,
    request::{Idempotent, Incoming, Work},
};
use crate::{
    auth::Principal,
    body::unsupported,
    compose::{Composed, compose},
    draft::{Batch, Draft},
    problem::{BoxedRefusal, Problem, Refusal, broken, json},
    state::Api,
};

/// Invalid fields that the answer to a batch names; the problems of further messages say only what is wrong first.
const ERRORS_MAX: usize = 1000;
/// Messages of one batch that are stored concurrently: they share one sync of the disk.
const AT_ONCE: usize = 64;

/// The result of each message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchTaken {
    /// How many were accepted.
    accepted: usize,
    /// How many were refused.
    refused: usize,
    /// One per message, in the messages' order.
    results: Vec<BatchResult>,
}

/// The result of one message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    /// The HTTP status that the message would have got on its own.
    #[schema(example = 202)]
    status: u16,
    /// Its id, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The number of its recipients, if it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    recipients: Option<usize>,
    /// The reason, if it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// The elements as text, so that a bad one does not affect the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elements<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

/// Send many messages.
///
/// Each message is accepted or refused on its own, and accepted ones are on disk when the answer is sent. With an `Idempotency-Key`, the
/// same request within 24 hours gets the same answer, refusals included, once one message was accepted.
#[utoipa::path(
    post,
    path = "/v1/messages/batch",
    tag = "messages",
    security(("token" = ["send"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 printable ASCII characters, new for each batch.", max_length = 255)),
    request_body(content = Batch<'static>, content_type = "application/json", description = "The messages."),
    responses(
        (status = 200, description = "Each message has its own answer.", body = BatchTaken,
            headers(("Idempotency-Replayed" = String, description = "`true` if this request was answered before and nothing was sent now."))),
        (status = 400, description = "Not JSON, or not a request that this takes.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No token, or one that nobody has.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token has no right to this.", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body did not come in time.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A request with the same key is under way.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The request is too large, or holds too many messages.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "A body of another kind.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a batch, or the key was used for another.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No room at present: come back after `Retry-After` seconds.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn send_batch(State(api): State<Arc<Api>>, peer: Peer, who: Result<Principal, Refusal>, request: Request) -> Response {
    let known = who.as_ref().ok().cloned();
    let sent = async {
        let who = who?;
        let incoming = Incoming::read(&api, &who, request).await?;
        let who = who.still(&api)?;
        who.may(Right::Send)?;
        if incoming.media_type != "application/json" {
            return Err(unsupported(&incoming.media_type, "application/json"));
        }
        let api = api.clone();
        tokio::spawn(async move { many(&api, &who, peer, incoming).await }).await.map_err(|e| broken(&e))?
    };
    sent.await.unwrap_or_else(|refused: BoxedRefusal| {
        api.rejected(peer.0, known.as_ref(), &refused);
        refused.into_response()
    })
}

async fn many(api: &Arc<Api>, who: &Principal, peer: Peer, mut incoming: Incoming) -> Result<Response, BoxedRefusal> {
    let mut work = match incoming.remembered(api).await? {
        Idempotent::Answered(_, body) => {
            return Ok(([("idempotency-replayed", HeaderValue::from_static("true"))], Json(body)).into_response());
        }
        Idempotent::To(work) => work,
    };
    let most = api.settings.get().requests.batch;
    let composed = incoming.blocking(move |i, limits| {
        let elements = json::<Elements<'_>>(&i.body)?.messages;
        if elements.len() > most {
            return Err(Refusal::mail(Answer::new(552, 3, 4, format!("a batch has at most {most} messages here")), "too_large"));
        }
        let mut errors_left = ERRORS_MAX;
        let mut composed = |e: &&RawValue| {
            compose(&json::<Draft<'_>>(e.get().as_bytes())?, limits).map_err(|mut refused| {
                refused.errors.truncate(errors_left);
                errors_left -= refused.errors.len();
                refused
            })
        };
        Ok(elements.iter().map(&mut composed).collect::<Vec<_>>())
    });
    let composed = composed.await?;
    let ids = work.ids(composed.len());
    work.begin(&api.intake.spool).await?;
    let results = take_all(api, who, peer, &work, ids.into_iter().zip(composed).collect()).await;
    let accepted = results.iter().filter(|r| r.id.is_some()).count();
    let answer = BatchTaken { accepted, refused: results.len() - accepted, results };
    let body = serde_json::to_value(&answer).expect("an answer has nothing that JSON can't hold");
    match accepted {
        0 => work.forget(),
        _ => work.answered(StatusCode::OK.as_u16(), body.clone()),
    }
    Ok(Json(body).into_response())
}

/// Takes the messages, several at a time; the results are in the messages' order.
async fn take_all(
    api: &Arc<Api>,
    who: &Principal,
    peer: Peer,
    work: &Work,
    messages: Vec<(MessageId, Result<Composed, BoxedRefusal>)>,
) -> Vec<BatchResult> {
    let mut results = vec![None; messages.len()];
    let mut under_way = JoinSet::new();
    for (i, (id, composed)) in messages.into_iter().enumerate() {
        if under_way.len() >= AT_ONCE
            && let Some(Ok((i, result))) = under_way.join_next().await
        {
            results[i] = Some(result);
        }
        match composed {
            Ok(composed) if work.has(id) => results[i] = Some(BatchResult::of(Ok(Taken::of(id, &composed)))),
            Ok(composed) => {
                let (api, who) = (api.clone(), who.clone());
                drop(under_way.spawn(async move {
                    let taken = api.take(&who, peer.0, id, composed).await.inspect_err(|refused| api.rejected(peer.0, Some(&who), refused));
                    (i, BatchResult::of(taken))
                }));
            }
            Err(refused) => {
                api.rejected(peer.0, Some(who), &refused);
                results[i] = Some(BatchResult::of(Err(refused)));
            }
        }
    }
    while let Some(done) = under_way.join_next().await {
        if let Ok((i, result)) = done {
            results[i] = Some(result);
        }
    }
    let lost = || BatchResult::of(Err(Refusal::mail(Answer::trouble("the relay could not work on this, try again later"), "trouble")));
    results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
}

impl BatchResult {
    fn of(taken: Result<Taken, BoxedRefusal>) -> Self {
        match taken {
            Ok(taken) => {
                Self { status: StatusCode::ACCEPTED.as_u16(), id: Some(taken.id), recipients: Some(taken.recipients), problem: None }
            }
            Err(refused) => Self { status: refused.status.as_u16(), id: None, recipients: None, problem: Some(refused.problem()) },
        }
    }
}
