//! Messages: what became of them, and the search for them.

mod asked;
mod attempt;
mod form;
mod found;
mod history;
mod one;
mod reasons;
mod search;
mod timings;

use std::sync::Arc;

use axum::{Router, routing::get};
use posthaste_mail::MessageId;

use crate::{site::Site, trouble::Trouble};

/// The pages about messages.
pub(crate) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/messages", get(search::get).post(search::post))
        .route("/messages/{id}", get(one::page))
        .route("/messages/{id}/lines", get(one::lines))
        .route("/messages/{id}/why", get(reasons::page))
}

/// The message with this id.
fn id_of(text: &str) -> Result<MessageId, Trouble> {
    text.parse().map_err(|_| Trouble::NotFound(format!("{text:?} is no message's id: an id has 26 letters and digits")))
}
