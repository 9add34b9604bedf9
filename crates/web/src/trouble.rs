//! What goes wrong, as pages say it.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use posthaste_relay::desk::Undone;

use crate::{layout, words::foreign};

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The session has ended.
    LoggedOut,
    /// A form did not come from a page of this session.
    Forged,
    /// A viewer may not steer.
    Forbidden,
    /// There is no such thing; what there is not.
    NotFound(String),
    /// What was asked for cannot be read; why.
    Bad(String),
    /// It cannot be said or done at present; why.
    Unavailable(String),
}

impl From<Undone> for Trouble {
    fn from(undone: Undone) -> Self {
        Self::Unavailable(undone.to_string())
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let (status, title, words) = match self {
            Self::LoggedOut => (StatusCode::UNAUTHORIZED, "You are logged out", "Your session has ended. Nothing was changed.".to_owned()),
            Self::Forged => (
                StatusCode::FORBIDDEN,
                "Nothing was changed",
                "This form is from another site, or from a session that has ended. Go back, load the page again, and send it once more."
                    .into(),
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "Nothing was changed",
                "You are logged in as a viewer. Viewers see everything and change nothing; ask for the role \"operator\".".into(),
            ),
            Self::NotFound(what) => (StatusCode::NOT_FOUND, "There is no such page", what),
            Self::Bad(why) => (StatusCode::BAD_REQUEST, "This cannot be read", why),
            Self::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, "The relay cannot say", why),
        };
        let login = status == StatusCode::UNAUTHORIZED;
        let markup = layout::bare(
            title,
            &html! {
                h1 { (title) }
                p { (foreign(&words)) }
                p { @if login { a href="/login" { "Log in" } } @else { a href="/" { "Overview" } } }
            },
        );
        html(status, &markup)
    }
}

/// An answer of HTML.
pub(crate) fn html(status: StatusCode, markup: &Markup) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], markup.0.clone()).into_response()
}
