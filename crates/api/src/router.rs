//! The API's routes, and its OpenAPI document, which is made from the handlers.

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    delivery_status, document, figures, guard, incidents,
    messages::{self, batch},
    metrics,
    problem::Refusal,
    score,
    state::Api,
    suppressions::{self, transfer},
};

/// All routes of the API. A path of the API that does not do what is asked says so; `nothing_there` answers for paths that nobody has.
pub fn router(api: &Arc<Api>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(document::frame())
        .routes(routes!(messages::send))
        .routes(routes!(batch::send_batch))
        .routes(routes!(delivery_status::message))
        .routes(routes!(suppressions::list))
        .routes(routes!(suppressions::find, suppressions::put, suppressions::remove))
        .routes(routes!(transfer::import))
        .routes(routes!(transfer::export))
        .routes(routes!(document::openapi))
        .routes(routes!(document::healthz))
        .routes(routes!(figures::readyz))
        .routes(routes!(figures::report))
        .routes(routes!(figures::tallies))
        .routes(routes!(score::score))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::find))
        .routes(routes!(incidents::mute))
        .routes(routes!(incidents::close))
        .routes(routes!(incidents::findings))
        .routes(routes!(guard::list))
        .routes(routes!(guard::release))
        .routes(routes!(guard::remove))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    let text = document.to_json().expect("the document has nothing that JSON can't hold");
    api.document.store(Some(Arc::new(text.into())));
    router
        .method_not_allowed_fallback(|| async { *Refusal::http(StatusCode::METHOD_NOT_ALLOWED, "method", "this path does not do that") })
        .with_state(api.clone())
}

/// The answer at a path that nothing is at.
pub async fn nothing_there() -> Response {
    Refusal::not_found("path").into_response()
}
