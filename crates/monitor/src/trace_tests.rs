use std::{fs, path::Path};

use posthaste_mail::{Event, MessageId, What};

use crate::{CURRENT, Format, LogRecord, Query, encode, messages_like, samples, samples::*, search, trace};

fn write(path: &Path, events: &[Event]) {
    let mut lines = Vec::new();
    for event in events {
        encode(event, &mut lines);
    }
    fs::write(path, lines).unwrap();
}

fn history(message: MessageId, rcpt: &str) -> Vec<Event> {
    vec![event(0, accepted(message, rcpt, 17)), event(5, deferred(message, rcpt)), event(81, delivered(message, rcpt))]
}

/// Two messages over two files, a refusal, and a damaged line.
fn write_history(dir: &Path) {
    let mut first = history(message_id(1), "b@gmail.com");
    let last = first.pop().unwrap();
    first.push(event(3, accepted(message_id(1), "C@x.org", 17)));
    first.push(samples::each(true).remove(1));
    write(&dir.join("delivery-20260824T100010Z-1.log"), &first);
    let mut second = history(message_id(2), "c@X.org");
    second.push(last);
    write(&dir.join(CURRENT), &second);
    let damaged = format!("{}{{\"message\":\"{}\n", fs::read_to_string(dir.join(CURRENT)).unwrap(), message_id(1));
    fs::write(dir.join(CURRENT), damaged).unwrap();
}

#[test]
fn a_messages_whole_life_is_found_over_all_files() {
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path());
    let found = trace(dir.path(), &Query::Message(message_id(1))).unwrap();
    assert_eq!((found.messages.len(), found.damaged, found.more), (1, 1, false));
    let recipients: Vec<_> = found.messages[0].recipients.iter().map(|r| (r.rcpt.as_str(), r.lines.len())).collect();
    assert_eq!(recipients, [("b@gmail.com", 3), ("C@x.org", 1)]);
    assert_eq!(found.lines().count(), 4);
}

#[test]
fn an_address_is_found_in_any_case_with_its_refusals() {
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path());
    let found = trace(dir.path(), &Query::Address("c@x.ORG".into())).unwrap();
    let messages: Vec<_> = found.messages.iter().map(|history| (history.message, history.recipients[0].lines.len())).collect();
    assert_eq!(messages, [(message_id(1), 1), (message_id(2), 3)]);
    let found = trace(dir.path(), &Query::Address("B@gmail.com".into())).unwrap();
    assert_eq!((found.messages.len(), found.refusals.len()), (1, 1));
    assert!(trace(dir.path(), &Query::Address("@gmail.com".into())).unwrap().is_empty());
}

#[test]
fn a_notice_is_part_of_what_became_of_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let What::Accepted { about, client_ip, client_ehlo, priority, .. } = accepted(message_id(9), "bounce@x.org", 18) else {
        unreachable!()
    };
    let notice =
        What::Accepted { about, client_ip, client_ehlo, priority, spool_seq: 18, notice_of: Some(message_id(1)), recovered: false };
    write(&dir.path().join(CURRENT), &[event(0, accepted(message_id(1), "b@gmail.com", 17)), event(9, notice)]);
    let found = trace(dir.path(), &Query::Message(message_id(1))).unwrap();
    assert_eq!(found.messages.iter().map(|history| history.message).collect::<Vec<_>>(), [message_id(1), message_id(9)]);
    assert!(found.render(Format::default()).contains(&format!("failure notice about {}", message_id(1))));
}

#[test]
fn a_notice_has_its_own_end_whoever_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut notice = event(9, accepted(message_id(9), "sender@x.org", 18));
    if let What::Accepted { notice_of, .. } = &mut notice.what {
        *notice_of = Some(message_id(1));
    }
    let about = [event(0, accepted(message_id(1), "b@gmail.com", 17)), notice, event(10, delivered(message_id(9), "sender@x.org"))];
    write(&dir.path().join(CURRENT), &about);
    let text = trace(dir.path(), &Query::Message(message_id(1))).unwrap().render(Format::default());
    let (_, notice) = text.split_once("sender@x.org").unwrap();
    assert!(notice.contains("= delivered") && !notice.contains("not ended"), "{text}");
}

