//! Errors in a configuration, with their place.

use std::{fmt, sync::Arc};

/// All errors in a configuration, in the order of its lines.
///
/// Its text has one line per error, in the format that editors and compilers share: `posthaste.toml:41: source.ip2.ehlo = "": …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The file, as named by the caller.
    pub file: Arc<str>,
    /// The line, counted from 1; None if the error is about the whole file.
    pub line: Option<usize>,
    /// The column in characters, counted from 1.
    pub column: Option<usize>,
    /// The key with its tables, `source.ip2.ehlo`; empty if the error is not about a key.
    pub key: String,
    /// The offending value, as written in the file.
    pub value: Option<String>,
    /// What is wrong, and the remedy.
    pub message: String,
    /// It is about a file that this user cannot read, or that is not on this machine, rather than about what the configuration says.
    pub unread: bool,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}", self.key)?;
            if let Some(value) = &self.value {
                write!(f, " = {value}")?;
            }
            f.write_str(":")?;
        }
        write!(f, " {}", self.message)
    }
}
