//! Messages: what became of them, and the search for them.

mod asked;
mod attempt;
mod form;
mod found;
mod history;
mod id;
mod one;
mod reasons;
mod search;
mod timings;

use std::sync::Arc;

use axum::{Router, routing::get};

use crate::site::Site;

/// The pages about messages.
pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/messages", get(search::get).post(search::post))
        .route("/messages/{id}", get(one::page))
        .route("/messages/{id}/lines", get(one::lines))
        .route("/messages/{id}/why", get(reasons::page))
}
