//! Settings of the connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use posthaste_certificates::{AcmeNames, ListenCertificate};
use rustls::ServerConfig;

/// The settings of the HTTP doors that are in force.
#[derive(Debug)]
pub struct Settings {
    /// Connections and their limits.
    pub http: Http,
    /// TLS as the server; None: connections are plain.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Connections of the HTTP doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The addresses to listen on; empty: there are no HTTP doors.
    pub addresses: Vec<SocketAddr>,
    /// Whether the operator named the addresses. The default ones may be another program's.
    pub configured: bool,
    /// Whether plain HTTP may be offered to other machines.
    pub plain: bool,
    /// TLS.
    pub tls: Tls,
    /// Concurrent connections.
    pub max_connections: usize,
    /// Concurrent connections from one address.
    pub max_connections_per_ip: usize,
    /// Answers that go on at once; they hold none of these connections.
    pub max_live: usize,
    /// Requests over one connection.
    pub requests_per_connection: u32,
    /// How long a client may take for the TLS handshake, to send the head of a request, and between requests.
    pub header_timeout: Duration,
    /// How long a client may take to send the body of a request.
    pub body_timeout: Duration,
}

/// TLS of the HTTP doors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whether the addresses speak HTTPS, and nothing else.
    pub on: bool,
    /// The certificates, selected by the name that the client asks for; the first is the default. Empty: the relay generates one.
    pub certificates: Vec<ListenCertificate>,
    /// The names of the certificate that is ordered from the ACME authority instead; empty: none is ordered.
    pub acme: AcmeNames,
}

impl Http {
    /// The addresses that are this relay's for sure, before they are bound: not the default ones, which another program may have.
    pub fn own_addresses(&self) -> &[SocketAddr] {
        if self.configured { &self.addresses } else { &[] }
    }
}
