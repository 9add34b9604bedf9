//! Shows log records to people, one line each.

use std::{borrow::Cow, fmt::Write};

use posthaste_mail::{Foreign, in_one_line};

use crate::{LogRecord, LogText};

/// How to show records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// With ANSI colours.
    pub colour: bool,
    /// The reader's columns: a line that is longer is folded, with ids in short. None: it is one line, however long.
    pub width: Option<usize>,
}

impl Format {
    /// One record: a line, folded where that is wanted.
    pub fn line(&self, record: &LogRecord<'_>) -> String {
        let whole = self.whole(record);
        match self.width {
            Some(width) if Self { colour: false, width: None }.whole(record).chars().count() > width => self.folded(record, width),
            _ => whole,
        }
    }

    /// In short and over several lines: time, event, a part of the id and the recipient; below, indented, everything else.
    fn folded(self, record: &LogRecord<'_>, width: usize) -> String {
        let clock = clock_time(&record.time_text);
        // Month and day are enough for a log that is rotated; whoever needs the year has a wider window, or --json.
        let time = clock.get(5..).unwrap_or(&clock);
        let id =
            text_of(record.message.as_ref(), |id| plain(id).chars().rev().take(SHORT_ID).collect::<Vec<_>>().into_iter().rev().collect());
        let rcpt = text_of(record.rcpt.as_ref(), |rcpt| plain(rcpt).into_owned());
        let mut out = format!("{} {}", self.dim(time), self.event(&record.event, 10));
        let mut at = time.chars().count() + 1 + plain(&record.event).chars().count().max(10);
        let rest = LogRecord { message: None, ..record.clone() };
        let about = if record.message.is_some() { vec![id, rcpt] } else { Vec::new() };
        let mut parts = parts_of(&rest);
        if let (Some(_), Some(from)) = (&record.message, &record.from) {
            parts.retain(|part| !part.contains(" → ") || !part.starts_with(&sender(from)));
            parts.insert(0, format!("from {}", sender(from)));
        }
        let timings = timings(record);
        let timings = if timings.is_empty() { String::new() } else { format!("({timings})") };
        for part in about.into_iter().chain(parts).chain([timings]).filter(|part| !part.is_empty()) {
            let mut gap = "  ";
            for word in part.split(' ') {
                let length = word.chars().count();
                if at + gap.len() + length > width && at > INDENT {
                    out += "\n";
                    out += &" ".repeat(INDENT);
                    at = INDENT;
                } else {
                    out += gap;
                    at += gap.len();
                }
                out += word;
                at += length;
                gap = " ";
            }
        }
        out
    }

    /// Time, event, message, from → recipient, provider and host, reply, what follows, timings.
    ///
    /// Receivers can put anything into their replies, so all of their text is shown as [`Foreign`].
    fn whole(self, record: &LogRecord<'_>) -> String {
        let mut out = String::with_capacity(256);
        let time = record.time_text.strip_suffix('Z').unwrap_or(&record.time_text).replacen('T', " ", 1);
        let _ = write!(out, "{} ", self.dim(&plain(&time)));
        let _ = write!(out, "{}", self.event(&record.event, 10));
        for part in parts_of(record).iter().filter(|part| !part.is_empty()) {
            let _ = write!(out, "  {part}");
        }
        let timings = timings(record);
        if !timings.is_empty() {
            let _ = write!(out, "  {}", self.dim(&format!("({timings})")));
        }
        out
    }

