//! The API over HTTP: mail as JSON or MIME, what became of it, the suppression list.
//!
//! Mail that comes in here goes the way of all mail, through the intake of `submission`. `serve` holds the connections, axum the routes, utoipa makes
//! the OpenAPI document from the handlers: what is not described there cannot be called, and a test holds each description against the answers.
//!
//! It may know `mail`, `monitor`, `smtp`, `spool`, `queue`, `message`, `access`, `suppression`, `submission`, `journal` and `host`. A request with an
//! idempotency key is done once, whatever crashes.

mod auth;
mod body;
mod compose;
mod document;
mod draft;
mod idempotency;
mod messages;
mod problem;
mod raw;
mod router;
mod serve;
mod settings;
mod state;
mod story;
mod suppressions;

pub use serve::Server;
pub use settings::{Http, Settings};
pub use state::Api;
