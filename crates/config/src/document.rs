//! A TOML text as a tree whose values know their place, and errors about places in it.

use std::{ops::Range, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{ConfigError, ConfigErrors};

/// A value with its place.
pub(super) type Item<'r> = &'r Spanned<DeValue<'r>>;

/// An error about a value or a part of it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    /// It is about a file that this user cannot read, or that is not here, not about what the configuration says.
    pub(super) unread: bool,
}

/// A value, or all errors in it.
pub(super) type Parsed<T> = Result<T, Vec<Fault>>;

/// The only fault of an item.
pub(super) fn fault<T>(item: Item<'_>, message: impl Into<String>) -> Parsed<T> {
    Err(vec![Fault { span: item.span(), message: message.into(), unread: false }])
}

/// The only fault of an item that names a file which cannot be read.
pub(super) fn unread<T>(item: Item<'_>, message: impl Into<String>) -> Parsed<T> {
    Err(vec![Fault { span: item.span(), message: message.into(), unread: true }])
}

/// A TOML text and its name.
pub(super) struct Document<'r> {
    pub(super) file: Arc<str>,
    pub(super) text: &'r str,
    pub(super) tree: Spanned<DeTable<'r>>,
    /// Where its lines end.
    ends: Vec<usize>,
}

impl<'r> Document<'r> {
    /// The tree of `text`, or all of its syntax errors. With a syntax error nothing else is checked, since the tree may be wrong.
    pub(super) fn new(file: &str, text: &'r str) -> Result<Self, ConfigErrors> {
        let (tree, errors) = DeTable::parse_recoverable(text);
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        let document = Self { file: file.into(), text, tree, ends };
        if errors.is_empty() {
            return Ok(document);
        }
        let mut errors: Vec<_> = errors.iter().map(|e| document.syntax_error(e.message(), e.span().as_ref())).collect();
        errors.sort();
        errors.dedup_by_key(|e| e.line);
        Err(ConfigErrors(errors))
    }

    /// The line of a byte, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    /// The parser's message, and the line that it is about.
    fn syntax_error(&self, message: &str, span: Option<&Range<usize>>) -> ConfigError {
        let line = span.and_then(|span| self.text.lines().nth(self.line(span.start) - 1)).unwrap_or_default().trim();
        let remedy = as_toml(line).map_or_else(String::new, |toml| format!("; write {toml}"));
        self.error(String::new(), span, None, format!("{}: {}{remedy}", message.replace('\n', "; "), shown(line)))
    }

    fn column(&self, at: usize) -> usize {
        self.before(at).rsplit('\n').next().unwrap_or_default().chars().count() + 1
    }

    fn before(&self, at: usize) -> &str {
        self.text.get(..at).unwrap_or(self.text)
    }

    /// An error at `span`, about the value at `value`.
    pub(super) fn error(&self, key: String, span: Option<&Range<usize>>, value: Option<&Range<usize>>, message: String) -> ConfigError {
        // A span that begins with a bracket at the start of a line is a table header: there is no value to show.
        let is_header = |text: &str, at: usize| text.starts_with('[') && self.column(at) == 1;
        let value = value.and_then(|span| self.text.get(span.clone()).filter(|text| !is_header(text, span.start))).map(shown);
        let (line, column) = (span.map(|s| self.line(s.start)), span.map(|s| self.column(s.start)));
        ConfigError { file: self.file.clone(), line, column, key, value, message, unread: false }
    }
}

/// A line as YAML has it, `key: value`, in TOML.
fn as_toml(line: &str) -> Option<String> {
    let (key, value) = line.split_once(": ")?;
    let (key, value) = (key.trim(), value.trim());
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let is_literal = value.starts_with(['"', '\'', '[', '{']) || value.parse::<f64>().is_ok() || matches!(value, "true" | "false");
    is_key.then(|| if is_literal { format!("{key} = {value}") } else { format!("{key} = {value:?}") })
}

/// A value's first line, shortened: enough to find it.
fn shown(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let mut short: String = first.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A TOML type with its article.
pub(super) fn a(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}
