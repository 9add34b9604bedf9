//! What a listener offers beyond the plain protocol, and how its session is protected.

use super::sasl::Mechanism;

/// What the sessions of one listener offer.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    /// A certificate is there: STARTTLS is offered where TLS is not on from the start.
    pub starttls: bool,
    /// Nothing is taken before TLS is on (530 5.7.0).
    pub tls_required: bool,
    /// The ways to log in, in the order in which they are announced. -PLUS is announced only where TLS gives what it binds to.
    pub auth: Vec<Mechanism>,
    /// Whether AUTH is offered without TLS too: passwords then go over the wire as they are.
    pub auth_in_clear: bool,
}

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

impl Offers {
    /// The mechanisms to announce, `tls` being what the session has; empty where AUTH is not offered as things stand.
    pub(super) fn mechanisms(&self, tls: Option<&Bindings>) -> impl Iterator<Item = Mechanism> {
        let open = tls.is_some() || self.auth_in_clear;
        let bound = tls.is_some_and(Bindings::any);
        self.auth.iter().copied().filter(move |mechanism| open && (bound || *mechanism != Mechanism::ScramSha256Plus))
    }
}
