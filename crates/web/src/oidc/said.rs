//! Why a login by the provider ended, and what to do then.

use std::sync::Arc;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use posthaste_access::oidc::{OidcError, OidcSettings};
use posthaste_mail::Foreign;

use crate::{layout, trouble::html, words::sentence};

/// The most characters of the provider's own words that are shown.
const WORDS_MAX: usize = 300;

/// Why a login ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// There is no provider.
    Off,
    /// Too many wrong passwords or tokens came from there; what is to be said.
    ShutOut(String),
    /// No such login has begun, or it has been over since.
    Over,
    /// It began in another browser.
    Elsewhere,
    /// Other settings are in force than when it began.
    Changed,
    /// The provider, by its name for people, let nobody in; its words.
    Declined(String, String),
    /// The provider's answer leads to no login.
    Undone(OidcError, Arc<OidcSettings>),
}

/// What operators hear.
#[derive(Debug)]
pub(super) enum Told {
    /// Somebody was refused.
    Refused(String),
    /// Nobody can log in that way.
    Trouble(String),
}

impl Ended {
    /// Whether it counts as a guess, as a wrong password does. An answer that comes late, or after a restart, is none.
    pub(super) fn is_a_guess(&self) -> bool {
        matches!(self, Self::Elsewhere | Self::Undone(OidcError::Code(_) | OidcError::Token(_), _))
    }

    /// What the diagnostics say. None: nobody needs it. Persons are named to nobody but themselves.
    pub(super) fn for_operators(&self) -> Option<Told> {
        match self {
            Self::Elsewhere => Some(Told::Refused("its answer came with the cookie of another browser, or with none".into())),
            Self::Undone(OidcError::Busy, _) | Self::Off | Self::ShutOut(_) | Self::Over | Self::Changed | Self::Declined(..) => None,
            Self::Undone(error @ (OidcError::Provider(_) | OidcError::Client(_)), _) => Some(Told::Trouble(error.to_string())),
            Self::Undone(OidcError::NoRole { .. }, by) => {
                let role = &by.rules.role;
                Some(Told::Refused(format!("the claim {role:?} holds no value of http.oidc.operators or http.oidc.viewers")))
            }
            Self::Undone(error, _) => Some(Told::Refused(error.to_string())),
        }
    }

    /// What the person reads.
    fn words(&self) -> (StatusCode, &'static str, String) {
        const BEGIN: &str = "Log in again; it begins anew.";
        match self {
            Self::Off => (StatusCode::NOT_FOUND, "There is no such login", "People log in by a password here.".into()),
            Self::ShutOut(words) => (StatusCode::TOO_MANY_REQUESTS, "Not now", words.clone()),
            Self::Over => (
                StatusCode::BAD_REQUEST,
                "This login is over",
                format!("It was used, took longer than ten minutes, or the relay was restarted meanwhile. {BEGIN}"),
            ),
            Self::Elsewhere => (
                StatusCode::FORBIDDEN,
                "You are not logged in",
                format!("This login began in another browser, or this one keeps no cookies. {BEGIN}"),
            ),
            Self::Changed => {
                (StatusCode::BAD_REQUEST, "This login is over", format!("The relay's configuration has changed since it began. {BEGIN}"))
            }
            Self::Declined(label, said) => (
                StatusCode::FORBIDDEN,
                "You are not logged in",
                format!("{label} did not let you in. It says: {}. Try again, or ask whoever runs it.", Foreign::new(said).first(WORDS_MAX)),
            ),
            Self::Undone(error, by) => undone(error, by),
        }
    }
}

fn undone(error: &OidcError, by: &OidcSettings) -> (StatusCode, &'static str, String) {
    let label = &by.label;
    match error {
        OidcError::Busy => {
            (StatusCode::SERVICE_UNAVAILABLE, "Not now", "Too many logins are being checked. Log in again in a moment.".into())
        }
        OidcError::Provider(_) | OidcError::Client(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Not now",
            format!(
                "{label} cannot be asked who you are, or does not answer this relay. Try again in a moment; if it lasts, tell an operator: the \
                 relay's diagnostics say why."
            ),
        ),
        OidcError::Code(_) | OidcError::Token(_) => (
            StatusCode::FORBIDDEN,
            "You are not logged in",
            format!("What came back from {label} does not prove who you are. Log in again; if it lasts, tell an operator."),
        ),
        OidcError::NoRole { name, holds } => {
            let rules = &by.rules;
            let wanted: Vec<String> = rules.operators.iter().chain(&rules.viewers).map(|value| format!("{value:?}")).collect();
            let holds = match &**holds {
                [] => "nothing".to_owned(),
                some => some.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(", "),
            };
            let words = format!(
                "{label} knows you as {name}, but its claim `{}` holds none of {}: it holds {holds}. Ask whoever runs {label} for one of these, or an \
                 operator of this relay to name one of yours in `[http.oidc]`.",
                rules.role,
                wanted.join(", ")
            );
            (StatusCode::FORBIDDEN, "You may not open this page", words)
        }
    }
}

impl IntoResponse for Ended {
    fn into_response(self) -> Response {
        let (status, title, words) = self.words();
        let main = maud::html! {
            h1 { (title) }
            p { (sentence(&words)) }
            p { a href="/login" { "Log in" } }
        };
        html(status, &layout::bare(title, &main))
    }
}
