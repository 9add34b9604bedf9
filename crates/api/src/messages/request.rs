//! The common part of sending one message or many: the request's body and idempotency key.

use std::{collections::HashSet, sync::Arc};

use axum::{
    extract::{Query, Request},
    http::{HeaderMap, StatusCode},
};
use bytes::Bytes;
use posthaste_access::users::Right;
use posthaste_host::clock;
use posthaste_mail::MessageId;
use posthaste_smtp::server::Answer;
use posthaste_spool::Spool;
use posthaste_submission::ClientLimits;
use serde_json::Value;

use crate::{
    auth::Principal,
    body::{Share, media_type},
    idempotency::{Claim, Memory, Moment, accepted, hash},
    json_text::cost_of_values,
    problem::{BoxedRefusal, Refusal, broken},
    settings::Requests,
    state::Api,
};

/// A request whose body has been read and whose idempotency key is claimed.
pub(super) struct Incoming {
    pub(super) media_type: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
    path: String,
    claim: Option<Claim<Spool>>,
    share: Option<Share>,
    limits: ClientLimits,
}

/// What is known of the request by its key.
pub(super) enum Idempotent {
    /// It was answered before, with this answer.
    Answered(u16, Value),
    /// It is to be carried out.
    To(Box<Work>),
}

/// The messages' ids, and what is to be remembered of them.
pub(super) struct Work {
    claim: Option<(Claim<Spool>, String)>,
    ids: Vec<MessageId>,
    /// The ids among them whose messages were accepted before a crash.
    taken: HashSet<MessageId>,
    /// Whether the ids have been stored with the key.
    begun: bool,
    now: Moment,
    keys_max: usize,
    /// The body's share of the memory, held until the request is done.
    _share: Option<Share>,
}

impl Incoming {
    /// Checks the token's right and the relay's room first, then the key, then reads the body.
    pub(super) async fn read(api: &Arc<Api>, who: &Principal, request: Request) -> Result<Self, BoxedRefusal> {
        who.may(Right::Send)?;
        let key = key(request.headers());
        // With a key, the request may have been answered already.
        if key.is_none()
            && let Some(closed) = api.intake.closed()
        {
            return Err(Refusal::of(closed));
        }
        let claim = key.map(|key| api.keys.claim(&who.0.name, &key)).transpose()?;
        let query = Query::try_from_uri(request.uri());
        let Query(query) = query.map_err(|_| Refusal::http(StatusCode::BAD_REQUEST, "syntax", "the query cannot be read"))?;
        let (media_type, path) = (media_type(request.headers()), request.uri().path().to_owned());
        let settings = api.settings.get();
        let mut body = api.bodies.read(request, &who.0.name, &settings).await?;
        if media_type == "application/json" {
            let bytes = body.bytes.clone();
            let values = tokio::task::spawn_blocking(move || cost_of_values(&bytes)).await.map_err(|e| broken(&e))?;
            body.share.grow(body.bytes.len() as u64 * Requests::BODY_COST + values).await?;
        }
        Ok(Self { media_type, query, body: body.bytes, path, claim, share: Some(body.share), limits: settings.limits.clone() })
    }

    /// Looks up what is known of this request by its key.
    pub(super) async fn remembered(&mut self, api: &Arc<Api>) -> Result<Idempotent, BoxedRefusal> {
        let now = api.keys.moment(clock::now(), clock::instant());
        let keys_max = api.settings.get().requests.idempotency_keys;
        let _share = self.share.take();
        let mut work = Work { claim: None, ids: Vec::new(), taken: HashSet::new(), begun: false, now, keys_max, _share };
        let Some(claim) = self.claim.take() else { return Ok(Idempotent::To(Box::new(work))) };
        let query: Vec<u8> = self.query.iter().flat_map(|(name, value)| format!("{name}\0{value}\0").into_bytes()).collect();
        let hash = hash(&[self.path.as_bytes(), self.media_type.as_bytes(), &query, &self.body]);
        match claim.look(&hash, now)? {
            Memory::Answered(status, body) => return Ok(Idempotent::Answered(status, body)),
            Memory::New => {}
            Memory::Begun(ids) => {
                work.taken = taken(api, ids.clone()).await?;
                work.ids = ids;
                work.begun = true;
            }
        }
        work.claim = Some((claim, hash));
        Ok(Idempotent::To(Box::new(work)))
    }

    /// Runs work that may take long on a blocking thread, so that other requests are not delayed.
    pub(super) async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce(&Self, &ClientLimits) -> Result<T, BoxedRefusal> + Send + 'static,
    ) -> Result<T, BoxedRefusal> {
        tokio::task::spawn_blocking(move || work(&self, &self.limits)).await.map_err(|e| broken(&e))?
    }
}

impl Work {
    /// Ids for this many messages: those chosen before a crash, if there are any.
    pub(super) fn ids(&mut self, count: usize) -> Vec<MessageId> {
        if self.ids.len() != count {
            self.ids = (0..count).map(|_| MessageId::new(self.now.at, rand::random())).collect();
        }
        self.ids.clone()
    }

    /// Whether this message was accepted before.
    pub(super) fn has(&self, id: MessageId) -> bool {
        self.taken.contains(&id)
    }

    /// Stores the ids with the key, durably; must be called before the first message is stored.
    pub(super) async fn begin(&mut self, spool: &Spool) -> Result<(), BoxedRefusal> {
        if let Some((claim, hash)) = self.claim.as_ref().filter(|_| !self.begun) {
            claim.begin(hash, &self.ids, self.now, self.keys_max)?;
            self.begun = true;
            spool.sync().await.map_err(|error| {
                tracing::warn!(%error, "the spool could not store an idempotency key");
                self.forget();
                Refusal::mail(Answer::trouble("the relay could not store the key, try again later"), "spool_trouble")
            })?;
        }
        Ok(())
    }

    /// Remembers the answer.
    pub(super) fn answered(&self, status: u16, body: Value) {
        if let Some((claim, hash)) = &self.claim {
            claim.answered(hash, &self.ids, self.now, status, body);
        }
    }

    /// Forgets the key, because no message was accepted.
    pub(super) fn forget(&self) {
        if let Some((claim, _)) = self.claim.as_ref().filter(|_| self.begun) {
            claim.forget();
        }
    }
}

/// Which of these ids the log contains. Recovery has announced everything that was in the spool at the start.
async fn taken(api: &Arc<Api>, ids: Vec<MessageId>) -> Result<HashSet<MessageId>, BoxedRefusal> {
    let read = api.read_log(move |log| accepted(log, &ids));
    read.await.map_err(|why| {
        tracing::error!(%why, "the log cannot be read for an idempotency key");
        Refusal::mail(Answer::trouble("the relay cannot read its log, try again later"), "log_trouble")
    })
}

/// The key's text. A header value that is not text becomes an invalid key, which the claim refuses.
fn key(headers: &HeaderMap) -> Option<String> {
    headers.get("idempotency-key").map(|value| value.to_str().unwrap_or_default().to_owned())
}
