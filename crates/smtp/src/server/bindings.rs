//! What a login can be bound to: the TLS connection that carries it.

/// What TLS gives to whoever binds to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// RFC 9266: 32 bytes exported under the label `EXPORTER-Channel-Binding` with an empty context. TLS 1.3 only, as the older
    /// ones are bound to their session only with an extended master secret.
    pub exporter: Option<[u8; 32]>,
    /// RFC 5929 §4: the hash of the server's certificate, by the hash of its own signature (SHA-256 instead of older ones).
    pub server_end_point: Option<Vec<u8>>,
}

impl Bindings {
    /// Whether there is anything to bind to.
    pub(super) fn any(&self) -> bool {
        self.exporter.is_some() || self.server_end_point.is_some()
    }
}
