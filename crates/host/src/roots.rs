//! The certificate authorities that a TLS client trusts.

use std::path::PathBuf;

/// Trust roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The system's.
    System,
    /// Those of a PEM file.
    File {
        /// Its path.
        path: PathBuf,
        /// Its content.
        pem: String,
    },
}
