//! What the tallies look at in a line of the log.

use jiff::Timestamp;
use posthaste_mail::Class;
use posthaste_monitor::{LogText, MemberValue, each_member};
use serde::Deserialize;

/// The fields of a line that are counted. Unknown fields are ignored, and so are unknown events when it comes to counting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Seen<'a> {
    #[serde(borrow)]
    pub(crate) event: LogText<'a>,
    time: LogText<'a>,
    pub(crate) stream: Option<LogText<'a>>,
    pub(crate) user: Option<LogText<'a>>,
    pub(crate) from_domain: Option<LogText<'a>>,
    pub(crate) domain: Option<LogText<'a>>,
    pub(crate) tags: Vec<LogText<'a>>,
    pub(crate) size: u64,
    pub(crate) age_ms: u64,
    pub(crate) provider: Option<LogText<'a>>,
    pub(crate) source: Option<LogText<'a>>,
    pub(crate) attempt: u32,
    pub(crate) not_tried: bool,
    pub(crate) smtp_code: Option<u16>,
    class: Option<LogText<'a>>,
    pub(crate) rule: Option<LogText<'a>>,
    pub(crate) tls_version: Option<LogText<'a>>,
    pub(crate) tls_verified: Option<bool>,
    pub(crate) dkim: Option<LogText<'a>>,
    pub(crate) spf: Option<LogText<'a>>,
    pub(crate) dmarc: Option<LogText<'a>>,
    pub(crate) one_click: bool,
    pub(crate) machine: bool,
    /// An earlier line told of the same, which was counted.
    pub(crate) again: bool,
    pub(crate) kind: Option<LogText<'a>>,
    /// What speaks for a report that came back.
    pub(crate) why: Option<LogText<'a>>,
    pub(crate) reason: Option<LogText<'a>>,
    dns_ms: u64,
    pub(crate) connect_ms: Option<u64>,
    pub(crate) tls_ms: Option<u64>,
    envelope_ms: Option<u64>,
    body_ms: Option<u64>,
    /// How long its sender had it wait, of `age_ms`.
    hold_ms: u64,
}

