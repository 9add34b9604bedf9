//! The web page: what the monitoring knows, for people in front of a browser, and what operators do there.
//!
//! Pages are made on the server and hold for themselves; a script of a few kilobytes keeps them fresh. A page's handler asks the relay's desk,
//! makes plain data of the answers, and turns these into markup. Text of strangers is escaped by maud and shown as `Foreign` shows it.
//!
//! It stands beside `cli`, above `relay`: the relay serves it without knowing it. Its invariants: without a session nothing but the login is
//! answered; nothing changes by a GET, and by a POST only with the session's own token and by an operator; no answer runs or loads anything that
//! is not of this program.

mod answer;
mod assets;
mod chart;
mod events;
mod layout;
mod live;
mod login;
mod oidc;
mod overview;
mod pages;
mod router;
mod sealed;
mod sessions;
mod sight;
mod site;
mod snapshot;
mod spans;
mod trouble;
mod viewer;
mod words;

pub use router::router;
