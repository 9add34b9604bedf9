//! The reply of a receiver (RFC 5321 §4.2, RFC 3463), or the reason why there is none.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::class::words;

/// An enhanced status code, `class.subject.detail` (RFC 3463). The parts are whole numbers, so that 5.7.511 stays 5.7.511.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode {
    /// 2, 4 or 5.
    pub class: u8,
    /// The subject: 1 address, 2 mailbox, 3 system, 4 network, 5 protocol, 6 content, 7 security.
    pub subject: u16,
    /// The detail.
    pub detail: u16,
}

impl EnhancedCode {
    /// A code from its three numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads a code at the very start of `text` (up to a blank or the end); `None` if there is none.
    pub fn at_start(text: &str) -> Option<Self> {
        let end = text.bytes().position(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(text.len());
        text[..end].parse().ok()
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
        let number = |part: Option<&[u8]>| match part {
            Some(p) if (1..=3).contains(&p.len()) && p.iter().all(u8::is_ascii_digit) => {
                Ok(p.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
            }
            _ => Err(()),
        };
        let mut parts = text.as_bytes().split(|byte| *byte == b'.');
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

/// A complete reply of a receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// The three digits, 200 to 599.
    pub code: u16,
    /// The enhanced status code at the start of the first line.
    pub enhanced: Option<EnhancedCode>,
    /// The text of all lines after the three digits, enhanced codes included, joined by `\n`. Bytes that are not UTF-8 are replaced.
    pub text: String,
}

impl Reply {
    /// A reply with this code and text; the enhanced code is read from the start of the text.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code, enhanced: EnhancedCode::at_start(&text), text }
    }

    /// Whether it is a 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it is a 5xx, a permanent failure (RFC 5321 §4.2.1).
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

/// A receiver's words in one line for people, of at most `max` characters: its lines are joined by " / ", and a code that each of them repeats is
/// said once. Often the reason is on the second line, behind a first one that is the same for every refusal, so a long first line leaves room.
pub fn in_one_line(said: &str, max: usize) -> String {
    let enhanced = |line: &str| EnhancedCode::at_start(line);
    let first =
        said.split_once(' ').filter(|(code, _)| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit())).map_or(said, |(_, text)| text);
    let repeated = enhanced(first);
    let own = |(i, line): (usize, &str)| {
        let line = line.trim();
        let is_repeated = i > 0 && repeated.is_some() && enhanced(line) == repeated;
        let line = if is_repeated { line.split_once(' ').map_or("", |(_, text)| text) } else { line };
        line.trim().to_owned()
    };
    let lines: Vec<String> = said.lines().enumerate().map(own).filter(|line| !line.is_empty()).collect();
    let cut = |text: &str, max: usize| match text.char_indices().nth(max) {
        Some(_) => text.chars().take(max.saturating_sub(2)).collect::<String>() + " …",
        None => text.to_owned(),
    };
    match &*lines {
        [first, rest @ ..] if !rest.is_empty() => cut(&format!("{} / {}", cut(first, max / 2), rest.join(" / ")), max),
        _ => cut(&lines.concat(), max),
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

words! {
    /// How far an attempt had come when it was answered or failed.
    Stage {
        /// Looking up the receiver's hosts.
        Dns = "dns",
        /// Opening the connection.
        Connect = "connect",
        /// Waiting for the 220.
        Banner = "banner",
        /// EHLO or HELO.
        Ehlo = "ehlo",
        /// STARTTLS and the TLS handshake.
        Starttls = "starttls",
        /// AUTH.
        Auth = "auth",
        /// MAIL FROM.
        Mail = "mail",
        /// RCPT TO.
        Rcpt = "rcpt",
        /// DATA, until the 354.
        Data = "data",
        /// The body, and the reply to the final dot.
        Dot = "dot",
        /// RSET between messages.
        Rset = "rset",
    }
}

words! {
    /// Why an attempt failed without a reply that decides it.
    LocalCause {
        /// The domain does not exist (NXDOMAIN): final.
        NoSuchDomain = "no_such_domain",
        /// The domain declares that it accepts no mail (RFC 7505): final.
        NullMx = "null_mx",
        /// The domain exists but has neither MX nor address records: final.
        NoHosts = "no_hosts",
        /// DNS gave no usable answer (SERVFAIL, time-out, refused, bogus): temporary.
        DnsUnavailable = "dns_unavailable",
        /// Nothing listens on the port.
        ConnectionRefused = "connection_refused",
        /// The host refused a session just before, so that this message was not tried.
        SessionRefused = "session_refused",
        /// The host did not answer the connection in time.
        ConnectTimeout = "connect_timeout",
        /// There is no route: the network or the host is unreachable.
        Unreachable = "unreachable",
        /// The source address cannot be bound.
        SourceUnavailable = "source_unavailable",
        /// The other side closed or reset the connection.
        ConnectionLost = "connection_lost",
        /// There was no reply in time.
        Timeout = "timeout",
        /// The answer was not SMTP.
        NotSmtp = "not_smtp",
        /// TLS was required and not offered.
        TlsRequired = "tls_required",
        /// The TLS handshake or the check of the certificate failed.
        TlsFailed = "tls_failed",
        /// The receiver's hosts are this relay itself.
        Loop = "loop",
        /// No source that may send the message had budget left at the provider.
        NoBudget = "no_budget",
        /// The time within which the sender wanted the message delivered (RFC 2852) has passed.
        TooLate = "too_late",
        /// The guard held it, and nobody released it in time.
        HeldTooLong = "held_too_long",
        /// The relay itself could not try: its disk did not give the message, or it lacked memory or descriptors. It is no attempt, and nothing
        /// expires of it.
        RelayUnable = "relay_unable",
        /// The relay itself failed: the message cannot be sent as it is, or a fault of the program.
        LocalError = "local_error",
        /// The relay was stopping.
        Shutdown = "shutdown",
    }
}

/// What a host answered in an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The host's name, if it is known.
    pub mx_host: Option<Arc<str>>,
    /// The command that it answered.
    pub stage: Stage,
    /// The reply.
    pub reply: Reply,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.mx_host.as_deref().unwrap_or("the receiver");
        write!(f, "the last answer was that of {host} at {}: {}", self.stage, self.reply)
    }
}

/// Why an attempt did not deliver: the receiver's reply, or what failed without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The receiver answered 4xx or 5xx.
    Refused {
        /// The command that it answered.
        stage: Stage,
        /// The reply.
        reply: Reply,
    },
    /// No reply decided it.
    Local {
        /// How far the attempt had come.
        stage: Stage,
        /// The kind of failure.
        cause: LocalCause,
        /// A description for people.
        detail: String,
    },
}

impl Failure {
    /// How far the attempt had come.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Refused { stage, .. } | Self::Local { stage, .. } => *stage,
        }
    }

    /// The receiver's reply, if it gave one.
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
    fn the_lines_of_a_reply_are_one_for_people() {
        for (said, line) in [
            ("550 5.7.1 first line\n5.7.1 our block list", "550 5.7.1 first line / our block list"),
            ("5.7.1 first line\n5.7.1 our block list", "5.7.1 first line / our block list"),
            ("550 mailbox unavailable\nReject due to DMARC policy.\n\n", "550 mailbox unavailable / Reject due to DMARC policy."),
            ("550 5.1.1 one\n5.7.1 two", "550 5.1.1 one / 5.7.1 two"),
            ("550 5.1.1 one", "550 5.1.1 one"),
            ("timed out", "timed out"),
            ("", ""),
        ] {
            assert_eq!(in_one_line(said, 60), line);
        }
        let long = in_one_line(&format!("550 {}\nthe reason\n{}", "x".repeat(99), "y".repeat(99)), 60);
        assert!(long.contains("x … / the reason / yy") && long.ends_with(" …") && long.chars().count() == 60, "{long:?}");
        assert_eq!(in_one_line(&"é".repeat(99), 60).chars().count(), 60);
    }

    #[test]
    fn enhanced_codes_keep_their_whole_numbers() {
        assert_eq!(Reply::new(550, "5.7.511 Access denied").enhanced, Some(EnhancedCode::new(5, 7, 511)));
        assert_eq!("5.7.511".parse::<EnhancedCode>().unwrap().to_string(), "5.7.511");
        for none in ["5.7", "5.7.1.2", "3.1.1", "5.7.1234", "no such user", "", "5..1", "5.7.1:"] {
            assert_eq!(EnhancedCode::at_start(none), None, "{none:?}");
        }
    }
}
