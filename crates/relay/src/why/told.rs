//! What the delivery log tells: the last answer to a recipient that waits, and the latest endings.

use std::path::Path;

use posthaste_bounce::{Context, Rules, Verdict};
use posthaste_delivery::logins;
use posthaste_mail::{Action, Class, Failure, LocalCause, MessageId, Reply, Stage};
use posthaste_monitor::{Backward, LineFilter, LineFinder, Lines, LogError, LogRecord, Lookup, trace_message};
use posthaste_queue::LOGIN_RULE;
use serde::{Deserialize, Serialize};

/// The most endings that are told.
const ENDINGS_MAX: usize = 5;
/// How much of the log's end is searched for endings: a few seconds' reading at most.
const ENDINGS_BYTES: u64 = 128 << 20;

/// A line of the log about a recipient, with what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When, as in the log.
    pub time: String,
    /// The event.
    pub event: String,
    /// The message.
    pub message: Option<MessageId>,
    /// The recipient.
    pub address: String,
    /// The host that answered, or that was not reached.
    pub host: Option<String>,
    /// What the attempt had come to: `connect`, `rcpt`, ...
    pub stage: Option<String>,
    /// What it means, in one word.
    #[serde(skip)]
    pub class: Option<Class>,
    /// The reply as it was received, or what failed.
    pub said: Option<String>,
    /// What it means, as a sentence without its full stop.
    pub meaning: Option<String>,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Told {
    /// What this line tells.
    pub fn of(record: &LogRecord<'_>, rules: &Rules) -> Self {
        let text = |field: &Option<posthaste_monitor::LogText<'_>>| field.as_ref().map(ToString::to_string);
        let verdict = verdict(record, rules);
        let said = match (record.smtp_code, &record.smtp_text, &record.detail, &record.cause) {
            (Some(code), Some(reply), ..) => Some(format!("{code} {reply}")),
            (_, _, Some(detail), _) => Some(detail.to_string()),
            (_, _, None, Some(cause)) => Some(cause.to_string()),
            _ => text(&record.reason),
        };
        Self {
            time: record.time_text.to_string(),
            event: record.event.to_string(),
            message: record.message(),
            address: text(&record.rcpt).unwrap_or_default(),
            host: text(&record.mx_host),
            stage: text(&record.smtp_stage),
            said,
            class: verdict.as_ref().map(|verdict| verdict.class),
            advice: verdict.as_ref().map(|verdict| remedy(failure(record).as_ref(), verdict).to_owned()),
            meaning: verdict.map(|verdict| verdict.why.to_string()),
        }
    }
}

/// What the failure in this line means by the rules in force; None: it tells of none.
fn verdict(record: &LogRecord<'_>, rules: &Rules) -> Option<Verdict> {
    if *record.event == *"delivered" {
        return None;
    }
    let failure = failure(record)?;
    // A smart host's refusal of the login was judged by the relay itself: no rule about receivers knows whose login it is.
    if record.rule.as_deref() == Some(LOGIN_RULE) {
        return Some(logins::verdict(&failure, record.class.as_deref() == Some(Class::RelayingDenied.as_str())));
    }
    let context = Context { provider: record.provider.as_deref(), mx_host: record.mx_host.as_deref() };
    Some(rules.classify(&failure, &context))
}

/// The failure in this line, if it tells of one.
fn failure(record: &LogRecord<'_>) -> Option<Failure> {
    let stage: Stage = record.smtp_stage.as_deref().and_then(|word| word.parse().ok()).unwrap_or(Stage::Connect);
    match (record.smtp_code, &record.smtp_text, &record.cause) {
        (Some(code), Some(reply), _) => Some(Failure::Refused { stage, reply: Reply::new(code, reply.to_string()) }),
        (_, _, Some(cause)) => {
            let cause: LocalCause = cause.parse().ok()?;
            Some(Failure::Local { stage, cause, detail: record.detail.as_deref().unwrap_or_default().to_owned() })
        }
        _ => None,
    }
}

/// What an operator does about a failure.
fn remedy(failure: Option<&Failure>, verdict: &Verdict) -> &'static str {
    match failure {
        Some(failure) if *verdict.rule == *LOGIN_RULE => logins::remedy(failure, verdict.class == Class::RelayingDenied),
        Some(Failure::Local { cause: LocalCause::TlsFailed | LocalCause::TlsRequired, .. }) => TLS_REMEDY,
        _ => advice(verdict),
    }
}

/// What helps where the receiver's TLS does not do.
const TLS_REMEDY: &str = "have the receiver's operator mend its TLS, add its authority to tls.roots if you trust it, or give its domain another \
                          policy in [tls.domain]; until then it is tried again";

/// What a verdict asks the operator to do.
pub fn advice(verdict: &Verdict) -> &'static str {
    match verdict.action {
        Action::Suppress => "send no more mail to this address",
        Action::Retry => "wait: it is tried again",
        // A listing or a bad name does not go away by sending less.
        Action::SlowDown if verdict.class == Class::IpReputation => {
            "find out why the sending address is distrusted (the reply says by whom) and send less from it until then"
        }
        Action::SlowDown => "send less, over fewer connections",
        Action::PauseLane => "stop sending to this receiver from here until the cause is found",
        Action::FixConfiguration => "fix DNS, authentication or the relay's settings",
        Action::FixMessage => "change the message",
        Action::None => "nothing can be done from here",
    }
}

/// The last answer to a recipient of a message; None: it was not tried yet.
pub(crate) fn last_answer(log: &Lookup, rules: &Rules, message: MessageId, address: &str) -> Result<Option<Told>, LogError> {
    let found = trace_message(log, message)?;
    let own = found.messages.iter().filter(|history| history.message == message).flat_map(|history| &history.recipients);
    let lines = own.filter(|recipient| recipient.rcpt.eq_ignore_ascii_case(address)).flat_map(|recipient| &recipient.lines);
    let mut answers = lines.filter_map(|line| LogRecord::parse(line)).filter(|record| *record.event == *"deferred");
    Ok(answers.next_back().map(|record| Told::of(&record, rules)))
}

/// The latest endings that match, and what came back after them; the latest first.
pub(crate) fn endings(dir: &Path, rules: &Rules, filter: LineFilter) -> Result<Vec<Told>, LogError> {
    let finder = LineFinder::new(filter);
    let is_end = |record: &LogRecord<'_>| record.is_ending() || matches!(&*record.event, "late_bounced" | "complained" | "unsubscribed");
    let stop = Backward { bytes: ENDINGS_BYTES, ..Backward::last(ENDINGS_MAX) };
    let (found, _) = Lines::last(dir, stop, |line| finder.find(line).is_some_and(|record| is_end(&record)))?;
    Ok(found.iter().rev().filter_map(|line| LogRecord::parse(line)).map(|record| Told::of(&record, rules)).collect())
}

/// The domains of a message's recipients, by the log.
pub(crate) fn domains_of(log: &Lookup, message: MessageId) -> Result<Vec<String>, LogError> {
    let found = trace_message(log, message)?;
    let lines = found.messages.iter().filter(|history| history.message == message).flat_map(|history| &history.recipients);
    let lines = lines.filter_map(|recipient| recipient.lines.first()).filter_map(|line| LogRecord::parse(line));
    Ok(lines.filter_map(|record| record.domain.map(|domain| domain.to_string())).collect())
}
