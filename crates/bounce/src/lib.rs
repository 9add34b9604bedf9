//! The bounce classifier: what a reply means, whose problem it is, and what to do about it.
//!
//! [`Rules::classify`] judges a live reply, [`Rules::classify_text`] a quoted one, and [`read_mail`] a mail that came back. All their
//! knowledge is in `config/bounce/*.toml`: rules as data, each with an example and a source, compiled into one automaton.
//!
//! The crate uses only `posthaste-mail`. It does no I/O and has no clock: files and mails come in as text and bytes.
//!
//! It keeps these invariants:
//!
//! - Every input gets an answer, in bounded time and memory, and no input makes it panic.
//! - A 4xx reply is never permanent.
//! - What is said before RCPT is never about a recipient: none was named yet (RFC 5321 §3.3).
//! - Unless a rule names its action, only a permanent verdict about the recipient with a confidence of at least 0.8 suppresses, given at
//!   RCPT or quoted without a stage, and only if no other words of the reply blame the sender, the host or the pace.
//! - Whose account, quota or list entry it is decides (`config/bounce/whose.toml`): a receiver speaks to the client, so "your account" is the
//!   sender's, and suppresses nobody.
//! - Every rule decides its own examples ([`Rules::check_examples`]); an operator's rule goes before every shipped one.

mod classify;
mod codes;
mod context;
mod local;
mod mail;
mod mojibake;
mod phrase;
mod quoted;
mod rule;
mod rules;
mod shape;
mod text;
mod verdict;

pub use codes::codes_in;
pub use context::Context;
pub use mail::{Kind, Report, read_mail};
pub use quoted::Quoted;
pub use rule::RuleError;
pub use rules::{ExampleFailure, Rules};
pub use shape::shape;
pub use verdict::Verdict;
