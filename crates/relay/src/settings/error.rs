//! Why a configuration that reads well cannot be put in force.

use std::path::PathBuf;

use posthaste_bounce::RuleError;
use posthaste_certificates::{Door, PairError, ServerError};
use posthaste_feedback::FeedbackFileError;
use posthaste_route::{ProviderFileError, ResolverError, RouteError};
use posthaste_signing::SigningError;
use posthaste_smtp::client::TlsConfigError;
use posthaste_verp::{SecretError, VerpError};

/// Why the settings cannot be made from a configuration.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file of bounce rules.
    #[error(transparent)]
    BounceRules(#[from] RuleError),
    /// Files of providers, one line an error.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Providers(Vec<ProviderFileError>),
    /// A file of feedback rules.
    #[error(transparent)]
    Feedback(#[from] FeedbackFileError),
    /// A static route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The resolver.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The secret of the reverse-paths.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The reverse-paths.
    #[error(transparent)]
    ReversePaths(#[from] VerpError),
    /// The system has no trust roots that can be used.
    #[error("the system's trust roots cannot be loaded: {source}; install ca-certificates or name a file in {key}")]
    SystemRoots {
        /// What is wrong.
        source: rustls::Error,
        /// The key that can name a file.
        key: &'static str,
    },
    /// A file of trust roots.
    #[error("{}: {why}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS towards others.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// A certificate that listeners show.
    #[error(transparent)]
    Certificate(#[from] PairError),
    /// TLS of a door.
    #[error("{door}: {source}")]
    Door {
        /// The door.
        door: Door,
        /// What is wrong.
        source: ServerError,
    },
    /// The keys that sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
}