#[test]
fn a_message_is_found_by_its_message_id_and_by_a_part_of_its_id() {
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path());
    let line = trace(dir.path(), &Query::Message(message_id(1))).unwrap().messages[0].recipients[0].lines[0].clone();
    let given = LogRecord::parse(&line).unwrap().message_id.unwrap().to_string();
    for text in [given.clone(), format!("<{given}>")] {
        let found = trace(dir.path(), &Query::MessageId(text.clone())).unwrap();
        assert!(found.messages.iter().any(|history| history.message == message_id(1)), "{text}: {found:?}");
    }
    assert!(trace(dir.path(), &Query::MessageId(format!("x{given}"))).unwrap().is_empty());
    let id = message_id(1).to_string();
    assert_eq!(messages_like(dir.path(), &id[20..].to_lowercase()).unwrap(), [message_id(1)]);
    assert_eq!(messages_like(dir.path(), &id[..4]).unwrap().len(), 2);
    assert_eq!(messages_like(dir.path(), &id[..3]).unwrap(), []);
    let first = |what: &str| search(dir.path(), what).unwrap().messages.first().map(|history| history.message);
    for what in [id.clone(), id.to_lowercase(), id[20..].to_owned(), format!("Message-ID: <{given}>"), given] {
        assert_eq!(first(&what), Some(message_id(1)), "{what}");
    }
    assert_eq!(first("c@X.ORG"), Some(message_id(1)));
    assert_eq!(first("<c@x.org>"), Some(message_id(1)));
    assert_eq!(first("nothing"), None);
    assert_eq!(search(dir.path(), &id[..4]).unwrap().candidates, [message_id(1), message_id(2)]);
}

/// Compares with a file in `goldens/`; `UPDATE_GOLDENS=1` writes it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/goldens").join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn a_trace_reads_like_its_golden() {
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path());
    golden("trace.txt", &trace(dir.path(), &Query::Message(message_id(1))).unwrap().render(Format::default()));
}

#[test]
fn every_event_is_one_readable_line() {
    let mut text = String::new();
    for event in samples::each(true).iter().chain(&samples::each(false)) {
        let mut line = Vec::new();
        encode(event, &mut line);
        let record = LogRecord::parse(&line).unwrap();
        let shown = Format::default().line(&record);
        assert!(!shown.contains(char::is_control), "{shown:?}");
        let coloured = Format { colour: true, width: None }.line(&record);
        assert!(coloured.contains("\x1b[") && coloured.ends_with(|c: char| !c.is_whitespace()));
        let folded = Format { colour: false, width: Some(80) }.line(&record);
        let words = |text: &str| text.split_whitespace().map(str::len).max().unwrap_or(0);
        assert!(folded.lines().all(|line| line.chars().count() <= 80 || words(line) > 70), "{folded}");
        if let (Some(message), true) = (&record.message, folded.contains('\n')) {
            assert!(!folded.contains(&**message) && folded.contains(&message[18..]), "{folded}");
        }
        text += &shown;
        text.push('\n');
    }
    golden("lines.txt", &text);
}

#[test]
fn no_reply_can_command_the_terminal() {
    let line = br#"{"time":"2026-08-24T10:11:12.345Z","event":"bounced","message":"\u001b[2J","rcpt":"a\u202eb@x","smtp_code":550,"smtp_text":"\u001b]0;x\u0007\u009b\r"}"#;
    let record = LogRecord::parse(line).unwrap();
    let shown = Format::default().line(&record);
    assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
}

#[test]
fn events_and_fields_from_the_future_are_taken_as_they_are() {
    let record = LogRecord::parse(br#"{"time":"2027-01-01T00:00:00.000Z","event":"opened","message":"x","new":{"a":[1]},"v":2}"#).unwrap();
    assert_eq!(Format::default().line(&record), "2027-01-01 00:00:00.000 opened      x");
    assert!(LogRecord::parse(b"{\"event\":\"opened\"").is_none());
}
