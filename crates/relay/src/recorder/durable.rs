//! What is done once lines are durable: the suppression list hears of endings, the spool forgets, and now and then it keeps how far the log had come.

use jiff::Timestamp;
use posthaste_journal::{Pending, Ticket};
use posthaste_mail::Address;
use posthaste_message::Message;
use posthaste_monitor::{Checkpoint, Position, Watermark};
use posthaste_queue::{AttemptResult, Fate, FateRecord, Next};
use posthaste_spool::Spool;
use posthaste_suppression::{self as suppression, List, Register, SuppressionRules};

/// The spool's key of the log's checkpoint.
pub const CHECKPOINT: &[u8] = b"log/checkpoint";
/// Log bytes between two checkpoints: what a recovery reads at most, give or take a batch.
const CHECKPOINT_EVERY: u64 = 8 << 20;

/// What the suppression list is told of an ending.
#[derive(Debug)]
pub(super) enum Told {
    /// The mailbox is alive.
    Delivered(Address),
    /// It is not, or seems so.
    Bounced(Address, posthaste_suppression::BounceEvidence, Timestamp),
}

/// What the suppression list is told of a fate.
pub(super) fn told(record: &FateRecord, letter: &Message, fate: &Fate) -> Option<Told> {
    let rcpt = || letter.meta.envelope.recipients[usize::from(fate.rcpt)].clone();
    match (&fate.next, &fate.said) {
        (Next::Delivered, _) => Some(Told::Delivered(rcpt())),
        (Next::Bounced | Next::Expired, Some(AttemptResult::Failed(failure, verdict))) => {
            let said = suppression::BounceEvidence::new(verdict, Some(record.id), &failure.to_string());
            Some(Told::Bounced(rcpt(), said, record.now))
        }
        _ => None,
    }
}

/// Tells the suppression list of endings. Not before their line is durable: a bounce that a crash cut off must not keep its own message back.
pub(super) fn tell(register: &Register<Spool>, rules: &SuppressionRules, told: Vec<Told>) {
    let list = List::new(register, rules);
    for told in told {
        match told {
            Told::Delivered(rcpt) => list.note_delivered(&rcpt),
            Told::Bounced(rcpt, said, at) => drop(list.note_bounce(&rcpt, &said, at)),
        }
    }
}

/// What the log's thread does once lines are durable: redeems their tickets, and now and then tells the spool how far the log had come.
pub fn settle_on_durable(spool: Spool, mut mark: Watermark, pending: Pending) -> impl FnMut(Vec<Ticket>, &Position) + Send + 'static {
    let mut last: Option<Position> = None;
    move |tickets, position| {
        for ticket in tickets {
            match ticket {
                Ticket::Accepted(seq, token) => {
                    mark.see(seq);
                    drop(token);
                }
                Ticket::Then(then) => then(),
            }
        }
        let due = last.as_ref().is_none_or(|l| l.file != position.file || position.offset >= l.offset + CHECKPOINT_EVERY);
        if due {
            mark.see_all(pending.announced_through());
            // Behind the changes above in the spool's order: whoever finds this record finds them too.
            spool.put(CHECKPOINT, &Checkpoint::new(Some(*position), &mark).to_bytes());
            last = Some(*position);
        }
    }
}
