//! Where in a file something is, and what is wrong there.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::Origin;

/// Something wrong in a file of providers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct ProviderFileError {
    /// The file, by the name that it was given.
    pub file: Arc<str>,
    /// Its line, from 1.
    pub line: usize,
    /// The key, dotted: `provider.google.connections`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for ProviderFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, key, message } = self;
        if key.is_empty() { write!(f, "{file}:{line}: {message}") } else { write!(f, "{file}:{line}: {key}: {message}") }
    }
}

/// A text and the complaints about it.
pub(super) struct SourceText<'t> {
    text: &'t str,
    file: Arc<str>,
    errors: Vec<ProviderFileError>,
}

impl<'t> SourceText<'t> {
    pub(super) fn new(text: &'t str, file: &str) -> Self {
        Self { text, file: file.into(), errors: Vec::new() }
    }

    /// The text's tree; None after complaints about its syntax.
    pub(super) fn tree(&mut self) -> Option<DeTable<'t>> {
        let (tree, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.complain("", &error.span().unwrap_or(0..0), error.message().replace('\n', "; "));
        }
        errors.is_empty().then(|| tree.into_inner())
    }

    pub(super) fn origin(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Origin { file: Arc::clone(&self.file), line: before.matches('\n').count() + 1 }
    }

    pub(super) fn complain(&mut self, key: &str, span: &Range<usize>, message: impl Into<String>) {
        let Origin { file, line } = self.origin(span);
        self.errors.push(ProviderFileError { file, line, key: key.into(), message: message.into() });
    }

    pub(super) fn finish<T>(mut self, good: T) -> Result<T, Vec<ProviderFileError>> {
        self.errors.sort();
        self.errors.dedup();
        if self.errors.is_empty() { Ok(good) } else { Err(self.errors) }
    }
}

/// Origins by key.
pub(super) type Keys = BTreeMap<&'static str, Origin>;

/// The texts of a list of texts.
pub(super) fn texts<'v>(value: &'v DeValue<'_>) -> Result<Vec<&'v str>, String> {
    let form = || "expected a list of texts in quotes".to_owned();
    value.as_array().ok_or_else(form)?.iter().map(|item| item.get_ref().as_str().ok_or_else(form)).collect()
}
