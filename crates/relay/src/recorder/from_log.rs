//! What the log tells of a message: the last answer to it, and its record. The record of a message is as its `accepted` lines in the delivery log tell it, for one whose record in the spool cannot be read: what becomes of
//! its recipients can be written down all the same.

use std::ops::ControlFlow;

use posthaste_journal::Journal;
use posthaste_mail::{Answered, Failure, LocalCause, MessageId, Reply};
use posthaste_message::MessageRecord;
use posthaste_monitor::{Key, LogError, LogRecord, LogText};
use posthaste_queue::{AttemptResult, FateRecord, Next};
use serde_json::{Map, Value, json};

/// The record that the log knows of, with its recipients in their order, but without what was asked for in ESMTP parameters. None: the log has no
/// longer got its lines. Blocks until the log is durable.
///
/// # Errors
/// The log cannot be read.
pub(super) fn record(journal: &Journal, id: MessageId) -> Result<Option<MessageRecord>, LogError> {
    journal.flush()?;
    let (mut record, mut recipients) = (None, Vec::new());
    journal.index().caught_up()?.lines(&Key::message(id), |line| {
        if let Some(accepted) = LogRecord::parse(line).filter(|line| &*line.event == "accepted" && line.message() == Some(id)) {
            let rcpt = Value::from(accepted.rcpt.as_deref().unwrap_or_default());
            // A crash may have had a line written twice.
            if !recipients.contains(&rcpt) {
                recipients.push(rcpt);
            }
            record.get_or_insert_with(|| facts(id, &accepted));
        }
        ControlFlow::Continue(())
    })?;
    let Some(mut record) = record else { return Ok(None) };
    record["envelope"]["recipients"] = recipients.into();
    Ok(MessageRecord::decode(record.to_string().as_bytes()).ok())
}

/// For recipients that end without an attempt: the last answer to an earlier one, if there was one, so that it is not lost.
pub(super) fn recall(journal: &Journal, record: &mut FateRecord, message: &MessageRecord) {
    let id = record.id;
    for fate in record.fates.iter_mut().filter(|fate| fate.attempt > 0 && fate.earlier.is_none() && fate.next == Next::Expired) {
        let Some(AttemptResult::Failed(Failure::Local { cause: LocalCause::NoBudget | LocalCause::TooLate, detail, .. }, _)) =
            &mut fate.said
        else {
            continue;
        };
        let Some(rcpt) = message.envelope.recipients.get(usize::from(fate.rcpt)) else { continue };
        match last_answer(journal, id, rcpt.as_str()) {
            Ok(Some(answer)) => {
                *detail += &format!("; {answer}");
                fate.earlier = Some(Box::new(answer));
            }
            Ok(None) => {}
            Err(error) => tracing::error!(message = %id, "the log cannot be read for the last answer to a message that expired: {error}"),
        }
    }
}

/// What the last host that answered an attempt to deliver to this recipient said.
fn last_answer(journal: &Journal, id: MessageId, rcpt: &str) -> Result<Option<Answered>, LogError> {
    let mut last = None;
    journal.index().caught_up()?.lines(&Key::message(id), |line| {
        let is_its = |line: &LogRecord<'_>| {
            *line.event == *"deferred" && line.message() == Some(id) && line.rcpt.as_deref().is_some_and(|of| of.eq_ignore_ascii_case(rcpt))
        };
        if let Some(line) = LogRecord::parse(line).filter(is_its)
            && let (Some(code), Some(stage)) = (line.smtp_code, line.smtp_stage.as_deref().and_then(|stage| stage.parse().ok()))
        {
            let reply = Reply::new(code, line.smtp_text.as_deref().unwrap_or_default());
            last = Some(Answered { mx_host: line.mx_host.as_deref().map(Into::into), stage, reply });
        }
        ControlFlow::Continue(())
    })?;
    Ok(last)
}

/// What an `accepted` line says of a message, under the names that its record has.
fn facts(id: MessageId, line: &LogRecord<'_>) -> Value {
    let list = |texts: &[LogText<'_>]| texts.iter().map(|text| Value::from(&**text)).collect::<Vec<_>>();
    let mut facts = Map::new();
    let known = [
        ("message_id", &line.message_id),
        ("client_ip", &line.client_ip),
        ("client_ehlo", &line.client_ehlo),
        ("user", &line.user),
        ("notice_of", &line.notice_of),
    ];
    facts.extend(known.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(&**text.as_ref()?)))));
    let stream = line.stream.as_deref().unwrap_or_default();
    let envelope = json!({"reverse_path": line.from.as_deref().unwrap_or_default(), "recipients": []});
    let rest = json!({"id": id.to_string(), "arrived": id.time(), "stream": stream, "tags": list(&line.tags), "meta": list(&line.meta),
        "size": line.size.unwrap_or(0), "envelope": envelope});
    if let Value::Object(rest) = rest {
        facts.extend(rest);
    }
    Value::Object(facts)
}
