//! What the API says of itself.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::{
    OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::state::Api;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "posthaste",
        description = "An outbound SMTP relay's API: mail in, what became of it, the suppression list. Refusals are problems (RFC 9457) with the words and codes of SMTP's refusals.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "messages", description = "Mail, and what became of it."),
        (name = "suppressions", description = "Addresses that are not written to."),
        (name = "relay", description = "The relay itself."),
    ),
)]
struct Frame;

/// All but the paths.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    let mut frame = Frame::openapi();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of the configuration.")).build();
    frame.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(token));
    frame
}

/// This document.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    tag = "relay",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object, content_type = "application/json")),
)]
pub(super) async fn openapi(State(api): State<Arc<Api>>) -> Response {
    let document = api.document.load().as_deref().cloned().unwrap_or_else(|| Bytes::from_static(b"{}"));
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// The relay's state.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`: whoever does not run does not answer.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Is it there?
#[utoipa::path(get, path = "/healthz", tag = "relay", responses((status = 200, description = "It is.", body = Health)))]
pub(super) async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}
