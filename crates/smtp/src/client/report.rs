//! The result of one transaction, for each recipient.

use std::ops::Range;

use posthaste_mail::{Failure, LocalCause, Reply};

/// The result of one transaction.
#[derive(Debug)]
pub struct Report {
    /// One result per recipient, in the transaction's order.
    pub recipients: Vec<RecipientResult>,
    /// The places of the recipients that the receiver had accepted when it ended the dialogue, before it was given the message.
    pub accepted_in_vain: Vec<usize>,
    /// Milliseconds from MAIL to the reply to DATA, or to the last reply before the transaction ended.
    pub envelope_ms: u32,
    /// Milliseconds from the body's first byte to the reply to the final dot; None if no body was sent.
    pub body_ms: Option<u32>,
}

/// The result for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientResult {
    /// The receiver took responsibility; its reply to the final dot.
    Delivered(Reply),
    /// Certainly not delivered: refused (at MAIL, this RCPT, DATA or the dot), or the dialogue broke before the dot and after this
    /// recipient was answered or its reply timed out.
    Failed(Failure),
    /// The dialogue broke after the final dot was sent or may have been sent: the receiver may or may not have the message.
    Unknown(Failure),
    /// Not delivered: the connection ended before the receiver answered for this recipient. Another connection may try at once.
    NotOffered(Failure),
}

/// The recipients' state while a transaction runs.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    accepted_in_vain: Vec<usize>,
}

#[derive(Clone)]
enum Slot {
    Waiting,
    Accepted,
    Done(RecipientResult),
}

impl Slots {
    pub(crate) fn new(recipients: usize) -> Self {
        Self { slots: vec![Slot::Waiting; recipients], accepted_in_vain: Vec::new() }
    }

    pub(crate) fn accept(&mut self, place: usize) {
        if matches!(self.slots[place], Slot::Waiting) {
            self.slots[place] = Slot::Accepted;
        }
    }

    /// The receiver refused this recipient. The first refusal is kept: after a refused MAIL the replies to RCPT mean nothing.
    pub(crate) fn refuse(&mut self, place: usize, failure: Failure) {
        if matches!(self.slots[place], Slot::Waiting) {
            self.slots[place] = Slot::Done(RecipientResult::Failed(failure));
        }
    }

    pub(crate) fn any_accepted(&self) -> bool {
        self.slots.iter().any(|s| matches!(s, Slot::Accepted))
    }

    /// Gives all accepted recipients the same result.
    pub(crate) fn end_accepted(&mut self, result: &RecipientResult) {
        for slot in self.slots.iter_mut().filter(|s| matches!(s, Slot::Accepted)) {
            *slot = Slot::Done(result.clone());
        }
    }

    /// The receiver refused all recipients at once.
    pub(crate) fn refuse_all(&mut self, failure: &Failure) {
        (0..self.slots.len()).for_each(|place| self.refuse(place, failure.clone()));
    }

    /// The dialogue ended before the body, at a command about the recipients in `asked`.
    pub(crate) fn break_off(&mut self, asked: &Range<usize>, failure: &Failure) {
        let silent = matches!(failure, Failure::Local { cause: LocalCause::ConnectionLost, .. });
        for (place, slot) in self.slots.iter_mut().enumerate() {
            match slot {
                Slot::Accepted => {
                    self.accepted_in_vain.push(place);
                    *slot = Slot::Done(RecipientResult::Failed(failure.clone()));
                }
                Slot::Waiting if asked.contains(&place) && !silent => *slot = Slot::Done(RecipientResult::Failed(failure.clone())),
                Slot::Waiting => *slot = Slot::Done(RecipientResult::NotOffered(failure.clone())),
                Slot::Done(_) => {}
            }
        }
    }

    pub(crate) fn into_report(self, envelope_ms: u32, body_ms: Option<u32>) -> Report {
        let done = |slot| match slot {
            Slot::Done(result) => result,
            Slot::Waiting | Slot::Accepted => unreachable!("a transaction settles every recipient before it ends"),
        };
        let recipients = self.slots.into_iter().map(done).collect();
        Report { recipients, accepted_in_vain: self.accepted_in_vain, envelope_ms, body_ms }
    }
}
