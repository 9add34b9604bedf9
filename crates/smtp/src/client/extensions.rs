//! The extensions in a receiver's EHLO reply.

use std::{fmt::Write, time::Duration};

use mail_send::SmtpClient;
use posthaste_mail::Reply;
use smtp_proto::{
    AUTH_LOGIN, AUTH_PLAIN, EXT_8BIT_MIME, EXT_BINARY_MIME, EXT_CHUNKING, EXT_DELIVER_BY, EXT_DSN, EXT_ENHANCED_STATUS_CODES,
    EXT_MT_PRIORITY, EXT_PIPELINING, EXT_REQUIRE_TLS, EXT_SIZE, EXT_SMTP_UTF8, EXT_START_TLS,
};

/// The extensions that a receiver announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 2920: commands may be sent in groups.
    pub pipelining: bool,
    /// RFC 6152: `BODY=8BITMIME` is understood.
    pub eight_bit_mime: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 1870: `SIZE=` is understood; the number is the largest message accepted, in bytes; 0 means no fixed limit.
    pub size: Option<u64>,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// RFC 6531.
    pub smtp_utf8: bool,
    /// RFC 3030 §2: BDAT is understood.
    pub chunking: bool,
    /// RFC 3030 §3: `BODY=BINARYMIME` is understood.
    pub binary_mime: bool,
    /// RFC 3461: RET, ENVID, NOTIFY and ORCPT are understood.
    pub dsn: bool,
    /// RFC 2852: BY is understood; the number is the least by-time accepted with R, in seconds; 0 where none is announced.
    pub deliver_by: Option<u64>,
    /// RFC 8689.
    pub require_tls: bool,
    /// RFC 6710: MT-PRIORITY is understood.
    pub priority: bool,
    /// The announced SASL mechanisms that this client can use, as smtp-proto's bits.
    pub(crate) auth: u64,
}

impl Extensions {
    /// Parses a complete positive EHLO reply with mail-send's parser, which reads from memory: it can neither wait nor lose bytes. A reply
    /// that it cannot parse counts as one without extensions; the session then continues as plain RFC 5321.
    pub(crate) async fn read(reply: &Reply) -> Self {
        let raw = wire_form(reply);
        let stream = tokio::io::join(raw.as_bytes(), tokio::io::sink());
        let mut client = SmtpClient { stream, timeout: Duration::MAX };
        let Ok(ehlo) = client.read_ehlo().await else {
            tracing::debug!(%reply, "an EHLO reply cannot be parsed");
            return Self::default();
        };
        let has = |extension| ehlo.capabilities & extension != 0;
        Self {
            pipelining: has(EXT_PIPELINING),
            eight_bit_mime: has(EXT_8BIT_MIME),
            starttls: has(EXT_START_TLS),
            size: has(EXT_SIZE).then_some(ehlo.size as u64),
            enhanced_status_codes: has(EXT_ENHANCED_STATUS_CODES),
            smtp_utf8: has(EXT_SMTP_UTF8),
            chunking: has(EXT_CHUNKING),
            binary_mime: has(EXT_BINARY_MIME),
            dsn: has(EXT_DSN),
            deliver_by: has(EXT_DELIVER_BY).then_some(ehlo.deliver_by),
            require_tls: has(EXT_REQUIRE_TLS),
            priority: has(EXT_MT_PRIORITY),
            auth: ehlo.auth_mechanisms & (AUTH_PLAIN | AUTH_LOGIN),
        }
    }
}

fn wire_form(reply: &Reply) -> String {
    let mut raw = String::with_capacity(reply.text.len() + 256);
    let mut lines = reply.text.split('\n').peekable();
    while let Some(line) = lines.next() {
        let more = if lines.peek().is_some() { '-' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = write!(raw, "250{more}{line}\r\n");
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> Extensions {
        Extensions::read(&Reply::new(250, text)).await
    }

    #[tokio::test]
    async fn extensions_are_found_in_any_case_and_order() {
        let got = read(
            "mx.example.org hello\nPIPELINING\nsize 10485760\n8BITMIME\nENHANCEDSTATUSCODES\nAUTH LOGIN PLAIN GSSAPI\nX-OWN 1\nSTARTTLS",
        )
        .await;
        assert!(got.pipelining && got.eight_bit_mime && got.starttls && got.enhanced_status_codes && !got.smtp_utf8);
        assert_eq!((got.size, got.auth), (Some(10_485_760), AUTH_LOGIN | AUTH_PLAIN));
    }

    #[tokio::test]
    async fn what_a_message_can_ask_for_is_found_too() {
        let got = read("mx\nSMTPUTF8\nCHUNKING\nBINARYMIME\nDSN\nREQUIRETLS\nDELIVERBY 240").await;
        assert!(got.smtp_utf8 && got.chunking && got.binary_mime && got.dsn && got.require_tls);
        assert_eq!((got.deliver_by, read("mx\nDELIVERBY").await.deliver_by), (Some(240), Some(0)));
    }

    #[tokio::test]
    async fn a_size_without_a_number_is_no_limit() {
        assert_eq!(read("mx\nSIZE").await.size, Some(0));
        assert_eq!(read("mx\nSIZE 0\nPIPELINING").await, Extensions { size: Some(0), pipelining: true, ..Extensions::default() });
        assert_eq!(read("mx").await, Extensions::default());
    }

    #[tokio::test]
    async fn a_reply_that_makes_no_sense_has_no_extensions_or_those_that_make_sense() {
        for odd in ["", "mx\n", "mx\n\nPIPELINING", "mx\nFUTURERELEASE x y\nPIPELINING", "mx\nAUTH", "mx\nAUTH=PLAIN", "mx\nSIZE many"] {
            assert!(!read(odd).await.starttls, "{odd:?}");
        }
        let huge = format!("mx\nSTARTTLS\n{}", "X-LONG\n".repeat(3000));
        assert_eq!(read(&huge).await, Extensions::default());
    }
}
