//! The bounce classifier: what did the reply mean, whose problem is it, what now?
//!
//! [`Rules::classify`] judges a live reply, [`Rules::classify_text`] a reply that somebody quoted, [`read_mail`] a mail that came back.
//! What they know stands in `config/bounce/*.toml`: rules as data, each with an example and a source, compiled into one automaton.

mod classify;
mod codes;
mod context;
mod local;
mod mail;
mod mojibake;
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
pub use shape::{rule_skeleton, shape};
pub use verdict::Verdict;
