//! The pages that there are, and the way to them: one table for the tests and for those who take pictures.

use std::fmt;

use serde_json::Value;

use crate::{browser::Browser, relay::Relay, wait};

/// A page: the name of its pictures, and its path, in which braces stand for what a relay has.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// A word for file names.
    pub name: &'static str,
    /// Where it is.
    pub path: &'static str,
}

/// All pages behind the login.
pub const PAGES: &[Page] = &[
    page("overview", "/"),
    page("messages", "/messages"),
    page("message", "/messages/{message}"),
    page("queue", "/queue"),
    page("warmup", "/warmup"),
    page("lane", "/warmup/{lane}"),
    page("bounces", "/bounces"),
    page("suppression", "/suppression"),
    page("streams", "/streams"),
    page("senders", "/senders"),
    page("incidents", "/incidents"),
    page("incident", "/incidents/{incident}"),
    page("settings", "/settings"),
];

/// What stands in front of them.
pub const LOGIN: Page = page("login", "/login");

/// The page of a relay.
pub struct Place<'r> {
    relay: &'r Relay,
    port: u16,
}

impl<'r> Place<'r> {
    /// The one at this port of 127.0.0.1.
    pub fn new(relay: &'r Relay, port: u16) -> Self {
        Self { relay, port }
    }

    /// The address of a page, with the last message that was put off, the last incident and a lane in place of braces.
    #[track_caller]
    pub fn address(&self, page: &Page) -> String {
        let of = |field: &str, event: &str| {
            let last = self.relay.log().of(event, "").pop().unwrap_or_else(|| panic!("nothing was {event}"));
            last[field].as_str().expect("it is text").to_owned()
        };
        let mut path = page.path.replace("{lane}", "warm/microsoft");
        for (name, event) in [("message", "deferred"), ("incident", "incident")] {
            let braces = format!("{{{name}}}");
            if path.contains(&braces) {
                path = path.replace(&braces, &of(name, event));
            }
        }
        self.at(&path)
    }

    /// The relay.
    pub fn relay(&self) -> &Relay {
        self.relay
    }

    /// The address of a path.
    pub fn at(&self, path: impl fmt::Display) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Logs in as a person does.
    #[track_caller]
    pub fn login(&self, browser: &Browser, name: &str, password: &str) {
        browser.open(&self.at(LOGIN.path));
        browser.field("User").fill(name);
        browser.field("Password").fill(password);
        let form = browser.text();
        browser.press("Log in");
        // Another page that is opened before the answer is there would be left again for it.
        wait::until("an answer to the login", || (browser.text() != form).then_some(()));
    }
}

/// The incidents of a relay, open and closed.
pub fn incidents(relay: &Relay) -> Vec<Value> {
    let out = relay.cli(["incidents", "list", "--all", "--json"]);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

const fn page(name: &'static str, path: &'static str) -> Page {
    Page { name, path }
}
