//! Lines for people: one line an event, for those who watch.

use std::{borrow::Cow, fmt::Write};

use crate::{Story, Text};

/// How to show events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// With ANSI colours.
    pub colour: bool,
}

impl Format {
    /// One line, without its end: time, event, message, from → recipient, provider and host, what was said, what follows, how long it took.
    ///
    /// Receivers write what they like into their replies; nothing but printable characters gets through.
    pub fn line(&self, story: &Story<'_>) -> String {
        let mut out = String::with_capacity(256);
        let time = story.time_text.strip_suffix('Z').unwrap_or(&story.time_text).replacen('T', " ", 1);
        let _ = write!(out, "{} ", self.dim(&plain(&time)));
        let _ = write!(out, "{}", self.event(&story.event, 10));
        let parts = match &*story.event {
            "rejected" => rejected(story),
            "lane" => lane(story),
            "relay" => relay(story),
            _ => message(story),
        };
        for part in parts.iter().filter(|part| !part.is_empty()) {
            let _ = write!(out, "  {part}");
        }
        let timings = timings(story);
        if !timings.is_empty() {
            let _ = write!(out, "  {}", self.dim(&format!("({timings})")));
        }
        out
    }

    /// The event's word in its colour, padded.
    pub(crate) fn event(self, event: &str, width: usize) -> String {
        let colour = match event {
            "delivered" => "32",
            "deferred" | "held" => "33",
            "bounced" | "expired" | "rejected" | "suppressed" | "late_bounced" | "complained" => "31",
            "cancelled" | "released" => "35",
            "accepted" => "36",
            _ => "1",
        };
        self.paint(&format!("{:<width$}", plain(event)), colour)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(text, "2")
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(text, "1")
    }

