//! The settings a session is opened with: the EHLO name, TLS, time limits, login.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{TlsConfigs, TlsPolicy};

/// The settings a session is opened with.
#[derive(Clone)]
pub struct Hello {
    /// The name sent in EHLO.
    pub ehlo: String,
    /// The receiver's host name, which its certificate should carry.
    pub mx_host: String,
    /// The TLS policy.
    pub tls: TlsPolicy,
    /// Why TLS failed in an earlier attempt with this host ([`super::OpenFailure::tls`]): under [`TlsPolicy::Opportunistic`] this session
    /// goes without TLS and records the reason in its facts. Other policies ignore it.
    pub tls_fallback: Option<Arc<str>>,
    /// The TLS client configurations.
    pub tls_config: TlsConfigs,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// The clock, used to time each step.
    pub clock: fn() -> Instant,
    /// The login for a smart host. Its password is sent over loopback, and else only over a connection that is as good as it needs.
    pub auth: Option<Credentials>,
    /// Whether the connection does not leave this machine, by the operator's word: what DNS says is not enough.
    pub loopback: bool,
}

/// A login for a smart host.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub user: String,
    /// The password; never printed.
    pub password: String,
    /// Over what connections it is sent.
    pub needs: PasswordNeeds,
}

/// What a connection must have before a password is sent over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PasswordNeeds {
    /// TLS with a certificate that is valid for the host's name.
    #[default]
    Certificate,
    /// TLS with any certificate: whoever can redirect the connection hears the password.
    Encryption,
    /// Nothing: whoever is on the path hears the password.
    Nothing,
}

impl PasswordNeeds {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Encryption => "encryption",
            Self::Nothing => "nothing",
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials {{ user: {:?}, .. }}", self.user)
    }
}

/// How long each step may take. The defaults are those of RFC 5321 §4.5.3.2 where it gives one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The TCP connection; used by the caller, which opens it.
    pub connect: Duration,
    /// The 220.
    pub banner: Duration,
    /// The reply to EHLO, HELO and each step of AUTH.
    pub ehlo: Duration,
    /// The reply to STARTTLS, and again the handshake.
    pub starttls: Duration,
    /// The reply to MAIL.
    pub mail: Duration,
    /// The reply to each RCPT.
    pub rcpt: Duration,
    /// The 354.
    pub data: Duration,
    /// Writing each block of the body.
    pub block: Duration,
    /// The reply to the final dot. Short values cause duplicates (RFC 5321 §4.5.3.2.6).
    pub dot: Duration,
    /// The reply to RSET.
    pub rset: Duration,
    /// The reply to QUIT.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        Self {
            connect: Duration::from_secs(30),
            banner: minutes(5),
            ehlo: minutes(5),
            starttls: minutes(2),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            dot: minutes(10),
            rset: minutes(1),
            quit: Duration::from_secs(5),
        }
    }
}
