//! The OpenAPI document and `GET /healthz`.

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
        description = "The API of an outbound SMTP relay: submission of mail, its delivery status, the suppression list. Refusals are problem documents (RFC 9457) with the texts and codes of SMTP refusals.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "messages", description = "Mail and its delivery status."),
        (name = "suppressions", description = "Addresses to which no mail is sent."),
        (name = "figures", description = "What became of the mail, counted."),
        (name = "guard", description = "New mail of users and streams that behave like stolen accounts, held until an operator has looked."),
        (name = "relay", description = "The relay itself."),
    ),
)]
struct Frame;

/// The document without its paths.
pub(super) fn frame() -> utoipa::openapi::OpenApi {
    let mut frame = Frame::openapi();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A user's token, from the configuration.")).build();
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
    /// Always `ok`: a relay that does not run does not answer.
    #[schema(example = "ok")]
    status: &'static str,
}

/// Check that the relay answers.
#[utoipa::path(get, path = "/healthz", tag = "relay", responses((status = 200, description = "The relay runs.", body = Health)))]
pub(super) async fn healthz() -> axum::Json<Health> {
    axum::Json(Health { status: "ok" })
}
