//! Errors of setting up and asking the resolver.

use crate::options::RESOLV_CONF;

/// Why the resolver cannot be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolverError {
    /// No name servers were given, and the system has none.
    #[error("no name servers: none are configured, and {RESOLV_CONF} lists none ({0})")]
    System(String),
    /// The DNS library refused its options.
    #[error("cannot set up DNS: {0}")]
    Build(String),
}

/// DNS gave no usable answer, for this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DnsUnavailable(pub(crate) String);
