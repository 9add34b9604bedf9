//! What stands around every page.

use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use crate::assets::{ICON, SCRIPT, STYLE};

/// The form field that another site does not know.
pub(crate) const FORM_TOKEN: &str = "form";

/// A page: what people see of it, and the same as data.
pub(crate) struct Page {
    /// Its title.
    pub(crate) title: String,
    /// Where it stands in the navigation.
    pub(crate) here: Here,
    /// Whether it is kept fresh.
    pub(crate) live: bool,
    /// What it shows.
    pub(crate) main: Markup,
    /// What it shows, for machines.
    pub(crate) data: Value,
}

/// For whom a page is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whom<'w> {
    /// The user's name.
    pub(crate) name: &'w str,
    /// Whether forms that change something are shown.
    pub(crate) steers: bool,
    /// What forms carry.
    pub(crate) form_token: &'w str,
}

/// Where a page stands in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Here {
    Overview,
    Messages,
    Queue,
    Warmup,
    Bounces,
    Suppression,
    Streams,
    Senders,
    Incidents,
    Settings,
}

impl Here {
    const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::Overview, "/", "Overview"),
        (Self::Messages, "/messages", "Messages"),
        (Self::Queue, "/queue", "Queue"),
        (Self::Warmup, "/warmup", "Warm-up"),
        (Self::Bounces, "/bounces", "Bounces"),
        (Self::Suppression, "/suppression", "Suppression"),
        (Self::Streams, "/streams", "Streams"),
        (Self::Senders, "/senders", "Senders"),
        (Self::Incidents, "/incidents", "Incidents"),
        (Self::Settings, "/settings", "Settings"),
    ];
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · posthaste" }
            link rel="stylesheet" href=(STYLE.path);
            link rel="icon" href=(ICON.path) type="image/svg+xml";
        }
    }
}

/// A page with navigation.
pub(crate) fn whole(page: &Page, whom: Whom<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&page.title))
            body data-live[page.live] {
                a .skip href="#main" { "Skip to the page" }
                header .top {
                    a .brand href="/" { "posthaste" }
                    nav aria-label="Pages" {
                        @for (here, path, name) in Here::ALL {
                            a href=(path) aria-current=[(here == page.here).then_some("page")] { (name) }
                        }
                    }
                    form .who method="post" action="/logout" {
                        (form_token(whom.form_token))
                        span { (whom.name) " · " (if whom.steers { "operator" } else { "viewer" }) }
                        button { "Log out" }
                    }
                }
                p #stale .stale hidden role="status" { "No news from the relay. The figures are as old as the page." }
                (news(page))
                script src=(SCRIPT.path) defer {}
            }
        }
    }
}

/// What changes of a page.
pub(crate) fn news(page: &Page) -> Markup {
    html! { main #main tabindex="-1" { (page.main) } }
}

/// A page without navigation.
pub(crate) fn bare(title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body .bare { main #main { p .brand { "posthaste" } (main) } }
        }
    }
}

/// The field that makes a form one of ours.
pub(crate) fn form_token(token: &str) -> Markup {
    html! { input type="hidden" name=(FORM_TOKEN) value=(token); }
}

/// A part of a page that news replace.
pub(crate) fn part(name: &str, content: &Markup) -> Markup {
    html! { section data-part=(name) id=(name) { (content) } }
}
