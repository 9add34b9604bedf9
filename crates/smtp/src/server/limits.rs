//! The settings of a session: its host name, its limits, its offers.

use super::Offers;

/// The settings that all sessions of a listener share.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// The name in the greeting and the EHLO reply: a domain or an address literal.
    pub hostname: String,
    /// The text after the name in the greeting, such as `ESMTP posthaste`.
    pub banner: String,
    /// The limits.
    pub limits: SessionLimits,
    /// The optional extensions on offer.
    pub offers: Offers,
}

/// The limits of a session. 0 means no limit only where a field says so.
#[derive(Clone, Debug)]
pub struct SessionLimits {
    /// The longest command line in bytes, CRLF included (RFC 5321 §4.5.3.1.4 asks for 512; parameters need more).
    pub line: usize,
    /// The longest line of a message in bytes, without its CRLF. 0, the default: any length. RFC 5321 §4.5.3.1.6 asks servers to accept at
    /// least 998, and applications that write a paragraph as one line are common.
    pub text_line: usize,
    /// Recipients of one message (RFC 5321 §4.5.3.1.8 asks for at least 100); further ones get 452.
    pub recipients: usize,
    /// The largest message in bytes as stored: with CRLFs, without stuffed dots and the final dot (RFC 1870 §4).
    pub message_size: u64,
    /// The largest header in bytes, including the empty line; 0: no limit.
    pub header_size: u64,
    /// Invalid commands (unknown, misspelt, out of order) before the session is closed with 421. An accepted message resets the count.
    pub bad_commands: u32,
    /// NOOP, RSET, VRFY, HELP, EHLO and HELO commands before the session is closed with 421. An accepted message resets the count.
    pub idle_commands: u32,
    /// Refused senders, recipients and messages before the session is closed with 421. An accepted message resets the count.
    pub refusals: u32,
    /// Failed logins before the session is closed with 421.
    pub logins: u32,
    /// Messages in one session; 0: no limit. The next MAIL gets 421.
    pub messages: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            line: 2048,
            text_line: 0,
            recipients: 1000,
            message_size: 50 << 20,
            header_size: 256 << 10,
            bad_commands: 10,
            idle_commands: 200,
            refusals: 10_000,
            logins: 3,
            messages: 0,
        }
    }
}
