//! The record of a message as its `accepted` lines in the delivery log tell it, for one whose record in the spool cannot be read: what becomes of
//! its recipients can be written down all the same.

use std::ops::ControlFlow;

use posthaste_journal::Journal;
use posthaste_mail::MessageId;
use posthaste_message::MessageRecord;
use posthaste_monitor::{Key, LogError, LogRecord, LogText};
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
