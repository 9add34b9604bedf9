//! Request bodies, limited in length and time each, and in memory all together.

use std::{sync::Arc, time::Duration};

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

/// Memory for bodies and the messages made from them.
#[derive(Clone, Debug)]
pub(super) struct Bodies(Arc<Semaphore>);

/// A body and its share of the memory.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Released when dropped.
    pub(super) share: OwnedSemaphorePermit,
}

impl Bodies {
    pub(super) fn new(memory: u64) -> Self {
        Self(Arc::new(Semaphore::new(usize::try_from(memory / PIECE).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS))))
    }

    /// Reads the body. If the client does not declare its length, memory for the longest body is reserved.
    pub(super) async fn read(&self, request: Request, config: &Http) -> Result<Body, BoxedRefusal> {
        let length = length(request.headers()).unwrap_or(config.body_size);
        if length > config.body_size {
            return Err(too_large(config.body_size));
        }
        let share = timeout(PATIENCE, self.share(length)).await.map_err(|_| busy())?;
        match timeout(config.body_timeout, gather(request, length, config.body_size)).await {
            Ok(bytes) => Ok(Body { bytes: bytes?, share }),
            Err(_) => Err(Refusal::http(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time")),
        }
    }

    async fn share(&self, length: u64) -> OwnedSemaphorePermit {
        let pieces = length.saturating_mul(Http::BODY_COST) / PIECE + 1;
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        self.0.clone().acquire_many_owned(pieces).await.expect("the semaphore is never closed")
    }
}

/// How long a request waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes allocated because of a declared length alone.
const RESERVE_MAX: u64 = 1 << 20;

async fn gather(request: Request, length: u64, max: u64) -> Result<Bytes, BoxedRefusal> {
    let mut body = request.into_body();
    let mut bytes = BytesMut::with_capacity(usize::try_from(length.min(RESERVE_MAX)).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let broken = |_| Refusal::http(StatusCode::BAD_REQUEST, "syntax", "the body broke off");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if (bytes.len() + data.len()) as u64 > max {
            return Err(too_large(max));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
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