    fn paint(self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn message(story: &Story<'_>) -> Vec<String> {
    let arrow = match (&story.from, &story.rcpt) {
        (Some(from), Some(rcpt)) => format!("{} → {}", sender(from), plain(rcpt)),
        _ => String::new(),
    };
    vec![
        text(&story.message),
        arrow,
        text(&story.provider),
        text(&story.mx_host),
        attempt(story),
        said(story),
        verdict(story),
        text_of(story.retry_at.as_ref(), |at| format!("retry {}", clock_time(at))),
        text_of(story.reason.as_ref(), |reason| plain(reason).into_owned()),
        text_of(story.until.as_ref(), |until| format!("until {}", clock_time(until))),
        text(&story.detail.clone().filter(|_| *story.event == *"held")),
        text_of(story.by.as_ref(), |by| format!("by {}", plain(by))),
        accepted_from(story),
        returned(story).join(", "),
        flags(story),
    ]
}

fn rejected(story: &Story<'_>) -> Vec<String> {
    let from = text_of(story.from.as_ref(), |from| format!("from {}", sender(from)));
    let rcpt = text_of(story.rcpt.as_ref(), |rcpt| format!("→ {}", plain(rcpt)));
    let command = text_of(story.command.as_ref(), |command| format!("at {}", plain(command)));
    vec![accepted_from(story), from, rcpt, command, said(story), text(&story.reason)]
}

fn lane(story: &Story<'_>) -> Vec<String> {
    let name = match (&story.source, &story.provider) {
        (Some(source), Some(provider)) => format!("{} → {}", plain(source), plain(provider)),
        _ => String::new(),
    };
    let stages = match (&story.stage_from, &story.stage_to) {
        (Some(from), Some(to)) if **from != **to => format!("stage {} → {}", plain(from), plain(to)),
        (_, Some(to)) => format!("stage {}", plain(to)),
        _ => String::new(),
    };
    let caps = match (story.cap, story.next_cap) {
        (Some(cap), Some(next)) if cap != next => format!("cap {cap} → {next}"),
        (_, Some(next)) => format!("cap {next}"),
        _ => String::new(),
    };
    let until = text_of(story.until.as_ref(), |until| format!("until {}", clock_time(until)));
    vec![name, text(&story.change), text(&story.day), stages, caps, until, text(&story.detail)]
}

fn relay(story: &Story<'_>) -> Vec<String> {
    vec![text(&story.state), text(&story.part), text(&story.detail)]
}

fn accepted_from(story: &Story<'_>) -> String {
    let ehlo = text_of(story.client_ehlo.as_ref(), |name| format!(" ({})", plain(name)));
    let client = text_of(story.client_ip.as_ref(), |ip| format!("client {}{ehlo}", plain(ip)));
    let user = text_of(story.user.as_ref(), |user| format!("user {}", plain(user)));
    let notice = text_of(story.notice_of.as_ref(), |of| format!("notice about {}", plain(of)));
    [client, user, notice].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn attempt(story: &Story<'_>) -> String {
    match story.attempt {
        Some(n) if n > 1 => format!("try {n}"),
        _ => String::new(),
    }
}

/// The reply's first line, or the trouble in words.
fn said(story: &Story<'_>) -> String {
    if let (Some(code), Some(reply)) = (story.smtp_code, &story.smtp_text) {
        let mut lines = reply.lines();
        let first = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() || first.chars().count() > SAID_MAX { " …" } else { "" };
        let first: String = plain(first).chars().take(SAID_MAX).collect();
        return format!("{code} {first}{more}");
    }
    if story.matched_by.is_some() {
        return text_of(story.detail.as_ref(), |detail| plain(detail.lines().next().unwrap_or_default()).chars().take(SAID_MAX).collect());
    }
    let stage = text_of(story.smtp_stage.as_ref(), |stage| format!(" at {}", plain(stage)));
    match (&story.cause, &story.detail) {
        (Some(cause), Some(detail)) => format!("{}{stage}: {}", plain(cause), plain(detail)),
        (Some(cause), None) => format!("{}{stage}", plain(cause)),
        _ => String::new(),
    }
}

/// Characters of a reply that fit into a line.
const SAID_MAX: usize = 160;

fn verdict(story: &Story<'_>) -> String {
    match (&story.class, &story.action) {
        (Some(class), Some(action)) => format!("[{} → {}]", plain(class), plain(action)),
        (Some(class), None) => format!("[{}]", plain(class)),
        _ => String::new(),
    }
}

/// How it came back, for what came back.
pub(crate) fn returned(story: &Story<'_>) -> Vec<String> {
    let Some(by) = &story.matched_by else { return Vec::new() };
    let mut parts = Vec::new();
    parts.extend(story.feedback_type.as_ref().map(|kind| format!("feedback: {}", plain(kind))));
    parts.extend(story.reporting_mta.as_ref().map(|host| format!("reported by {}", plain(host))));
    parts.extend(story.remote_mta.as_ref().map(|host| format!("refused by {}", plain(host))));
    parts.extend(story.names.as_ref().map(|name| format!("naming {}", plain(name))));
    parts.push(format!("matched by {}", plain(by)));
    parts
}

fn flags(story: &Story<'_>) -> String {
    let mut flags = Vec::new();
    if story.ambiguous {
        flags.push(if story.is_ending() { "AMBIGUOUS: it may have arrived twice" } else { "AMBIGUOUS: it may have arrived" });
    }
    if story.recovered {
        flags.push("recovered");
    }
    flags.join(", ")
}

pub(crate) fn timings(story: &Story<'_>) -> String {
    let steps = [
        ("dns", story.dns_ms),
        ("connect", story.connect_ms),
        ("tls", story.tls_ms),
        ("envelope", story.envelope_ms),
        ("body", story.body_ms),
    ];
    let steps: Vec<_> = steps.into_iter().filter_map(|(name, ms)| Some(format!("{name} {}", duration(ms?.into())))).collect();
    steps.join(", ")
}

pub(crate) fn sender(from: &str) -> String {
    if from.is_empty() { "<>".into() } else { plain(from).into_owned() }
}

fn text(field: &Option<Text<'_>>) -> String {
    text_of(field.as_ref(), |text| plain(text).into_owned())
}

pub(crate) fn text_of(field: Option<&Text<'_>>, show: impl FnOnce(&str) -> String) -> String {
    field.map(|text| show(text)).unwrap_or_default()
}

/// The time with its date, as the log has it, in fewer letters.
pub(crate) fn clock_time(time: &str) -> String {
    let time = plain(time);
    let short = time.strip_suffix('Z').unwrap_or(&time);
    short.split_once('.').map_or(short, |(seconds, _)| seconds).replacen('T', " ", 1)
}

/// Milliseconds in the two largest units: `850 ms`, `3.2 s`, `12m 05s`, `4h 10m`, `2d 03h`.
pub(crate) fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", s, ms % 1000 / 100),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// The text without anything that a terminal would obey: control characters, and those that turn the direction of writing.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.contains(obeyed) { text.replace(obeyed, "\u{fffd}").into() } else { text.into() }
}
