//! The way to a domain: its route, with what the configuration says of TLS and AUTH on it.

use std::sync::Arc;

use posthaste_mail::Name;
use posthaste_route::Host;
use posthaste_smtp::client::{Credentials, TlsPolicy};

/// Where mail for some domains goes, and how. Domains with the same `key` share connections.
#[derive(Debug)]
pub struct Way {
    /// Whose mailboxes.
    pub provider: Name,
    /// The hosts in the order to try.
    pub hosts: Vec<Host>,
    /// What TLS is demanded.
    pub tls: TlsPolicy,
    /// Whether plain text will do after a handshake that failed, where TLS is not demanded.
    pub fallback: bool,
    /// Who we are to a smart host.
    pub auth: Option<Credentials>,
    /// The same for the same hosts, ports and demands.
    pub key: Arc<str>,
}
