//! The answer to `List`: messages of the queue with their addresses, and what each recipient waits for and was told last.

use std::sync::Arc;

use posthaste_delivery::read_record;
use posthaste_host::clock;
use posthaste_monitor::Lookup;
use posthaste_queue::MessageRow;

use super::{Desk, Listed, Undone};
use crate::{settings::Settings, why};

/// The most recipients whose last answers are looked up: each costs some reads of the log.
const ANSWERS_MAX: usize = 2_000;

impl Desk {
    /// Adds to rows of the queue what spool, sessions and log know.
    pub(super) async fn listed(&self, mut rows: Vec<MessageRow>) -> Result<Vec<Listed>, Undone> {
        self.say_in_hand(&mut rows);
        let (spool, journal, settings) = (self.intake.spool.clone(), self.intake.journal.clone(), self.settings.load_full());
        let read = move || {
            let mut listed: Vec<Listed> = rows.into_iter().map(|row| with_addresses(&spool, row)).collect();
            // Without the log it is half an answer, and better than none.
            match journal.index().caught_up() {
                Ok(log) => add_answers(&mut listed, &log, &settings),
                Err(error) => tracing::warn!(%error, "the delivery log cannot be read for an operator's question"),
            }
            listed
        };
        tokio::task::spawn_blocking(read).await.map_err(Undone::of)
    }

    /// Says what sessions do with the recipients that they have in hand.
    fn say_in_hand(&self, rows: &mut [MessageRow]) {
        let now = clock::instant();
        for row in rows {
            for (recipient, standing) in row.rcpts.iter().zip(&mut row.standing).filter(|(_, standing)| standing.state == "in_flight") {
                if let Some(doing) = self.outbound.under_way.of(row.seq, recipient.rcpt, now) {
                    standing.held.why = doing;
                }
            }
        }
    }
}

fn with_addresses(spool: &posthaste_spool::Spool, mut row: MessageRow) -> Listed {
    match read_record(spool, row.seq) {
        Ok(record) => {
            // The age of a scheduled message counts from the time that its sender has set.
            row.arrived = record.arrived;
            let address = |rcpt: &u16| record.envelope.recipients.get(usize::from(*rcpt)).map_or_else(String::new, ToString::to_string);
            let addresses = row.rcpts.iter().map(|recipient| address(&recipient.rcpt)).collect();
            Listed { from: record.envelope.reverse_path.to_string(), addresses, row, answers: Vec::new() }
        }
        // The message ended after the queue was asked.
        Err(_) => Listed { from: String::new(), addresses: Vec::new(), row, answers: Vec::new() },
    }
}

fn add_answers(listed: &mut [Listed], log: &Lookup, settings: &Arc<Settings>) {
    let mut left = ANSWERS_MAX;
    for message in listed {
        for address in &message.addresses {
            let told = match left {
                0 => None,
                _ => why::last_answer(log, &settings.rules, message.row.id, address).unwrap_or_default(),
            };
            left = left.saturating_sub(1);
            message.answers.push(told);
        }
    }
}
