//! What a session is told: its name and its limits.

use super::Offers;

/// What every session of one listener shares.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name in greeting and EHLO reply: a domain or an address literal.
    pub hostname: String,
    /// What stands behind the name in the greeting, such as `ESMTP posthaste`.
    pub banner: String,
    /// How much a client may.
    pub limits: Limits,
    /// What is offered beyond the plain protocol.
    pub offers: Offers,
}

/// How much a client may ask for. Where a field says so, 0 means no limit.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest command line in bytes, CRLF included (RFC 5321 §4.5.3.1.4 asks for 512; parameters need more).
    pub line: usize,
    /// The longest line of a message in bytes, without its CRLF. 0, the default: any length. RFC 5321 §4.5.3.1.6 asks
    /// servers to take at least 998, and applications that write whole paragraphs as one line are common.
    pub text_line: usize,
    /// Recipients of one message (RFC 5321 §4.5.3.1.8 asks for at least 100); those beyond are told 452.
    pub recipients: usize,
    /// The largest message in bytes as stored: CRLFs counted, doubled dots and the final dot not (RFC 1870 §4).
    pub message_size: u64,
    /// The largest header in bytes, the empty line included; 0: no limit.
    pub header_size: u64,
    /// Commands that are no commands here (unknown, misspelt, out of order) before the session is closed with 421.
    /// An accepted message clears the count.
    pub bad_commands: u32,
    /// NOOP, RSET, VRFY, HELP and greetings before the session is closed with 421. An accepted message clears the count.
    pub idle_commands: u32,
    /// Refused senders, recipients and messages before the session is closed with 421. An accepted message clears the count.
    pub refusals: u32,
    /// Wrong passwords before the session is closed with 421.
    pub logins: u32,
    /// Messages in one session; 0: no limit. The next MAIL is told 421.
    pub messages: u32,
}

impl Default for Limits {
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
