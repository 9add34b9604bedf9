//! The Received field of the relay itself (RFC 5321 §4.4).

use std::{fmt, net::IpAddr};

use super::Submission;

/// The longest name of a client that is written down, in bytes (RFC 1035 §3.1).
const HELO_MAX: usize = 255;

impl Submission<'_> {
    /// The field.
    pub(super) fn received(&self) -> String {
        // RFC 3848.
        let with = match (self.esmtp, self.tls, self.authenticated) {
            _ if self.http => "HTTP",
            (false, _, _) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, true, false) => "ESMTPS",
            (true, false, true) => "ESMTPA",
            (true, true, true) => "ESMTPSA",
        };
        let (helo, ip) = (Helo(self.helo), Literal(self.client_ip));
        format!(
            "Received: from {helo} ({ip})\r\n\tby {} with {with} id {};\r\n\t{}\r\n",
            self.hostname,
            self.id,
            posthaste_mail::rfc5322_date(self.now)
        )
    }
}

/// The client's name in EHLO or HELO, without characters that could end the field or be taken for another part of it.
struct Helo<'a>(&'a str);

impl fmt::Display for Helo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-:[]".contains(c);
        if self.0.is_empty() {
            return f.write_str("unknown");
        }
        self.0.chars().take(HELO_MAX).try_for_each(|c| fmt::Write::write_char(f, if fits(c) { c } else { '?' }))
    }
}

/// An address literal (RFC 5321 §4.1.3).
struct Literal(IpAddr);

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_canonical() {
            IpAddr::V4(ip) => write!(f, "[{ip}]"),
            IpAddr::V6(ip) => write!(f, "[IPv6:{ip}]"),
        }
    }
}
