//! The pages' addresses.

use std::sync::Arc;

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::map_response,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use posthaste_relay::desk::Desk;

use crate::{answer::guarded, assets, live, login, oidc, overview, pages, site::Site, trouble::Trouble};

/// What neither pages nor API have: a page for a browser, and a problem document for programs.
async fn nothing_there(path: Uri, headers: HeaderMap) -> Response {
    let wants_html = headers.get_all(header::ACCEPT).iter().any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")));
    match wants_html && !path.path().starts_with("/v1/") {
        true => Trouble::NotFound("The relay has no page at this address.".into()).into_response(),
        false => posthaste_api::nothing_there().await.into_response(),
    }
}

/// All pages about the relay behind this desk.
pub fn router(desk: Arc<Desk>) -> Router {
    let site = Site::new(desk);
    Router::new()
        .route("/", get(overview::page))
        .merge(pages::bounces::routes())
        .merge(pages::incidents::routes())
        .merge(pages::senders::routes())
        .merge(pages::messages::routes())
        .merge(pages::queue::routes())
        .merge(pages::settings::routes())
        .merge(pages::streams::routes())
        .merge(pages::suppression::routes())
        .merge(pages::warmup::routes())
        .route("/live", get(live::news))
        .route("/login", get(login::ask).post(login::check))
        .route("/login/oidc", get(oidc::begin))
        .route("/login/oidc/back", get(oidc::back))
        .route("/logout", post(login::leave))
        .route("/once", get(login::once))
        .route("/assets/{name}", get(|Path(name): Path<String>| async move { assets::find(&format!("/assets/{name}")) }))
        .route("/favicon.ico", get(|| async { StatusCode::NOT_FOUND }))
        .fallback(nothing_there)
        .layer(map_response(guarded))
        .with_state(site)
}
