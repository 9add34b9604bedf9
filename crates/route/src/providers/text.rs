//! A file of providers as text: positions and errors.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::Origin;

/// An error in a file of providers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct ProviderFileError {
    /// The name under which the file was given.
    pub file: Arc<str>,
    /// The line number, from 1.
    pub line: usize,
    /// The key, dotted: `provider.google.connections`.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for ProviderFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, key, message } = self;
        if key.is_empty() { write!(f, "{file}:{line}: {message}") } else { write!(f, "{file}:{line}: {key}: {message}") }
    }
}

/// A text and the errors found in it.
pub(super) struct SourceText<'t> {
    text: &'t str,
    file: Arc<str>,
    errors: Vec<ProviderFileError>,
}

impl<'t> SourceText<'t> {
    pub(super) fn new(text: &'t str, file: &str) -> Self {
        Self { text, file: file.into(), errors: Vec::new() }
    }

    /// The parsed text; None after syntax errors.
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

/// The origins of keys.
pub(super) type Keys = BTreeMap<&'static str, Origin>;

/// The strings of a list of strings.
pub(super) fn texts<'v>(value: &'v DeValue<'_>) -> Result<Vec<&'v str>, String> {
    let form = || "expected a list of texts in quotes".to_owned();
    value.as_array().ok_or_else(form)?.iter().map(|item| item.get_ref().as_str().ok_or_else(form)).collect()
}