impl<'a> Seen<'a> {
    /// Parses a line; None if it is damaged.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // Whether it is UTF-8 is looked at once, and not for each text.
        let line = str::from_utf8(line).ok()?;
        Self::as_written(line).or_else(|| serde_json::from_str(line).ok())
    }

    /// Reads a line that is written as the relay writes them; None if it is not, or if a field is there twice or is of another kind.
    fn as_written(line: &'a str) -> Option<Self> {
        let (mut seen, mut given) = (Self::default(), 0_u64);
        each_member(line, |name, value| {
            let Some(field) = seen.take(name, value)? else { return Some(()) };
            let (bit, before) = (1 << field, given);
            given |= bit;
            (before & bit == 0).then_some(())
        })?;
        Some(seen)
    }

    /// Takes a field. Some(None): it is not one of these.
    fn take(&mut self, name: &str, value: MemberValue<'a>) -> Option<Option<u32>> {
        let text = || value.text();
        let maybe = || if value == MemberValue::Null { Some(None) } else { value.text().map(Some) };
        let number = || if let MemberValue::Number(number) = value { Some(number) } else { None };
        let maybe_number = || if value == MemberValue::Null { Some(None) } else { number().map(Some) };
        let yes = || if let MemberValue::Bool(yes) = value { Some(yes) } else { None };
        let field = match name {
            "event" => (self.event = text()?, 0),
            "time" => (self.time = text()?, 1),
            "stream" => (self.stream = maybe()?, 2),
            "user" => (self.user = maybe()?, 3),
            "from_domain" => (self.from_domain = maybe()?, 4),
            "domain" => (self.domain = maybe()?, 5),
            "tags" => (self.tags = value.json().and_then(|json| serde_json::from_str(json).ok())?, 6),
            "size" => (self.size = number()?, 7),
            "age_ms" => (self.age_ms = number()?, 8),
            "provider" => (self.provider = maybe()?, 9),
            "source" => (self.source = maybe()?, 10),
            "attempt" => (self.attempt = number()?.try_into().ok()?, 11),
            "not_tried" => (self.not_tried = yes()?, 12),
            "smtp_code" => (self.smtp_code = maybe_number()?.map(u16::try_from).transpose().ok()?, 13),
            "class" => (self.class = maybe()?, 14),
            "rule" => (self.rule = maybe()?, 15),
            "tls_version" => (self.tls_version = maybe()?, 16),
            "tls_verified" => (self.tls_verified = if value == MemberValue::Null { None } else { Some(yes()?) }, 17),
            "dkim" => (self.dkim = maybe()?, 18),
            "spf" => (self.spf = maybe()?, 19),
            "dmarc" => (self.dmarc = maybe()?, 20),
            "one_click" => (self.one_click = yes()?, 21),
            "machine" => (self.machine = yes()?, 22),
            "again" => (self.again = yes()?, 23),
            "kind" => (self.kind = maybe()?, 24),
            "why" => (self.why = maybe()?, 25),
            "reason" => (self.reason = maybe()?, 26),
            "dns_ms" => (self.dns_ms = number()?, 27),
            "connect_ms" => (self.connect_ms = maybe_number()?, 28),
            "tls_ms" => (self.tls_ms = maybe_number()?, 29),
            "envelope_ms" => (self.envelope_ms = maybe_number()?, 30),
            "body_ms" => (self.body_ms = maybe_number()?, 31),
            "hold_ms" => (self.hold_ms = number()?, 32),
            _ => return Some(None),
        };
        Some(Some(field.1))
    }

    /// When it happened; None if that cannot be read.
    pub fn time(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }

    /// What the failure means.
    pub(crate) fn class(&self) -> Option<Class> {
        self.class.as_deref()?.parse().ok()
    }

    /// Whether it tells of an attempt: not of a recipient that was only looked at while its hosts were out of reach, or that became too old
    /// in the queue.
    pub(crate) fn is_attempt(&self) -> bool {
        self.provider.is_some() && !self.not_tried && self.attempt > 0
    }

    /// From MAIL to the reply after the message.
    pub(crate) fn dialogue_ms(&self) -> Option<u64> {
        Some(self.envelope_ms?.saturating_add(self.body_ms?))
    }

    /// From the acceptance to now, without the time that its sender had it wait.
    pub(crate) fn delivery_ms(&self) -> u64 {
        self.age_ms.saturating_sub(self.hold_ms)
    }

    /// What went by before the attempt that delivered it at once.
    pub(crate) fn wait_ms(&self) -> u64 {
        let attempt = [Some(self.dns_ms), self.connect_ms, self.tls_ms, self.envelope_ms, self.body_ms];
        attempt.into_iter().flatten().fold(self.delivery_ms(), u64::saturating_sub)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_serde(line: &str) -> Option<Seen<'_>> {
        serde_json::from_str(line).ok()
    }

    const LINE: &str = r#"{"time":"2026-11-29T00:00:10.000Z","v":1,"id":"01","event":"delivered","message_id":"<a\"b>","tags":["may","a\\\"]b"],"size":104,"rcpt":"ü@x.org","attempt":1,"smtp_code":250,"other_hosts":[{"smtp_text":"}]","n":1.5e3}],"tls_verified":false,"user":null,"class":"x\u00e9y","dns_ms":0,"connect_ms":12}"#;

    #[test]
    fn a_line_as_the_relay_writes_it_needs_no_other_parser() {
        let seen = Seen::as_written(LINE).unwrap();
        assert_eq!(Some(&seen), by_serde(LINE).as_ref());
        assert_eq!((&*seen.event, seen.tags.len(), seen.connect_ms, seen.class.as_deref()), ("delivered", 2, Some(12), Some("xéy")));
        for other in
            ["{ \"event\":\"a\"}", "{\"size\":1.0}", "{\"size\":01}", "{\"size\":1,\"size\":1}", "{\"event\":\"a\"} ", "{\"x\":[}", "{}"]
        {
            assert_eq!(Seen::as_written(other), None, "{other}");
        }
    }

    #[test]
    fn no_field_is_forgotten() {
        // A new one does not compile before it stands here; then it belongs into the line, too.
        let Seen {
            event: _,
            time: _,
            stream: _,
            user: _,
            from_domain: _,
            domain: _,
            tags: _,
            size: _,
            age_ms: _,
            provider: _,
            source: _,
            attempt: _,
            not_tried: _,
            smtp_code: _,
            class: _,
            rule: _,
            tls_version: _,
            tls_verified: _,
            dkim: _,
            spf: _,
            dmarc: _,
            one_click: _,
            machine: _,
            again: _,
            kind: _,
            why: _,
            reason: _,
            dns_ms: _,
            connect_ms: _,
            tls_ms: _,
            envelope_ms: _,
            body_ms: _,
            hold_ms: _,
        } = Seen::default();
        let texts = [
            "event",
            "time",
            "stream",
            "user",
            "from_domain",
            "domain",
            "provider",
            "source",
            "class",
            "rule",
            "tls_version",
            "dkim",
            "spf",
            "dmarc",
            "kind",
            "why",
            "reason",
        ]
        .map(|name| format!("\"{name}\":\"{name}'s\""));
        let numbers = ["size", "age_ms", "attempt", "smtp_code", "dns_ms", "connect_ms", "tls_ms", "envelope_ms", "body_ms", "hold_ms"];
        let numbers = (1..).zip(numbers).map(|(n, name)| format!("\"{name}\":{n}"));
        let bools = ["not_tried", "tls_verified", "one_click", "machine", "again"].map(|name| format!("\"{name}\":true"));
        let fields: Vec<String> = texts.into_iter().chain(numbers).chain(bools).chain([r#""tags":["a"]"#.into()]).collect();
        assert_eq!(fields.len(), 33);
        let line = format!("{{{}}}", fields.join(","));
        assert_eq!(Seen::as_written(&line), by_serde(&line));
        for field in fields {
            let line = format!("{{{field}}}");
            let seen = Seen::as_written(&line).unwrap();
            assert!(seen != Seen::default() && Some(seen) == by_serde(&line), "{line}");
        }
    }

    /// Pieces of lines, whole and broken.
    fn piece() -> impl Strategy<Value = String> {
        let fixed = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            "\\\"",
            "\\u12",
            "\\ud800",
            " ",
            "\n",
            "0",
            "1",
            "-",
            ".5",
            "e3",
            "true",
            "fals",
            "null",
            "\"event\"",
            "\"size\":",
            "\"tags\":[",
            "\"event\":\"bounced\"",
            "\"smtp_code\":70000",
            "\"x\":{\"y\":[]}",
            "ü",
            "18446744073709551616",
        ];
        prop::sample::select(fixed.map(str::to_owned).to_vec())
    }

    proptest! {
        #[test]
        fn every_line_is_read_as_any_parser_reads_it(at in 0..LINE.len(), length in 0usize..8, by in prop::collection::vec(piece(), 0..3)) {
            let line: String = LINE.chars().take(at).chain(by.concat().chars()).chain(LINE.chars().skip(at + length)).collect();
            prop_assert_eq!(Seen::parse(line.as_bytes()), by_serde(&line), "{}", line);
        }

        #[test]
        fn anything_is_read_as_any_parser_reads_it(pieces in prop::collection::vec(piece(), 0..12)) {
            let line = format!("{{{}}}", pieces.concat());
            prop_assert_eq!(Seen::parse(line.as_bytes()), by_serde(&line), "{}", line);
        }
    }
}