    /// The event's name in its colour, padded.
    pub(crate) fn event(self, event: &str, width: usize) -> String {
        let colour = match event {
            "delivered" => "32",
            "deferred" | "held" => "33",
            "bounced" | "expired" | "rejected" | "suppressed" | "late_bounced" | "complained" | "log_gap" | "incident" => "31",
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

/// How many characters of an id tell messages apart at a glance; `trace` takes them.
const SHORT_ID: usize = 8;
/// How far the folded part of a line is indented.
const INDENT: usize = 4;

fn parts_of(record: &LogRecord<'_>) -> Vec<String> {
    match &*record.event {
        "rejected" | "unmatched" => rejected(record),
        "lane" => lane(record),
        "relay" => relay(record),
        "log_gap" => vec![text(&record.cause), text(&record.detail)],
        "incident" => incident(record),
        _ => message(record),
    }
}

fn message(record: &LogRecord<'_>) -> Vec<String> {
    let arrow = match (&record.from, &record.rcpt) {
        (Some(from), Some(rcpt)) => format!("{} → {}", sender(from), plain(rcpt)),
        _ => String::new(),
    };
    vec![
        text(&record.message),
        arrow,
        text(&record.provider),
        text(&record.mx_host),
        attempt(record),
        said(record),
        verdict(record),
        text_of(record.retry_at.as_ref(), |at| format!("retry {}", clock_time(at))),
        text_of(record.reason.as_ref(), |reason| plain(reason).into_owned()),
        text_of(record.until.as_ref(), |until| format!("until {}", clock_time(until))),
        text(&record.detail.clone().filter(|_| *record.event == *"held")),
        text_of(record.by.as_ref(), |by| format!("by {}", plain(by))),
        accepted_from(record),
        returned(record).join(", "),
        flags(record),
    ]
}

fn rejected(record: &LogRecord<'_>) -> Vec<String> {
    let from = text_of(record.from.as_ref(), |from| format!("from {}", sender(from)));
    let rcpt = text_of(record.rcpt.as_ref(), |rcpt| format!("→ {}", plain(rcpt)));
    let command = text_of(record.command.as_ref(), |command| format!("at {}", plain(command)));
    vec![accepted_from(record), from, rcpt, command, said(record), text(&record.kind), text(&record.reason)]
}

fn lane(record: &LogRecord<'_>) -> Vec<String> {
    let name = match (&record.source, &record.provider) {
        (Some(source), Some(provider)) => format!("{} → {}", plain(source), plain(provider)),
        _ => String::new(),
    };
    let stages = match (&record.stage_from, &record.stage_to) {
        (Some(from), Some(to)) if **from != **to => format!("stage {} → {}", plain(from), plain(to)),
        (_, Some(to)) => format!("stage {}", plain(to)),
        _ => String::new(),
    };
    let caps = match (record.cap, record.next_cap) {
        (Some(cap), Some(next)) if cap != next => format!("cap {cap} → {next}"),
        (_, Some(next)) => format!("cap {next}"),
        _ => String::new(),
    };
    let until = text_of(record.until.as_ref(), |until| format!("until {}", clock_time(until)));
    vec![name, text(&record.change), text(&record.day), stages, caps, until, text(&record.detail)]
}

fn relay(record: &LogRecord<'_>) -> Vec<String> {
    vec![text(&record.state), text(&record.part), text(&record.detail)]
}

fn incident(record: &LogRecord<'_>) -> Vec<String> {
    // Who opens or changes it is nobody; who mutes or closes it has a reason to be named.
    let by = text_of(record.by.as_ref(), |by| format!("by {}", plain(by)));
    let until = text_of(record.until.as_ref(), |until| format!("until {}", clock_time(until)));
    let next =
        text_of(record.next_step.as_ref().filter(|_| record.state.as_deref() != Some("closed")), |next| format!("→ {}", plain(next)));
    let what = [text(&record.rule), text(&record.key)].join(" ");
    vec![
        text(&record.state),
        text(&record.severity),
        what,
        text(&record.incident),
        by,
        text(&record.reason),
        until,
        text(&record.detail),
        next,
    ]
}

fn accepted_from(record: &LogRecord<'_>) -> String {
    let ehlo = text_of(record.client_ehlo.as_ref(), |name| format!(" ({})", plain(name)));
    let client = text_of(record.client_ip.as_ref(), |ip| format!("client {}{ehlo}", plain(ip)));
    // All its lines name the user; saying it once is enough.
    let user = record.user.as_ref().filter(|_| matches!(&*record.event, "accepted" | "rejected"));
    let user = text_of(user, |user| format!("user {}", plain(user)));
    let notice = text_of(record.notice_of.as_ref(), |of| format!("notice about {}", plain(of)));
    [client, user, notice].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

fn attempt(record: &LogRecord<'_>) -> String {
    match record.attempt {
        Some(n) if n > 1 => format!("try {n}"),
        _ => String::new(),
    }
}

/// The reply in one line, or the local cause of the failure.
fn said(record: &LogRecord<'_>) -> String {
    if let (Some(code), Some(reply)) = (record.smtp_code, &record.smtp_text) {
        return format!("{code} {}", plain(&in_one_line(reply, SAID_MAX)));
    }
    if record.matched_by.is_some() {
        return text_of(record.detail.as_ref(), |detail| plain(&in_one_line(detail, SAID_MAX)).into_owned());
    }
    let stage = text_of(record.smtp_stage.as_ref(), |stage| format!(" at {}", plain(stage)));
    match (&record.cause, &record.detail) {
        (Some(cause), Some(detail)) => format!("{}{stage}: {}", plain(cause), plain(detail)),
        (Some(cause), None) => format!("{}{stage}", plain(cause)),
        _ => String::new(),
    }
}

/// The most characters of a reply shown in a line.
const SAID_MAX: usize = 300;

fn verdict(record: &LogRecord<'_>) -> String {
    match (&record.class, &record.action) {
        (Some(class), Some(action)) => format!("[{} → {}]", plain(class), plain(action)),
        (Some(class), None) => format!("[{}]", plain(class)),
        _ => String::new(),
    }
}

/// How a return (late bounce, complaint, unsubscription) came back and was matched.
pub(crate) fn returned(record: &LogRecord<'_>) -> Vec<String> {
    let Some(by) = &record.matched_by else { return Vec::new() };
    let mut parts = Vec::new();
    parts.extend(record.kind.as_ref().map(|kind| plain(kind).into_owned()));
    parts.extend(record.feedback_type.as_ref().map(|kind| format!("feedback: {}", plain(kind))));
    parts.extend(record.reporting_mta.as_ref().map(|host| format!("reported by {}", plain(host))));
    parts.extend(record.remote_mta.as_ref().map(|host| format!("refused by {}", plain(host))));
    parts.extend(record.names.as_ref().map(|name| format!("naming {}", plain(name))));
    let why = text_of(record.why.as_ref(), |why| format!(" ({})", plain(why)));
    let trust = text_of(record.trust.as_ref(), |trust| format!(": {}{why}", plain(trust)));
    parts.push(format!("matched by {}{trust}", plain(by)));
    parts.extend(record.again.then(|| "told before".to_owned()));
    parts
}

fn flags(record: &LogRecord<'_>) -> String {
    let mut flags = Vec::new();
    if record.ambiguous {
        flags.push(if record.is_ending() { "AMBIGUOUS: it may have arrived twice" } else { "AMBIGUOUS: it may have arrived" });
    }
    if record.recovered {
        flags.push("recovered");
    }
    flags.join(", ")
}

pub(crate) fn timings(record: &LogRecord<'_>) -> String {
    let steps = [
        ("dns", record.dns_ms),
        ("connect", record.connect_ms),
        ("tls", record.tls_ms),
        ("envelope", record.envelope_ms),
        ("body", record.body_ms),
    ];
    let steps: Vec<_> = steps.into_iter().filter_map(|(name, ms)| Some(format!("{name} {}", duration(ms?.into())))).collect();
    steps.join(", ")
}

pub(crate) fn sender(from: &str) -> String {
    if from.is_empty() { "<>".into() } else { plain(from).into_owned() }
}

fn text(field: &Option<LogText<'_>>) -> String {
    text_of(field.as_ref(), |text| plain(text).into_owned())
}

pub(crate) fn text_of(field: Option<&LogText<'_>>, show: impl FnOnce(&str) -> String) -> String {
    field.map(|text| show(text)).unwrap_or_default()
}

/// The date and time of the log in a shorter form, without fractions of a second.
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

/// The text as people may see it.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(Foreign::is_obeyed) { Foreign::new(text).to_string().into() } else { text.into() }
}
