//! What can go wrong when the resolver is set up.

use crate::options::RESOLV_CONF;

/// Why there can be no resolver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolverError {
    /// None were given, and the system has none to offer.
    #[error("no name servers: none are configured, and {RESOLV_CONF} gives none ({0})")]
    System(String),
    /// The DNS library refused its options.
    #[error("cannot set up DNS: {0}")]
    Build(String),
}
