//! The feedback rules: how a lane reacts when its provider pushes back. The rules of `config/feedback.toml` and of the operator's own files
//! are data.
//!
//! It may know `mail`, `governor`, `bounce` and `route`; it is pure, and knows neither lanes' state nor the queue. Its invariants: a failure
//! and its verdict always lead to the same reaction (what the governor is to cut, and for how long); of the rules that fit, one decides.

mod file;
mod outcome;
mod pattern;
mod rules;

pub use self::{
    file::FeedbackFileError,
    outcome::{AttemptEnd, outcome},
    rules::{Feedback, Reaction},
};
