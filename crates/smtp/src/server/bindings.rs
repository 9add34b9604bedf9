//! Channel bindings: what ties a login to the TLS connection that carries it.

/// The channel bindings of a TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// RFC 9266, tls-exporter: 32 bytes exported under the label `EXPORTER-Channel-Binding` with an empty context. TLS 1.3 only: in older
    /// versions the exporter is unique to a session only with an extended master secret.
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4, tls-server-end-point: the hash of the server's certificate, by the hash function of its signature (SHA-256 in place of
    /// MD5 and SHA-1).
    pub server_end_point: Option<Vec<u8>>,
}

impl Bindings {
    /// Whether there is any binding.
    pub(super) fn any(&self) -> bool {
        self.exporter.is_some() || self.server_end_point.is_some()
    }
}
