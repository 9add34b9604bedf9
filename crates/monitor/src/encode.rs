//! An event as a line.
//!
//! By hand, for the processor's sake: the derived serializer goes through three layers of flattening for each field and costs four times as
//! much. A test holds the two against each other, byte for byte.

use std::{fmt::Display, io::Write};

use jiff::{Timestamp, tz::Offset};
use posthaste_mail::{Attempt, Event, MessageFacts, RecipientFacts, Reply, TlsFacts, What};

/// Appends the event's line, line end included.
pub fn encode(event: &Event, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"time\":");
    time(line, event.time);
    number(line, b",\"v\":", event.v.into());
    shown(line, b",\"id\":", event.id);
    text(line, b",\"node\":", event.node.as_str());
    text(line, b",\"event\":", event.what.name());
    what(line, &event.what);
    line.extend_from_slice(b"}\n");
}

fn what(line: &mut Vec<u8>, what: &What) {
    if let Some(about) = what.about() {
        recipient(line, about);
    }
    match what {
        What::Accepted { about: _, client_ip, client_ehlo, spool_seq, notice_of, recovered } => {
            maybe_shown(line, b",\"client_ip\":", *client_ip);
            maybe_text(line, b",\"client_ehlo\":", client_ehlo.as_deref());
            number(line, b",\"spool_seq\":", *spool_seq);
            maybe_shown(line, b",\"notice_of\":", *notice_of);
            flag(line, b",\"recovered\":true", *recovered);
        }
        What::Rejected { client_ip, client_ehlo, command, from, rcpt, reply, reason } => {
            shown(line, b",\"client_ip\":", client_ip);
            maybe_text(line, b",\"client_ehlo\":", client_ehlo.as_deref());
            text(line, b",\"command\":", command);
            maybe_text(line, b",\"from\":", from.as_deref());
            maybe_text(line, b",\"rcpt\":", rcpt.as_deref());
            said(line, reply);
            text(line, b",\"reason\":", reason);
        }
        What::Held { about: _, reason, until } => {
            text(line, b",\"reason\":", reason);
            if let Some(until) = until {
                line.extend_from_slice(b",\"until\":");
                time(line, *until);
            }
        }
        What::Released { about: _, by } => text(line, b",\"by\":", by),
        What::Deferred { about: _, attempt, retry_at } => {
            tried(line, attempt);
            line.extend_from_slice(b",\"retry_at\":");
            time(line, *retry_at);
        }
        What::Delivered { about: _, attempt } | What::Bounced { about: _, attempt } | What::Expired { about: _, attempt } => {
            tried(line, attempt);
        }
        What::Cancelled { about: _, by, reason } => {
            text(line, b",\"by\":", by);
            text(line, b",\"reason\":", reason);
        }
        What::Relay { state, part, detail } => {
            text(line, b",\"state\":", state);
            maybe_text(line, b",\"part\":", part.as_deref());
            text(line, b",\"detail\":", detail);
        }
    }
}

// The structs are taken apart without `..`: a field that is added there does not compile here until it is written.

fn recipient(line: &mut Vec<u8>, RecipientFacts { message, rcpt, domain, age_ms }: &RecipientFacts) {
    let MessageFacts { message, message_id, stream, tags, from, size } = &**message;
    shown(line, b",\"message\":", message);
    maybe_text(line, b",\"message_id\":", message_id.as_deref());
    text(line, b",\"stream\":", stream.as_str());
    for (i, tag) in tags.iter().enumerate() {
        text(line, if i == 0 { b",\"tags\":[" } else { b"," }, tag);
    }
    flag(line, b"]", !tags.is_empty());
    text(line, b",\"from\":", from);
    number(line, b",\"size\":", *size);
    text(line, b",\"rcpt\":", rcpt);
    text(line, b",\"domain\":", domain);
    number(line, b",\"age_ms\":", *age_ms);
}

fn tried(line: &mut Vec<u8>, tried: &Attempt) {
    let Attempt {
        provider,
        source,
        source_ip,
        mx_host,
        mx_ip,
        attempt,
        reply,
        smtp_stage,
        cause,
        detail,
        class,
        action,
        rule,
        ambiguous,
        tls,
        dns_ms,
        connect_ms,
        tls_ms,
        envelope_ms,
        body_ms,
        session,
    } = tried;
    let TlsFacts { tls_version, tls_cipher, tls_policy, tls_verified, tls_fallback } = tls;
    maybe_text(line, b",\"provider\":", provider.as_ref().map(|name| name.as_str()));
    maybe_text(line, b",\"source\":", source.as_ref().map(|name| name.as_str()));
    maybe_shown(line, b",\"source_ip\":", *source_ip);
    maybe_text(line, b",\"mx_host\":", mx_host.as_deref());
    maybe_shown(line, b",\"mx_ip\":", *mx_ip);
    number(line, b",\"attempt\":", (*attempt).into());
    if let Some(reply) = reply {
        said(line, reply);
    }
    maybe_text(line, b",\"smtp_stage\":", smtp_stage.map(|stage| stage.as_str()));
    maybe_text(line, b",\"cause\":", *cause);
    maybe_text(line, b",\"detail\":", detail.as_deref());
    maybe_text(line, b",\"class\":", class.map(|class| class.as_str()));
    maybe_text(line, b",\"action\":", action.map(|action| action.as_str()));
    maybe_text(line, b",\"rule\":", rule.as_deref());
    flag(line, b",\"ambiguous\":true", *ambiguous);
    maybe_text(line, b",\"tls_version\":", *tls_version);
    maybe_text(line, b",\"tls_cipher\":", *tls_cipher);
    maybe_text(line, b",\"tls_policy\":", *tls_policy);
    flag(line, b",\"tls_verified\":true", *tls_verified == Some(true));
    flag(line, b",\"tls_verified\":false", *tls_verified == Some(false));
    maybe_text(line, b",\"tls_fallback\":", tls_fallback.as_deref());
    maybe_number(line, b",\"dns_ms\":", *dns_ms);
    maybe_number(line, b",\"connect_ms\":", *connect_ms);
    maybe_number(line, b",\"tls_ms\":", *tls_ms);
    maybe_number(line, b",\"envelope_ms\":", *envelope_ms);
    maybe_number(line, b",\"body_ms\":", *body_ms);
    maybe_text(line, b",\"session\":", session.as_deref());
}

