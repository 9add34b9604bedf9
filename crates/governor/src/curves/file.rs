//! The text of a file of curves: the lines of its keys, and the errors found in it.

use std::{fmt, ops::Range, sync::Arc};

use toml::{Spanned, de::DeValue};

/// Something wrong in a file of curves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct CurveFileError {
    /// The name of the file, as the caller gave it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The key, dotted: `curve.gentle.caps`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for CurveFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, key, message } = self;
        if key.is_empty() { write!(f, "{file}:{line}: {message}") } else { write!(f, "{file}:{line}: {key}: {message}") }
    }
}

/// A value, and the place of its key in the text.
#[derive(Clone)]
pub(super) struct KeyedValue<'t, 'i> {
    pub(super) key: Range<usize>,
    pub(super) value: &'t Spanned<DeValue<'i>>,
}

/// A text, and the errors found in it so far.
pub(super) struct CurveFile<'t> {
    text: &'t str,
    name: &'t str,
    errors: Vec<CurveFileError>,
}

impl<'t> CurveFile<'t> {
    pub(super) fn new(text: &'t str, name: &'t str) -> Self {
        Self { text, name, errors: Vec::new() }
    }

    pub(super) fn name(&self) -> Arc<str> {
        self.name.into()
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or(self.text).matches('\n').count() + 1
    }

    #[allow(clippy::needless_pass_by_value, reason = "spans are made to be passed on")]
    pub(super) fn complain(&mut self, key: &str, span: Range<usize>, message: String) {
        let line = self.line(span.start);
        let error = CurveFileError { file: self.name.into(), line, key: key.into(), message };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// `read` if the text holds no error, else all errors in the order of their lines.
    pub(super) fn finish<T>(mut self, read: T) -> Result<T, Vec<CurveFileError>> {
        self.errors.sort_by_key(|error| error.line);
        if self.errors.is_empty() { Ok(read) } else { Err(self.errors) }
    }
}
