//! What the log tells of a message, by recipient, and how those stand that still wait.

use posthaste_mail::MessageId;
use posthaste_monitor::LogRecord;
use posthaste_queue::Standing;
use posthaste_relay::desk::Listed;
use serde_json::{Value, json};

use crate::{pages::standing, words::counted};

/// The history of a message.
pub(super) struct History<'l> {
    /// Its recipients in the order of their first lines.
    pub(super) recipients: Vec<Recipient<'l>>,
    /// The failure notices about it.
    pub(super) notices: Vec<MessageId>,
    /// Its row in the queue, if it waits.
    pub(super) queued: Option<&'l Listed>,
}

/// One recipient.
pub(super) struct Recipient<'l> {
    /// The address.
    pub(super) address: String,
    /// The lines, in order, and as they stand in the log.
    pub(super) lines: Vec<(LogRecord<'l>, &'l str)>,
    /// How it stands; None: it waits for nothing.
    pub(super) waits: Option<&'l Standing>,
}

impl<'l> History<'l> {
    /// The message's history in these lines of the log, and its row in the queue.
    pub(super) fn read(id: MessageId, lines: &'l [String], queued: Option<&'l Listed>) -> Self {
        let mut history = Self { recipients: Vec::new(), notices: Vec::new(), queued };
        for line in lines {
            let Some(record) = LogRecord::parse(line.as_bytes()) else { continue };
            match record.message() {
                Some(message) if message == id => history.add(record, line),
                Some(notice) if !history.notices.contains(&notice) => history.notices.push(notice),
                _ => {}
            }
        }
        let rows = queued.iter().flat_map(|listed| listed.addresses.iter().zip(&listed.row.standing));
        for (address, waits) in rows {
            match history.recipients.iter_mut().find(|recipient| recipient.address.eq_ignore_ascii_case(address)) {
                Some(recipient) => recipient.waits = Some(waits),
                None => history.recipients.push(Recipient { address: address.clone(), lines: Vec::new(), waits: Some(waits) }),
            }
        }
        history
    }

    fn add(&mut self, record: LogRecord<'l>, line: &'l str) {
        let address = record.rcpt.as_deref().unwrap_or_default();
        // The lines of a recipient stand together.
        match self.recipients.last_mut().filter(|recipient| recipient.address == address) {
            Some(recipient) => recipient.lines.push((record, line)),
            None => self.recipients.push(Recipient { address: address.to_owned(), lines: vec![(record, line)], waits: None }),
        }
    }

    /// The first line about it.
    pub(super) fn first(&self) -> Option<&LogRecord<'l>> {
        self.recipients.iter().find_map(|recipient| recipient.lines.first()).map(|(record, _)| record)
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }

    /// What became of it, in a sentence.
    pub(super) fn sentence(&self) -> String {
        let mut states: Vec<(String, u64)> = Vec::new();
        for recipient in &self.recipients {
            let state = recipient.state();
            match states.iter_mut().find(|(known, _)| *known == state) {
                Some((_, n)) => *n += 1,
                None => states.push((state, 1)),
            }
        }
        let all = counted(self.recipients.len() as u64, "recipient", "recipients");
        match states.as_slice() {
            [(state, _)] => format!("{all}: {state}"),
            _ => format!("{all}: {}", states.iter().map(|(state, n)| format!("{n} {state}")).collect::<Vec<_>>().join(", ")),
        }
    }

    /// The same for machines.
    pub(super) fn data(&self, id: MessageId) -> Value {
        let recipient = |recipient: &Recipient<'_>| {
            let lines: Vec<Value> = recipient.lines.iter().filter_map(|(_, line)| serde_json::from_str(line).ok()).collect();
            json!({ "rcpt": recipient.address, "state": recipient.state(), "waits": recipient.waits, "lines": lines })
        };
        let recipients: Vec<Value> = self.recipients.iter().map(recipient).collect();
        json!({ "message": id, "sentence": self.sentence(), "recipients": recipients, "notices": self.notices })
    }
}

impl Recipient<'_> {
    /// The line that ends it.
    pub(super) fn ending(&self) -> Option<&LogRecord<'_>> {
        self.lines.iter().rev().map(|(record, _)| record).find(|record| record.is_ending())
    }

    /// How it stands, in a few words.
    pub(super) fn state(&self) -> String {
        match (self.ending(), self.waits) {
            (Some(end), _) => end.event.to_string(),
            (None, Some(waits)) => standing::state(waits).0.into(),
            (None, None) => "not ended".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01KAQ2V3W4X5Y6Z7A8B9C0D1E2";
    const NOTICE: &str = "01KAQ2V3W4X5Y6Z7A8B9C0D1E3";

    fn line(event: &str, message: &str, rcpt: &str) -> String {
        format!(r#"{{"time":"2026-11-29T13:59:01Z","event":"{event}","message":"{message}","rcpt":"{rcpt}"}}"#)
    }

    #[test]
    fn recipients_stand_with_their_lines_and_notices_apart() {
        let lines = [
            line("accepted", ID, "ann@a.test"),
            line("delivered", ID, "ann@a.test"),
            line("accepted", ID, "bob@a.test"),
            line("bounced", ID, "bob@a.test"),
            line("late_bounced", ID, "ann@a.test"),
            line("accepted", NOTICE, "app@b.test"),
            "{".to_owned(),
        ];
        let history = History::read(ID.parse().unwrap(), &lines[..4], None);
        let seen: Vec<(&str, usize)> = history.recipients.iter().map(|known| (&*known.address, known.lines.len())).collect();
        assert_eq!(seen, [("ann@a.test", 2), ("bob@a.test", 2)]);
        assert_eq!(history.sentence(), "2 recipients: 1 delivered, 1 bounced");
        let history = History::read(ID.parse().unwrap(), &lines, None);
        assert_eq!(history.notices, [NOTICE.parse().unwrap()]);
        assert_eq!(history.data(ID.parse().unwrap())["recipients"][1]["lines"][1]["event"], "bounced");
        assert!(History::read(ID.parse().unwrap(), &[], None).is_empty());
    }
}