fn said(line: &mut Vec<u8>, Reply { code, enhanced, text: whole }: &Reply) {
    number(line, b",\"smtp_code\":", (*code).into());
    maybe_shown(line, b",\"smtp_enhanced\":", *enhanced);
    text(line, b",\"smtp_text\":", whole);
}

fn text(line: &mut Vec<u8>, key: &[u8], value: &str) {
    line.extend_from_slice(key);
    // No early end: so the compiler can look at many bytes at once.
    if value.bytes().fold(false, |escaped, b| escaped | (b < b' ') | (b == b'"') | (b == b'\\')) {
        serde_json::to_writer(line, value).expect("a string is JSON, and memory takes it");
    } else {
        line.push(b'"');
        line.extend_from_slice(value.as_bytes());
        line.push(b'"');
    }
}

fn maybe_text(line: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        text(line, key, value);
    }
}

/// For ids, addresses and codes: what they show needs no escapes.
fn shown(line: &mut Vec<u8>, key: &[u8], value: impl Display) {
    line.extend_from_slice(key);
    write!(line, "\"{value}\"").expect("memory takes it");
}

fn maybe_shown(line: &mut Vec<u8>, key: &[u8], value: Option<impl Display>) {
    if let Some(value) = value {
        shown(line, key, value);
    }
}

fn number(line: &mut Vec<u8>, key: &[u8], value: u64) {
    line.extend_from_slice(key);
    digits(line, value, 1);
}

fn maybe_number(line: &mut Vec<u8>, key: &[u8], value: Option<u32>) {
    if let Some(value) = value {
        number(line, key, value.into());
    }
}

fn flag(line: &mut Vec<u8>, words: &[u8], value: bool) {
    if value {
        line.extend_from_slice(words);
    }
}

/// RFC 3339 in UTC, three decimals, quoted.
fn time(line: &mut Vec<u8>, time: Timestamp) {
    let at = Offset::UTC.to_datetime(time);
    if !(0..=9999).contains(&at.year()) {
        return shown(line, b"", posthaste_mail::rfc3339_millis(time));
    }
    let fields = [
        (b'"', at.year().unsigned_abs().into(), 4),
        (b'-', at.month().unsigned_abs().into(), 2),
        (b'-', at.day().unsigned_abs().into(), 2),
        (b'T', at.hour().unsigned_abs().into(), 2),
        (b':', at.minute().unsigned_abs().into(), 2),
        (b':', at.second().unsigned_abs().into(), 2),
        (b'.', at.millisecond().unsigned_abs().into(), 3),
    ];
    for (before, value, width) in fields {
        line.push(before);
        digits(line, value, width);
    }
    line.extend_from_slice(b"Z\"");
}

/// In decimal, with zeros in front to reach the width.
fn digits(line: &mut Vec<u8>, value: u64, width: usize) {
    let (mut block, mut at, mut left) = ([b'0'; 20], 20, value);
    while left > 0 || 20 - at < width {
        at -= 1;
        block[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    line.extend_from_slice(&block[at..]);
}

#[cfg(test)]
mod tests {
    use posthaste_mail::{Event, What};
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    fn line(event: &Event) -> String {
        let mut line = Vec::new();
        encode(event, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_is_byte_for_byte_what_serde_writes() {
        for event in samples::each(true).iter().chain(&samples::each(false)) {
            assert_eq!(line(event), serde_json::to_string(event).unwrap() + "\n");
        }
    }

    proptest! {
        #[test]
        fn any_text_time_and_number_is_what_serde_writes(detail in any::<String>(), ms in -200_000_000_000_000i64..250_000_000_000_000, age in any::<u64>()) {
            let mut event = samples::event(0, What::Relay { state: detail.as_str().into(), part: None, detail });
            event.time = Timestamp::from_millisecond(ms).unwrap();
            prop_assert_eq!(line(&event), serde_json::to_string(&event).unwrap() + "\n");
            let mut about = samples::about(samples::message_id(1), "a@x.org", true);
            about.age_ms = age;
            let event = samples::event(0, What::Released { about, by: "x".into() });
            prop_assert_eq!(line(&event), serde_json::to_string(&event).unwrap() + "\n");
        }
    }
}
