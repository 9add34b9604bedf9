//! The API over HTTP: mail as JSON or MIME, what became of it, the suppression list.
//!
//! Mail that comes in here goes the way of all mail, through [`crate::intake`]. `serve` holds the connections, axum the routes, utoipa makes
//! the OpenAPI document from the handlers: what is not described there cannot be called, and a test holds each description against the answers.

mod auth;
mod body;
mod compose;
mod document;
mod draft;
mod idempotency;
mod messages;
mod problem;
mod raw;
mod serve;
mod story;
mod suppressions;

use std::{convert::Infallible, net::IpAddr, path::Path, sync::Arc};

use arc_swap::ArcSwapOption;
use axum::{
    Router,
    extract::{FromRequestParts, Path as Captured},
    http::{StatusCode, request::Parts},
};
use bytes::Bytes;
use posthaste_host::clock;
use posthaste_monitor::LogError;
use posthaste_spool::Spool;
use posthaste_suppression::Register;
use tokio::sync::{Semaphore, mpsc::UnboundedSender};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use serve::{Server, bind};

use self::{body::Bodies, idempotency::Keys, problem::Refusal};
use crate::{engine::Command, intake::Intake};

/// Those who read the log at once: it may be long, and mail comes first.
const READERS: usize = 2;

/// What the handlers share.
pub struct Api {
    intake: Arc<Intake>,
    engine: UnboundedSender<Command>,
    register: Arc<Register<Spool>>,
    keys: Arc<Keys<Spool>>,
    bodies: Bodies,
    readers: Semaphore,
    /// The OpenAPI document.
    document: ArcSwapOption<Bytes>,
}

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(*parts.extensions.get::<Self>().expect("every connection has a peer"))
    }
}

/// The last part of a path. What is no text is no name of anything either: it is not found, or no address, like any other.
struct Segment(String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let text = Captured::<String>::from_request_parts(parts, state).await;
        Ok(Self(text.map_or_else(|_| String::from("\u{fffd}"), |Captured(text)| text)))
    }
}

impl Api {
    /// The handlers' share of the relay.
    pub fn new(intake: Arc<Intake>, engine: UnboundedSender<Command>, register: Arc<Register<Spool>>) -> Arc<Self> {
        let bodies = Bodies::new(intake.live.load().config.http.body_memory);
        let keys = Keys::new(intake.spool.clone());
        let (readers, document) = (Semaphore::new(READERS), ArcSwapOption::empty());
        Arc::new(Self { intake, engine, register, keys, bodies, readers, document })
    }

    /// Every route.
    fn router(self: &Arc<Self>) -> Router {
        let (router, document) = OpenApiRouter::with_openapi(document::frame())
            .routes(routes!(messages::send))
            .routes(routes!(messages::send_batch))
            .routes(routes!(story::message))
            .routes(routes!(suppressions::list))
            .routes(routes!(suppressions::find, suppressions::put, suppressions::remove))
            .routes(routes!(suppressions::import))
            .routes(routes!(suppressions::export))
            .routes(routes!(document::openapi))
            .routes(routes!(document::healthz))
            .split_for_parts();
        let text = document.to_json().expect("the document has nothing that JSON can't hold");
        self.document.store(Some(Arc::new(text.into())));
        router
            .fallback(|| async { *Refusal::not_found("path") })
            .method_not_allowed_fallback(|| async {
                *Refusal::http(StatusCode::METHOD_NOT_ALLOWED, "method", "this path does not do that")
            })
            .with_state(self.clone())
    }

    /// Forgets old idempotency keys. Blocks.
    fn sweep(&self) {
        self.keys.sweep(clock::now());
    }

    /// Reads the log, up to what was written just now.
    async fn read_log<T: Send + 'static>(&self, read: impl FnOnce(&Path) -> Result<T, LogError> + Send + 'static) -> Result<T, String> {
        let (log, live) = (self.intake.log.clone(), self.intake.live.load_full());
        let _turn = self.readers.acquire().await.expect("the semaphore is never closed");
        let reading = tokio::task::spawn_blocking(move || {
            log.flush().map_err(|e| e.to_string())?;
            read(&live.config.log.dir).map_err(|e| e.to_string())
        });
        reading.await.map_err(|e| e.to_string())?
    }
}
