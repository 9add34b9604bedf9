//! Answers: pages in the form that is wanted, with the headers that all answers carry.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};

use crate::{
    layout::{self, Page},
    site::Site,
    trouble::{Trouble, html},
    viewer::{Fields, NEWS, Viewer},
};

/// In which form a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// With everything around it.
    Whole,
    /// What the script puts in place of what there is.
    News,
    /// As data: `?as=json`.
    Json,
}

impl<S: Sync> FromRequestParts<S> for As {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = Fields::read(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(match query.get("as") {
            Some("json") => Self::Json,
            _ if parts.headers.contains_key(NEWS) => Self::News,
            _ => Self::Whole,
        })
    }
}

impl As {
    /// A page in this form.
    pub(crate) fn answer(self, page: Page, viewer: &Viewer) -> Response {
        match self {
            Self::Json => axum::Json(viewer.sight.json(page.data)).into_response(),
            Self::News => html(StatusCode::OK, &layout::news(&page)),
            Self::Whole => html(StatusCode::OK, &layout::whole(&page, viewer.whom())),
        }
    }
}

/// What every answer carries: nothing of another origin is loaded, run or sent to, no other site frames the page, and nobody keeps a copy.
pub(crate) async fn guarded(mut answer: Response) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                          frame-ancestors 'none'; base-uri 'none'";
    let all = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    let headers = answer.headers_mut();
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    answer
}

/// What handlers answer.
pub(crate) type Answered = Result<Response, Trouble>;

/// The state of handlers.
pub(crate) type Shared = axum::extract::State<Arc<Site>>;
