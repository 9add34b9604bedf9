//! The HTTP API: submission of mail as JSON or MIME, its delivery status, the suppression list, and what the monitoring knows: figures,
//! scores, findings, incidents, metrics.
//!
//! Mail submitted here goes through the intake of `submission`, like all mail. `http` handles the connections, axum the routes, and utoipa
//! makes the OpenAPI document from the handlers: a route without a description does not exist, and a test compares each description with
//! the answers.
//!
//! It may know `mail`, `governor`, `monitor`, `tallies`, `findings`, `watch`, `smtp`, `spool`, `queue`, `message`, `access`, `suppression`,
//! `submission`, `http` and `host`. A request with an idempotency key is carried out once, even if the relay crashes in between.

mod answer;
mod auth;
mod body;
mod compose;
mod delivery_status;
mod document;
mod draft;
mod figures;
mod gauges;
mod guard;
mod idempotency;
mod incidents;
mod json_text;
mod messages;
mod metrics;
mod problem;
mod raw;
mod router;
mod score;
mod settings;
mod sight;
mod state;
mod suppressions;

pub use router::{nothing_there, router};
pub use settings::{Requests, Settings};
pub use state::{Api, Monitored};
