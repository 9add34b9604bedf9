//! Where in the text something is, and what is wrong there.

use std::{ops::Range, sync::Arc};

use toml::{Spanned, de::DeValue};

use super::{CurveFileError, Curves};

/// A value, and where its key stands.
#[derive(Clone)]
pub(super) struct Item<'t, 'i> {
    pub(super) key: Range<usize>,
    pub(super) value: &'t Spanned<DeValue<'i>>,
}

/// A text, and the complaints about it.
pub(super) struct Place<'t> {
    text: &'t str,
    file: &'t str,
    errors: Vec<CurveFileError>,
}

impl<'t> Place<'t> {
    pub(super) fn new(text: &'t str, file: &'t str) -> Self {
        Self { text, file, errors: Vec::new() }
    }

    pub(super) fn file(&self) -> Arc<str> {
        self.file.into()
    }

    pub(super) fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or(self.text).matches('\n').count() + 1
    }

    #[allow(clippy::needless_pass_by_value, reason = "spans are made to be passed on")]
    pub(super) fn complain(&mut self, key: &str, span: Range<usize>, message: String) {
        let line = self.line(span.start);
        let error = CurveFileError { file: self.file.into(), line, key: key.into(), message };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn finish(mut self, curves: Curves) -> Result<Curves, Vec<CurveFileError>> {
        self.errors.sort_by_key(|error| error.line);
        if self.errors.is_empty() { Ok(curves) } else { Err(self.errors) }
    }
}
