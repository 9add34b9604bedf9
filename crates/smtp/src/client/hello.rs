//! What a session is opened with: the name said, the TLS wanted, how long to wait.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{TlsConfigs, TlsPolicy};

/// How a session is to be opened.
#[derive(Clone)]
pub struct Hello {
    /// The name said in EHLO.
    pub ehlo: String,
    /// The receiver's host, by the name that its certificate should carry.
    pub mx_host: String,
    /// What TLS is wanted.
    pub tls: TlsPolicy,
    /// Why TLS failed in an earlier try with this host ([`super::OpenFailure::tls`]): under [`TlsPolicy::Opportunistic`] this session goes
    /// without and its facts say why. Other policies ignore it.
    pub tls_fallback: Option<Arc<str>>,
    /// How TLS is done.
    pub tls_config: TlsConfigs,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// The clock, for the milliseconds of each step.
    pub clock: fn() -> Instant,
    /// Who logs in, at a smart host. Sent over TLS only, except under [`TlsPolicy::None`].
    pub auth: Option<Credentials>,
}

/// A login for a smart host.
#[derive(Clone)]
pub struct Credentials {
    /// The account.
    pub user: String,
    /// Its secret; never printed.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials {{ user: {:?}, .. }}", self.user)
    }
}

/// How long each step may take. The defaults are those of RFC 5321 §4.5.3.2, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection; used by whoever opens it.
    pub connect: Duration,
    /// For the 220.
    pub banner: Duration,
    /// For the answer to EHLO, HELO and each step of AUTH.
    pub ehlo: Duration,
    /// For the answer to STARTTLS, and again for the handshake.
    pub starttls: Duration,
    /// For the answer to MAIL.
    pub mail: Duration,
    /// For the answer to each RCPT.
    pub rcpt: Duration,
    /// For the 354.
    pub data: Duration,
    /// For each block of the body to be taken.
    pub block: Duration,
    /// For the answer to the final dot. Short values make duplicates (RFC 5321 §4.5.3.2.6).
    pub dot: Duration,
    /// For the answer to RSET.
    pub rset: Duration,
    /// For the answer to QUIT.
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
