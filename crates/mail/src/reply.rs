//! What a receiver said (RFC 5321 §4.2, RFC 3463), or why nobody could say anything.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::class::words;

/// An enhanced status code, `class.subject.detail` (RFC 3463): whole numbers, so that 5.7.511 stays 5.7.511.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 security.
    pub subject: u16,
    /// The particular.
    pub detail: u16,
}

impl EnhancedCode {
    /// A code from its three numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads a code at the very start of `text` (up to a blank or the end); None where there is none.
    pub fn at_start(text: &str) -> Option<Self> {
        let token = text.split([' ', '\t', '\n', '\r']).next()?;
        token.parse().ok()
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl FromStr for EnhancedCode {
    type Err = ();
    /// `2`, `4` or `5`, then two numbers of up to three digits (RFC 2034 §4 shape).
    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |part: Option<&str>| match part {
            Some(p) if (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()) => p.parse::<u16>().map_err(drop),
            _ => Err(()),
        };
        let mut parts = text.split('.');
        let (class, subject, detail) = (number(parts.next())?, number(parts.next())?, number(parts.next())?);
        match (class, parts.next()) {
            (2 | 4 | 5, None) => Ok(Self { class: class as u8, subject, detail }),
            _ => Err(()),
        }
    }
}

impl Serialize for EnhancedCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EnhancedCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(|()| serde::de::Error::custom("not an enhanced status code"))
    }
}

/// A receiver's reply, whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The three digits, 200 to 599.
    pub code: u16,
    /// The enhanced status code that the first line began with.
    pub enhanced: Option<EnhancedCode>,
    /// The text of every line behind the three digits, enhanced code included, joined by `\n`; bytes that are not UTF-8 replaced.
    pub text: String,
}

impl Reply {
    /// A reply from its code and its whole text (the enhanced code is read from the text's start).
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, enhanced: EnhancedCode::at_start(&text), text }
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 5xx: not so.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

words! {
    /// How far a dialogue had come when something was said or broke.
    Stage {
        /// Looking up the receiver's hosts.
        Dns = "dns",
        /// Opening the connection.
        Connect = "connect",
        /// Waiting for the 220.
        Banner = "banner",
        /// EHLO or HELO.
        Ehlo = "ehlo",
        /// STARTTLS and the handshake behind it.
        Starttls = "starttls",
        /// AUTH.
        Auth = "auth",
        /// MAIL FROM.
        Mail = "mail",
        /// RCPT TO.
        Rcpt = "rcpt",
        /// DATA, until its 354.
        Data = "data",
        /// The body, and the answer to the final dot.
        Dot = "dot",
        /// RSET between messages.
        Rset = "rset",
    }
}

words! {
    /// Why an attempt ended without a reply that settles it.
    LocalCause {
        /// The domain does not exist (NXDOMAIN): final.
        NoSuchDomain = "no_such_domain",
        /// The domain says that it takes no mail (RFC 7505): final.
        NullMx = "null_mx",
        /// The domain exists but has neither MX nor address: final.
        NoHosts = "no_hosts",
        /// DNS gave no usable answer (SERVFAIL, time-out, refused, bogus): for now.
        DnsUnavailable = "dns_unavailable",
        /// Nobody listens.
        ConnectionRefused = "connection_refused",
        /// No answer to the connection in time.
        ConnectTimeout = "connect_timeout",
        /// No route, network or host unreachable.
        Unreachable = "unreachable",
        /// The source address cannot be bound.
        SourceUnavailable = "source_unavailable",
        /// The other side closed or reset the connection.
        ConnectionLost = "connection_lost",
        /// No reply in time.
        Timeout = "timeout",
        /// What came was not SMTP.
        NotSmtp = "not_smtp",
        /// TLS was demanded and not to be had.
        TlsRequired = "tls_required",
        /// The handshake or the certificate's check failed.
        TlsFailed = "tls_failed",
        /// The receiver's hosts are this relay itself.
        Loop = "loop",
        /// No source that may send it had budget left for its provider.
        NoBudget = "no_budget",
        /// The time within which the sender wanted it delivered (RFC 2852) is over.
        TooLate = "too_late",
        /// The relay's own trouble: the spool could not give the body, a limit was hit.
        LocalError = "local_error",
        /// The relay was told to stop.
        Shutdown = "shutdown",
    }
}

/// Why an attempt did not deliver: what the receiver said, or what went wrong before it could say anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The receiver answered 4xx or 5xx.
    Refused {
        /// Which command it answered.
        stage: Stage,
        /// What it said.
        reply: Reply,
    },
    /// No reply settled it.
    Local {
        /// How far the dialogue had come.
        stage: Stage,
        /// What kind of trouble.
        cause: LocalCause,
        /// The trouble in words, for people.
        detail: String,
    },
}

impl Failure {
    /// How far the dialogue had come.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Refused { stage, .. } | Self::Local { stage, .. } => *stage,
        }
    }

    /// What the receiver said, if it said anything.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Refused { reply, .. } => Some(reply),
            Self::Local { .. } => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reply, .. } => reply.fmt(f),
            Self::Local { cause, detail, .. } => write!(f, "{cause}: {detail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_keep_their_whole_numbers() {
        assert_eq!(Reply::new(550, "5.7.511 Access denied").enhanced, Some(EnhancedCode::new(5, 7, 511)));
        assert_eq!("5.7.511".parse::<EnhancedCode>().unwrap().to_string(), "5.7.511");
        for none in ["5.7", "5.7.1.2", "3.1.1", "5.7.1234", "no such user", "", "5..1", "5.7.1:"] {
            assert_eq!(EnhancedCode::at_start(none), None, "{none:?}");
        }
    }
}
