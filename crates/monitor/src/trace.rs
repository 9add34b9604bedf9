//! The whole history of a message, or of everything sent to an address.

use std::{fmt::Write, ops::ControlFlow, path::Path};

use memchr::memmem;
use posthaste_mail::MessageId;

use crate::{
    Format, Key, Lines, LogError, LogRecord, Lookup, MessageIndex, OtherHostRecord,
    filter::Needle,
    format::{clock_time, duration, plain, returned, sender, text_of, timings},
    index::bare,
    record::event_word,
};

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// A message and the notices about it.
    Message(MessageId),
    /// The messages with this Message-ID, in angle brackets or without, and the notices about them.
    MessageId(String),
    /// Everything sent to an address or refused for it, without regard to case.
    Address(String),
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The messages in the order of their first lines.
    pub messages: Vec<MessageHistory>,
    /// Lines without a message: refusals at submission.
    pub refusals: Vec<Vec<u8>>,
    /// True if there were more lines than [`Trace::LINES_MAX`].
    pub more: bool,
    /// Lines that hold the id or address but could not be parsed.
    pub damaged: u64,
    /// The messages that were meant, if it is not clear which.
    pub candidates: Vec<MessageId>,
    taken: usize,
}

/// The history of one message.
#[derive(Clone, Debug)]
pub struct MessageHistory {
    /// Its id.
    pub message: MessageId,
    /// Its recipients in the order of their first lines.
    pub recipients: Vec<RecipientHistory>,
}

/// One recipient of one message.
#[derive(Clone, Debug)]
pub struct RecipientHistory {
    /// The address.
    pub rcpt: String,
    /// The lines as written in the log, in order.
    pub lines: Vec<Vec<u8>>,
    /// What it waits for now, as the running relay says; None: that is not known.
    pub now: Option<String>,
}

/// Searches the log; a line is parsed only if it holds the id or the address.
pub fn trace(dir: &Path, query: &Query) -> Result<Trace, LogError> {
    match query {
        Query::Message(id) => with_notices(&MessageIndex::new(dir).open()?, *id),
        Query::MessageId(text) => {
            let (log, mut found) = (MessageIndex::new(dir).open()?, Trace::default());
            for id in messages_with(&log, text)? {
                found.add(with_notices(&log, id)?);
            }
            Ok(found)
        }
        Query::Address(address) => {
            let (needle, mut found, mut lines) = (Needle::new(address), Trace::default(), Lines::all(dir));
            let is_it = |record: &LogRecord<'_>| record.rcpt.as_ref().is_some_and(|rcpt| rcpt.eq_ignore_ascii_case(address));
            while let Some(line) = lines.next_line()? {
                if needle.is_in(line.bytes) && found.look(line.bytes, is_it).is_break() {
                    break;
                }
            }
            Ok(found)
        }
    }
}

/// The history of a message, and that of each notice about it to its own end.
fn with_notices(log: &Lookup, id: MessageId) -> Result<Trace, LogError> {
    let mut found = trace_message(log, id)?;
    let notices: Vec<MessageId> = found.messages.iter().map(|history| history.message).filter(|notice| *notice != id).collect();
    found.messages.retain(|history| history.message == id);
    for notice in notices {
        found.add(trace_message(log, notice)?);
    }
    Ok(found)
}

/// The messages with this Message-ID, in the order of their acceptance.
fn messages_with(log: &Lookup, text: &str) -> Result<Vec<MessageId>, LogError> {
    let (bare, mut ids) = (bare(text), Vec::new());
    log.lines(&Key::message_id(text), |line| {
        let record = LogRecord::parse(line).filter(|record| *record.event == *"accepted");
        let given = record.as_ref().and_then(|record| record.message_id.as_ref()).is_some_and(|given| self::bare(given) == bare);
        ids.extend(record.filter(|_| given).and_then(|record| record.message()).filter(|id| !ids.contains(id)));
        ControlFlow::Continue(())
    })?;
    Ok(ids)
}

/// The most messages that are named where a part of an id is ambiguous.
pub const MANY: usize = 10;
/// The shortest part of an id that is looked for.
const PART_MIN: usize = 4;

/// What `what` names in the log: a message by its id, a part of that, or its Message-ID (as a header field, too); or a recipient's address.
///
/// # Errors
/// The disk fails.
pub fn search(dir: &Path, what: &str) -> Result<Trace, LogError> {
    let (what, field) = without_field(what);
    if let Ok(id) = what.parse() {
        return trace(dir, &Query::Message(id));
    }
    let like = messages_like(dir, what)?;
    match &like[..] {
        [] => {}
        [id] => return trace(dir, &Query::Message(*id)),
        _ => return Ok(Trace { candidates: like, ..Trace::default() }),
    }
    let is_address = what.contains('@') && !what.starts_with('<') && !field;
    let (address, message_id) = (Query::Address(bare(what).to_owned()), Query::MessageId(what.to_owned()));
    let (first, then) = if is_address { (address, message_id) } else { (message_id, address) };
    let found = trace(dir, &first)?;
    if found.is_empty() && what.contains('@') { trace(dir, &then) } else { Ok(found) }
}

