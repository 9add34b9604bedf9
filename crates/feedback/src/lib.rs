//! What a lane does when its provider pushes back: the rules of `config/feedback.toml` and of the operator's own files, as data.
//!
//! Pure. A failure and its verdict go in; what the governor shall cut, and for how long, comes out.

mod file;
mod pattern;
mod rules;

pub use self::{
    file::FeedbackFileError,
    rules::{Feedback, Reaction},
};
