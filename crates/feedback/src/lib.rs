//! The feedback rules: how a lane reacts when its provider pushes back. The rules of `config/feedback.toml` and of the operator's own files
//! are data.
//!
//! The crate is pure. It takes a failure and its verdict, and returns what the governor is to cut, and for how long.

mod file;
mod pattern;
mod rules;

pub use self::{
    file::FeedbackFileError,
    rules::{Feedback, Reaction},
};