/// The header field in which a customer forwards a Message-ID.
const FIELD: &str = "Message-ID:";

/// The messages that `text` names: by an id, a part of one, or a Message-ID (as a header field, too). At most [`MANY`]; none for other text.
///
/// # Errors
/// The disk fails.
pub fn messages_named(dir: &Path, text: &str) -> Result<Vec<MessageId>, LogError> {
    let (text, _) = without_field(text);
    match text.parse() {
        Ok(id) => Ok(vec![id]),
        Err(_) if text.contains('@') => {
            let mut ids = messages_with(&MessageIndex::new(dir).open()?, text)?;
            ids.truncate(MANY);
            Ok(ids)
        }
        Err(_) => messages_like(dir, text),
    }
}

/// The text without the name of the header field, and whether it had that.
fn without_field(text: &str) -> (&str, bool) {
    let text = text.trim();
    match text.get(..FIELD.len()).is_some_and(|name| name.eq_ignore_ascii_case(FIELD)) {
        true => (text[FIELD.len()..].trim(), true),
        false => (text, false),
    }
}

/// The messages whose ids hold `part`, without regard to case, in the order of their acceptance: at most [`MANY`]. None for what can be no part
/// of an id.
///
/// # Errors
/// The disk fails.
pub fn messages_like(dir: &Path, part: &str) -> Result<Vec<MessageId>, LogError> {
    let part = part.to_ascii_uppercase();
    // Crockford's alphabet, as in ULIDs.
    let is_digit = |b: u8| b.is_ascii_digit() || (b.is_ascii_uppercase() && !b"ILOU".contains(&b));
    if part.len() < PART_MIN || !part.bytes().all(is_digit) {
        return Ok(Vec::new());
    }
    let (finder, mut lines, mut ids) = (memmem::Finder::new(&part), Lines::all(dir), Vec::new());
    while ids.len() < MANY
        && let Some(line) = lines.next_line()?
    {
        if finder.find(line.bytes).is_none() || event_word(line.bytes) != Some("accepted") {
            continue;
        }
        let id = LogRecord::parse(line.bytes).and_then(|record| record.message());
        ids.extend(id.filter(|id| id.to_string().contains(&part) && !ids.contains(id)));
    }
    Ok(ids)
}

/// The history of a message, from the places that the index knows.
pub fn trace_message(log: &Lookup, id: MessageId) -> Result<Trace, LogError> {
    let (text, mut found) = (id.to_string(), Trace::default());
    let is_it = |record: &LogRecord<'_>| [&record.message, &record.notice_of].into_iter().flatten().any(|m| **m == *text);
    log.lines(&Key::message(id), |line| found.look(line, is_it))?;
    Ok(found)
}

impl Trace {
    /// The most lines in a trace.
    pub const LINES_MAX: usize = 100_000;

