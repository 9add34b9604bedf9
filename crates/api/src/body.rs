//! Request bodies, limited in length and time each, and in memory all together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use posthaste_smtp::server::Answer;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::problem::{BoxedRefusal, Refusal};
use crate::settings::Http;

/// The memory is counted in pieces of this many bytes.
const PIECE: u64 = 1024;
/// Memory is reserved for so many bytes of a body at once.
const STEP: u64 = 64 << 10;

/// Memory for bodies and what is made from them. One user holds no more than half of it, or what the longest body takes.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    all: Arc<Semaphore>,
    memory: u64,
    users: Arc<Mutex<HashMap<Arc<str>, Arc<Semaphore>>>>,
}

/// A body and its share of the memory.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Released when dropped.
    pub(super) share: Share,
}

/// A part of the memory; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    all: Arc<Semaphore>,
    user: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
    pieces: u64,
    most: u64,
}

impl Bodies {
    pub(super) fn new(memory: u64) -> Self {
        Self { all: Arc::new(Semaphore::new(permits(memory / PIECE))), memory, users: Arc::default() }
    }

    /// Reads the body of a user's request. Memory is reserved as the bytes come: what was only announced takes nothing from others.
    pub(super) async fn read(&self, request: Request, user: &Arc<str>, config: &Http) -> Result<Body, BoxedRefusal> {
        if length(request.headers()).is_some_and(|length| length > config.body_size) {
            return Err(too_large(config.body_size));
        }
        let mut share = self.share(user, config.body_size);
        match timeout(config.body_timeout, gather(request, &mut share, config.body_size)).await {
            Ok(bytes) => Ok(Body { bytes: bytes?, share }),
            Err(_) => Err(Refusal::http(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time")),
        }
    }

    fn share(&self, user: &Arc<str>, longest: u64) -> Share {
        let most = (self.memory / 2).max(longest.saturating_mul(Http::BODY_COST)) / PIECE;
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has no request under way is forgotten.
        users.retain(|name, share| name == user || Arc::strong_count(share) > 1);
        let user = users.entry(user.clone()).or_insert_with(|| Arc::new(Semaphore::new(permits(most)))).clone();
        Share { all: self.all.clone(), user, held: Vec::new(), pieces: 0, most }
    }
}

fn permits(pieces: u64) -> usize {
    usize::try_from(pieces).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

impl Share {
    /// Makes the share this many bytes at least. Waits for them, but not for long.
    ///
    /// # Errors
    /// Others hold the memory, or no request may have so much.
    pub(super) async fn grow(&mut self, bytes: u64) -> Result<(), BoxedRefusal> {
        let pieces = bytes.div_ceil(PIECE);
        if pieces > self.most {
            return Err(Refusal::mail(Answer::new(552, 3, 4, "a request takes less memory here: send fewer values in one"), "too_large"));
        }
        let more = u32::try_from(pieces.saturating_sub(self.pieces)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let both = async {
            for from in [&self.user, &self.all] {
                let permit = from.clone().acquire_many_owned(more).await.expect("the semaphore is never closed");
                match self.held.iter_mut().find(|held| Arc::ptr_eq(held.semaphore(), from)) {
                    Some(held) => held.merge(permit),
                    None => self.held.push(permit),
                }
            }
        };
        timeout(PATIENCE, both).await.map_err(|_| busy())?;
        self.pieces += u64::from(more);
        Ok(())
    }
}

/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);

async fn gather(request: Request, share: &mut Share, max: u64) -> Result<Bytes, BoxedRefusal> {
    let mut body = request.into_body();
    let (mut bytes, mut reserved) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let broken = |_| Refusal::http(StatusCode::BAD_REQUEST, "syntax", "the body broke off");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        let length = (bytes.len() + data.len()) as u64;
        if length > max {
            return Err(too_large(max));
        }
        if length > reserved {
            reserved = (length + STEP).min(max);
            share.grow(reserved * Http::BODY_COST).await?;
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// The memory that the values of a JSON text take at most once they are read, in bytes: it does not depend on their lengths but on their
/// number.
pub(super) fn cost_of_values(json: &[u8]) -> u64 {
    let (mut cost, mut at) = (0, 0);
    while at < json.len() {
        match json[at] {
            b'"' => at += end_of_text(&json[at + 1..]) + 1,
            b'{' => cost += OBJECT,
            b'[' | b',' | b':' => cost += VALUE,
            _ => {}
        }
        at += 1;
    }
    cost
}

/// A value in a list or an object: what serde keeps of it until its type is known, the value itself, and the room for more of both.
const VALUE: u64 = 256;
/// An object: a node of its map.
const OBJECT: u64 = 1024;

/// How many bytes there are up to the quote that ends a text.
fn end_of_text(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += next;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
    }
    text.len()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The refusal of a media type that is not supported here.
pub(super) fn unsupported(given: &str, wanted: &str) -> BoxedRefusal {
    Refusal::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", format!("Content-Type is {given:?}; what goes here is {wanted}"))
}

fn too_large(max: u64) -> BoxedRefusal {
    Refusal::mail(Answer::new(552, 3, 4, format!("a request has at most {max} bytes here")), "too_large")
}

fn busy() -> BoxedRefusal {
    Refusal::mail(Answer::trouble("too many requests are under way, try again later"), "busy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_not_sent_takes_nothing_and_one_user_leaves_memory_for_others() {
        let bodies = Bodies::new(100 * PIECE);
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let mut idle: Vec<_> = (0..1000).map(|_| bodies.share(&bob, PIECE)).collect();
        let mut greedy = bodies.share(&bob, PIECE);
        greedy.grow(50 * PIECE).await.unwrap();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(idle[0].grow(PIECE)).poll(&mut context).is_pending(), "bob has his half");
        let mut hers = bodies.share(&ann, PIECE);
        hers.grow(45 * PIECE).await.unwrap();
        assert_eq!(hers.grow(60 * PIECE).await.unwrap_err().reason, "too_large", "it would wait for ever");
        drop((greedy, idle));
        bodies.share(&bob, PIECE).grow(49 * PIECE).await.unwrap();
        drop(hers);
        assert_eq!(bodies.all.available_permits(), 100);
        drop(bodies.share(&ann, PIECE));
        assert_eq!(bodies.users.lock().unwrap().len(), 1, "those without requests are forgotten");
    }

    #[test]
    fn values_cost_by_their_number_and_not_by_their_length() {
        assert_eq!(cost_of_values(br#"{"text":"a, long [text] with {all} of \"it\": , \\"}"#), OBJECT + VALUE);
        assert_eq!(cost_of_values(br#"{"to":["","",{"address":""}]}"#), 2 * OBJECT + 5 * VALUE);
        let unclosed = br#"{"a":"b"#;
        assert_eq!(cost_of_values(unclosed), OBJECT + VALUE);
        assert_eq!(cost_of_values(br#""\"#), 0);
    }
}
