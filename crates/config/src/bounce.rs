//! `[bounce]`: how receivers' replies are interpreted.

use std::path::PathBuf;

use super::{environment::Environment, reader::Table, value::list};

/// Bounce rules that the operator adds to the built-in ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BounceRules {
    /// Rule files with their contents, the first with the highest rank.
    pub files: Vec<(PathBuf, String)>,
}

impl BounceRules {
    pub(super) fn read(t: &Table<'_>, environment: &Environment<'_>) -> Self {
        Self { files: t.get("rules", list(|item| environment.text_file(item))) }
    }
}