    /// The same from lines that another process found.
    pub fn of_lines<'l>(lines: impl IntoIterator<Item = &'l [u8]>, candidates: Vec<MessageId>) -> Self {
        let mut found = Self { candidates, ..Self::default() };
        for line in lines {
            if let Some(record) = LogRecord::parse(line) {
                found.take(&record, line);
            }
        }
        found
    }

    /// Takes a line if it is one that is looked for. Breaks off when there are enough.
    fn look(&mut self, line: &[u8], is_it: impl Fn(&LogRecord<'_>) -> bool) -> ControlFlow<()> {
        match LogRecord::parse(line) {
            Some(record) if is_it(&record) => self.take(&record, line),
            Some(_) => return ControlFlow::Continue(()),
            None => self.damaged += 1,
        }
        self.taken += 1;
        self.more = self.taken == Self::LINES_MAX;
        if self.more { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Adds the messages that another one found.
    fn add(&mut self, other: Self) {
        for history in other.messages {
            if self.messages.iter().all(|known| known.message != history.message) {
                self.messages.push(history);
            }
        }
        self.refusals.extend(other.refusals);
        (self.more, self.damaged) = (self.more || other.more, self.damaged + other.damaged);
    }

    fn take(&mut self, record: &LogRecord<'_>, line: &[u8]) {
        let (Some(message), Some(rcpt)) = (record.message(), record.rcpt.as_deref()) else {
            self.refusals.push(line.to_vec());
            return;
        };
        // Search from the back: the lines of one message are close together.
        let history = match self.messages.iter().rposition(|history| history.message == message) {
            Some(at) => &mut self.messages[at],
            None => {
                self.messages.push(MessageHistory { message, recipients: Vec::new() });
                self.messages.last_mut().expect("just pushed")
            }
        };
        match history.recipients.iter_mut().find(|r| r.rcpt == rcpt) {
            Some(recipient) => recipient.lines.push(line.to_vec()),
            None => history.recipients.push(RecipientHistory { rcpt: rcpt.to_owned(), lines: vec![line.to_vec()], now: None }),
        }
    }

    /// Every line as written in the log, by message and recipient.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let recipients = self.messages.iter().flat_map(|history| &history.recipients);
        recipients.flat_map(|r| &r.lines).chain(&self.refusals).map(Vec::as_slice)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.refusals.is_empty()
    }

    /// A text for people: each message, each recipient, each attempt with its reply.
    pub fn render(&self, format: Format) -> String {
        let mut out = String::new();
        for history in &self.messages {
            history.render(format, &mut out);
        }
        for record in self.refusals.iter().filter_map(|line| LogRecord::parse(line)) {
            let _ = writeln!(out, "{}", format.line(&record));
        }
        if self.more {
            let _ = writeln!(out, "… and more: only the first {} lines are shown", Self::LINES_MAX);
        }
        out
    }
}

impl MessageHistory {
    fn render(&self, format: Format, out: &mut String) {
        let first = self.recipients.first().and_then(|r| r.lines.first()).and_then(|line| LogRecord::parse(line));
        let _ = write!(out, "message {}", format.bold(&self.message.to_string()));
        if let Some(record) = first {
            let _ = write!(out, "{}", text_of(record.message_id.as_ref(), |id| format!("  {}", plain(id))));
            let _ = write!(out, "\n  from {}", text_of(record.from.as_ref(), sender));
            let _ = write!(out, "{}", text_of(record.stream.as_ref(), |stream| format!("  stream {}", plain(stream))));
            let _ = write!(out, "{}", record.size.map(|size| format!("  {size} bytes")).unwrap_or_default());
            let tags: Vec<_> = record.tags.iter().map(|tag| plain(tag)).collect();
            let _ = write!(out, "{}", if tags.is_empty() { String::new() } else { format!("  tags {}", tags.join(", ")) });
            let meta: Vec<_> = record.meta.iter().map(|fact| plain(fact)).collect();
            let _ = write!(out, "{}", if meta.is_empty() { String::new() } else { format!("  {}", meta.join(" ")) });
            let _ = write!(out, "{}", text_of(record.notice_of.as_ref(), |of| format!("  failure notice about {}", plain(of))));
        }
        out.push('\n');
        for recipient in &self.recipients {
            recipient.render(format, out);
        }
        out.push('\n');
    }
}

impl RecipientHistory {
    /// Whether the log has its ending.
    pub fn has_ended(&self) -> bool {
        self.lines.iter().filter_map(|line| LogRecord::parse(line)).any(|record| record.is_ending())
    }

    fn render(&self, format: Format, out: &mut String) {
        let records: Vec<_> = self.lines.iter().filter_map(|line| LogRecord::parse(line)).collect();
        let _ = writeln!(out, "  to {}", format.bold(&plain(&self.rcpt)));
        for record in &records {
            render_event(record, format, out);
        }
        let now = self.now.as_ref().map(|now| format!("= not ended: {now}"));
        let _ = writeln!(out, "    {}", now.unwrap_or_else(|| ending(&records)));
    }
}

fn ending(records: &[LogRecord<'_>]) -> String {
    let Some(end) = records.iter().rev().find(|record| record.is_ending()) else {
        return match records.iter().rev().find_map(|record| record.retry_at.as_ref()) {
            Some(at) => format!("= not ended; next try at {}", clock_time(at)),
            None => "= not ended".into(),
        };
    };
    let after = end.age_ms.map(|ms| format!(" after {}", duration(ms))).unwrap_or_default();
    let tries = match end.attempt {
        Some(0) | None => String::new(),
        Some(1) => ", 1 try".into(),
        Some(n) => format!(", {n} tries"),
    };
    format!("= {}{after}{tries}", plain(&end.event))
}

/// A record's headline, and below it the reply and details, line by line.
fn render_event(record: &LogRecord<'_>, format: Format, out: &mut String) {
    let time = clock_time(&record.time_text);
    let _ = writeln!(out, "    {} {}  {}", format.dim(&time), format.event(&record.event, 9), headline(record));
    let mut below = |text: &str| {
        let _ = writeln!(out, "{:24}{text}", "");
    };
    if let (Some(code), Some(reply)) = (record.smtp_code, &record.smtp_text) {
        let stage = text_of(record.smtp_stage.as_ref(), |stage| format!("{}: ", plain(stage)));
        for (i, line) in reply.split('\n').enumerate() {
            let lead = if i == 0 { format!("{stage}{code} ") } else { " ".repeat(stage.chars().count() + 4) };
            below(&format!("{lead}{}", plain(line)));
        }
    }
    if let (true, Some(detail)) = (record.matched_by.is_some() || *record.event == *"held", &record.detail) {
        detail.split('\n').for_each(|line| below(&plain(line)));
    }
    if let Some(cause) = &record.cause {
        let stage = text_of(record.smtp_stage.as_ref(), |stage| format!(" at {}", plain(stage)));
        let detail = text_of(record.detail.as_ref(), |detail| format!(": {}", plain(detail)));
        below(&format!("{}{stage}{detail}", plain(cause)));
    }
    record.other_hosts.iter().for_each(|other| below(&elsewhere(other)));
    if record.ambiguous {
        below(match &*record.event {
            "delivered" => "an earlier try may have arrived as well",
            _ => "the connection died behind the final dot: it may have arrived",
        });
    }
    for line in [verdict(record), returned(record).join(", "), protection(record), timings(record)].iter().filter(|line| !line.is_empty()) {
        below(line);
    }
}

/// What another host said to which the attempt offered the message.
fn elsewhere(other: &OtherHostRecord<'_>) -> String {
    let ip = text_of(other.mx_ip.as_ref(), |ip| format!(" [{}]", plain(ip)));
    let stage = text_of(other.smtp_stage.as_ref(), |stage| format!(" at {}", plain(stage)));
    let cause = text_of(other.cause.as_ref(), |cause| plain(cause).into_owned());
    let said = match (other.smtp_code, &other.smtp_text) {
        (Some(code), Some(text)) => format!("{code} {}", plain(&text.replace('\n', " "))),
        _ => format!("{cause}{}", text_of(other.detail.as_ref(), |detail| format!(": {}", plain(detail)))),
    };
    format!("not taken by {}{ip}{stage}: {said}", text_of(other.mx_host.as_ref(), |host| plain(host).into_owned()))
}

fn headline(record: &LogRecord<'_>) -> String {
    let mut parts = Vec::new();
    parts.extend(record.attempt.filter(|n| *n > 0).map(|n| format!("try {n}")));
    let ip = |ip: Option<&crate::LogText<'_>>| text_of(ip, |ip| format!(" [{}]", plain(ip)));
    let source_ip = ip(record.source_ip.as_ref());
    parts.extend(record.source.as_ref().map(|source| format!("by {}{source_ip}", plain(source))));
    let mx_ip = ip(record.mx_ip.as_ref());
    parts.extend(record.mx_host.as_ref().map(|host| format!("to {}{mx_ip}", plain(host))));
    parts.extend(record.provider.as_ref().map(|provider| format!("({})", plain(provider))));
    let ehlo = text_of(record.client_ehlo.as_ref(), |name| format!(" ({})", plain(name)));
    parts.extend(record.client_ip.as_ref().map(|ip| format!("from client {}{ehlo}", plain(ip))));
    parts.extend(record.recovered.then(|| "found in the spool after a crash".to_owned()));
    parts.extend(record.by.as_ref().map(|by| format!("by {}", plain(by))));
    parts.extend(record.reason.as_ref().map(|reason| plain(reason).into_owned()));
    parts.extend(record.until.as_ref().map(|until| format!("until {}", clock_time(until))));
    parts.join(" ")
}

fn verdict(record: &LogRecord<'_>) -> String {
    let class = text_of(record.class.as_ref(), |class| plain(class).into_owned());
    let action = text_of(record.action.as_ref(), |action| format!(" → {}", plain(action)));
    let rule = text_of(record.rule.as_ref(), |rule| format!(" (rule {})", plain(rule)));
    let retry = text_of(record.retry_at.as_ref(), |at| format!("; next try at {}", clock_time(at)));
    format!("{class}{action}{rule}{retry}").trim_start_matches([';', ' ']).to_owned()
}

fn protection(record: &LogRecord<'_>) -> String {
    let mut parts = Vec::new();
    parts.extend(record.tls_version.as_ref().map(|version| plain(version).into_owned()));
    parts.extend(record.tls_cipher.as_ref().map(|cipher| plain(cipher).into_owned()));
    parts.extend(record.tls_verified.map(|verified| if verified { "verified".to_owned() } else { "not verified".to_owned() }));
    parts.extend(record.tls_policy.as_ref().map(|policy| format!("policy {}", plain(policy))));
    parts.extend(record.tls_fallback.as_ref().map(|why| format!("in plain text: {}", plain(why))));
    parts.join(", ")
}
