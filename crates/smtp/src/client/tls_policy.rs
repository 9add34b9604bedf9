//! Whether a session with a receiver has TLS, and whether its certificate counts.

/// What TLS a session is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TlsPolicy {
    /// Plain text, though TLS be offered.
    None,
    /// TLS when it is offered and works, whatever the certificate.
    #[default]
    Opportunistic,
    /// TLS or nothing, whatever the certificate.
    Require,
    /// TLS with a certificate that is valid for the host's name, or nothing.
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

    /// True where plain text is not an answer.
    pub fn demands_tls(self) -> bool {
        matches!(self, Self::Require | Self::Verify)
    }
}
