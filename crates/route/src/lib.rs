//! From a recipient's domain to provider, hosts and TLS demand.
