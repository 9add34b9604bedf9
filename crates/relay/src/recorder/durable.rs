//! Acts on durable log lines: updates the suppression list, removes finished messages from the spool, and stores checkpoints of the log in
//! the spool.

use jiff::Timestamp;
use posthaste_journal::{Pending, Ticket};
use posthaste_mail::Address;
use posthaste_message::Message;
use posthaste_monitor::{Checkpoint, DurableEnd, Position, Watermark};
use posthaste_queue::{AttemptResult, Fate, FateRecord, Next};
use posthaste_spool::Spool;
use posthaste_suppression::{self as suppression, List, Register, SuppressionRules};

/// The spool's key for the log's checkpoint.
pub(crate) const CHECKPOINT: &[u8] = b"log/checkpoint";
/// The spool's key for the log's durable end when the spool last forgot something.
pub(crate) const DURABLE_END: &[u8] = b"log/end";
/// Log bytes between two checkpoints. A recovery reads about this much at most, give or take a batch.
const CHECKPOINT_EVERY: u64 = 8 << 20;

/// An outcome that the suppression list counts.
#[derive(Debug)]
pub(super) enum DeliveryOutcome {
    /// The mailbox accepts mail.
    Delivered(Address),
    /// The mailbox does not exist, or seems not to.
    Bounced(Address, posthaste_suppression::BounceEvidence, Timestamp),
}

/// The outcome that the suppression list counts for a fate; None: the fate does not concern it.
pub(super) fn outcome(record: &FateRecord, message: &Message, fate: &Fate) -> Option<DeliveryOutcome> {
    let rcpt = || message.record.envelope.recipients[usize::from(fate.rcpt)].clone();
    match (&fate.next, &fate.said) {
        (Next::Delivered, _) => Some(DeliveryOutcome::Delivered(rcpt())),
        (Next::Bounced | Next::Expired, Some(AttemptResult::Failed(failure, verdict))) => {
            let said = suppression::BounceEvidence::new(verdict, Some(record.id), &failure.to_string());
            Some(DeliveryOutcome::Bounced(rcpt(), said, record.now))
        }
        _ => None,
    }
}

/// Reports outcomes to the suppression list, only once their line is durable: a bounce whose line a crash lost must not suppress its own
/// message.
pub(super) fn report_outcomes(register: &Register<Spool>, rules: &SuppressionRules, outcomes: Vec<DeliveryOutcome>) {
    let list = List::new(register, rules);
    for outcome in outcomes {
        match outcome {
            DeliveryOutcome::Delivered(rcpt) => list.note_delivered(&rcpt),
            DeliveryOutcome::Bounced(rcpt, said, at) => drop(list.note_bounce(&rcpt, &said, at)),
        }
    }
}

/// Runs on the log's thread once lines are durable: notes the log's end and redeems their tickets, and from time to time stores a checkpoint of the log in the
/// spool.
pub(crate) fn settle_on_durable(
    spool: Spool,
    mut mark: Watermark,
    pending: Pending,
) -> impl FnMut(Vec<Ticket>, &Position) + Send + 'static {
    let mut last: Option<Position> = None;
    move |tickets, position| {
        let due = last.as_ref().is_none_or(|l| l.file != position.file || position.offset >= l.offset + CHECKPOINT_EVERY);
        if due || !tickets.is_empty() {
            // The spool writes in order: whatever it forgets below, it knows up to where the log must reach.
            spool.put(DURABLE_END, &DurableEnd::new(*position).to_bytes());
        }
        for ticket in tickets {
            match ticket {
                Ticket::Accepted(seq, token) => {
                    mark.see(seq);
                    drop(token);
                }
                Ticket::Then(then) => then(),
            }
        }
        if due {
            mark.see_all(pending.announced_through());
            // The spool writes in order: if this record is found after a crash, the changes above are there too.
            spool.put(CHECKPOINT, &Checkpoint::new(Some(*position), &mark).to_bytes());
            last = Some(*position);
        }
    }
}
