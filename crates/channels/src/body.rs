//! What a message looks like, for each kind of channel: pure.
//!
//! Titles and figures may quote strangers (a reply, an address, a domain). All of them are shown as `mail::Foreign` shows them, and where a channel
//! has a markup of its own, it is escaped or not used: nobody can format a message, hide a link in it, or mention everyone.

mod chat;
mod machine;
mod mail;
mod words;

pub use chat::{discord, ntfy, slack, teams};
pub use machine::{json, pagerduty};
pub use mail::{Letter, mail, plain};

#[cfg(test)]
mod tests;
