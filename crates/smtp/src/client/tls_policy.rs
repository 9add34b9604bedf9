//! Whether a session with a receiver uses TLS, and whether the certificate must be valid.

/// Whether a session uses TLS, and whether the certificate must be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TlsPolicy {
    /// Plain text, even if the receiver offers TLS.
    None,
    /// TLS if it is offered and works, with any certificate; else plain text.
    #[default]
    Opportunistic,
    /// TLS with any certificate, or no session.
    Require,
    /// TLS with a certificate that is valid for the host's name, or no session.
    Verify,
}

impl TlsPolicy {
    /// The word in the log and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Require => "require",
            Self::Verify => "verify",
        }
    }

    /// Whether the policy forbids plain text.
    pub(super) fn demands_tls(self) -> bool {
        matches!(self, Self::Require | Self::Verify)
    }
}
