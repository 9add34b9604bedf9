//! What became of one transaction, recipient by recipient.

use std::ops::Range;

use posthaste_mail::{Failure, LocalCause, Reply};

/// What became of one transaction.
#[derive(Debug)]
pub struct Report {
    /// One result a recipient, in the transaction's order.
    pub recipients: Vec<RecipientResult>,
    /// Milliseconds from MAIL to the answer to DATA (or to the last answer before it ended).
    pub envelope_ms: u32,
    /// Milliseconds from the body's first byte to the answer to its dot; None when no body was sent.
    pub body_ms: Option<u32>,
}

/// What became of the message for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientResult {
    /// The receiver took responsibility: its answer to the final dot.
    Delivered(Reply),
    /// Not delivered, and certainly so: refused (MAIL, this RCPT, DATA or the dot), or broken off after this recipient was answered or
    /// let wait too long, and before the dot.
    Failed(Failure),
    /// The dialogue broke after the final dot (may have) left: the receiver may have the message or not.
    Unknown(Failure),
    /// Not delivered, and the receiver never answered for this recipient: the connection ended first. Another connection may ask at once.
    NotOffered(Failure),
}

/// The recipients' state while a transaction runs.
pub(crate) struct Slots(Vec<Slot>);

#[derive(Clone)]
enum Slot {
    Waiting,
    Accepted,
    Done(RecipientResult),
}

impl Slots {
    pub(crate) fn new(recipients: usize) -> Self {
        Self(vec![Slot::Waiting; recipients])
    }

    pub(crate) fn accept(&mut self, place: usize) {
        if matches!(self.0[place], Slot::Waiting) {
            self.0[place] = Slot::Accepted;
        }
    }

    /// The receiver refused this one. The first refusal stays: after a refused MAIL the answers to RCPT mean nothing.
    pub(crate) fn refuse(&mut self, place: usize, failure: Failure) {
        if matches!(self.0[place], Slot::Waiting) {
            self.0[place] = Slot::Done(RecipientResult::Failed(failure));
        }
    }

    pub(crate) fn any_accepted(&self) -> bool {
        self.0.iter().any(|s| matches!(s, Slot::Accepted))
    }

    /// The same end for everyone who was accepted.
    pub(crate) fn end_accepted(&mut self, result: &RecipientResult) {
        for slot in self.0.iter_mut().filter(|s| matches!(s, Slot::Accepted)) {
            *slot = Slot::Done(result.clone());
        }
    }

    /// The receiver said no to all of them at once.
    pub(crate) fn refuse_all(&mut self, failure: &Failure) {
        (0..self.0.len()).for_each(|place| self.refuse(place, failure.clone()));
    }

    /// The dialogue ended before the body, while it was about the recipients in `asked`.
    pub(crate) fn break_off(&mut self, asked: &Range<usize>, failure: &Failure) {
        let silent = matches!(failure, Failure::Local { cause: LocalCause::ConnectionLost, .. });
        for (place, slot) in self.0.iter_mut().enumerate() {
            match slot {
                Slot::Accepted => *slot = Slot::Done(RecipientResult::Failed(failure.clone())),
                Slot::Waiting if asked.contains(&place) && !silent => *slot = Slot::Done(RecipientResult::Failed(failure.clone())),
                Slot::Waiting => *slot = Slot::Done(RecipientResult::NotOffered(failure.clone())),
                Slot::Done(_) => {}
            }
        }
    }

    pub(crate) fn into_results(self) -> Vec<RecipientResult> {
        let done = |slot| match slot {
            Slot::Done(result) => result,
            Slot::Waiting | Slot::Accepted => unreachable!("every way out of a transaction settles every recipient"),
        };
        self.0.into_iter().map(done).collect()
    }
}
