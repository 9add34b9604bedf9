//! The pages' addresses.

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    middleware::map_response,
    routing::{get, post},
};
use posthaste_relay::desk::Desk;

use crate::{answer::guarded, assets, live, login, overview, pages, site::Site};

/// All pages about the relay behind this desk.
pub fn router(desk: Arc<Desk>) -> Router {
    let site = Site::new(desk);
    Router::new()
        .route("/", get(overview::page))
        .merge(pages::bounces::routes())
        .merge(pages::incidents::routes())
        .merge(pages::senders::routes())
        .merge(pages::settings::routes())
        .merge(pages::streams::routes())
        .merge(pages::suppression::routes())
        .merge(pages::warmup::routes())
        .route("/live", get(live::news))
        .route("/login", get(login::ask).post(login::check))
        .route("/logout", post(login::leave))
        .route("/once", get(login::once))
        .route("/assets/{name}", get(|Path(name): Path<String>| async move { assets::find(&format!("/assets/{name}")) }))
        .route("/favicon.ico", get(|| async { StatusCode::NOT_FOUND }))
        .layer(map_response(guarded))
        .with_state(site)
}
