//! The clock went back: what waits for its next attempt waits for the rest of its wait, and not for the clock that was ahead.
//!
//! A time that a sender gave (HOLDUNTIL, DELIVERBY) is a time by the clock and stays as it is; a wait that a sender gave (HOLDFOR) stays as long.

use super::{
    Backlog,
    table::{PutOff, QueuedMessage, RecipientState, Seq},
};
use crate::{
    policy::{Policy, Retry},
    times::millis,
};

impl Backlog {
    /// The clock went back by `ms` milliseconds, to `now`: attempts are due that much earlier, and DNS is asked again.
    pub(crate) fn clock_went_back(&mut self, ms: i64, policy: &Policy, now: i64) {
        for message in self.table.iter_mut() {
            let retry = &policy.stream(self.streams.name(message.stream)).retry;
            if message.put_off() == Some(PutOff::For) {
                put_off(message, now).for_each(|recipient| recipient.due -= ms);
                message.arrived -= ms;
            }
            retried(message, now).for_each(|recipient| recipient.due = no_later(recipient.due - ms, retry, now));
        }
        let scheduled = std::mem::take(&mut self.schedule);
        for (domain, group) in scheduled.into_all() {
            let Some((message, rcpts)) = self.table.open(&group) else { continue };
            let due = rcpts.iter().map(|rcpt| message.recipient(*rcpt).due).max().unwrap_or(now);
            self.schedule.add(due, (domain, group));
        }
        self.domains.forget_routes();
    }

    /// A message was found in the spool: if the clock went back while the relay was down, it waits no longer than its schedule says.
    pub(crate) fn wait_no_longer(&mut self, seq: Seq, policy: &Policy, now: i64) {
        let Some(message) = self.table.get_mut(seq) else { return };
        let retry = &policy.stream(self.streams.name(message.stream)).retry;
        if message.put_off() == Some(PutOff::For) {
            let ends = now.saturating_add(message.arrived.saturating_sub(message.id.time().as_millisecond()));
            put_off(message, now).for_each(|recipient| recipient.due = recipient.due.min(ends));
            message.arrived = message.arrived.min(ends);
        }
        retried(message, now).for_each(|recipient| recipient.due = no_later(recipient.due, retry, now));
    }
}

/// The recipients that wait for another attempt. A first attempt that is due later was put off by the sender: its message's age counts from
/// then. Without such a time, one that is due later has been put off by the relay, whatever its number of attempts.
fn retried(message: &mut QueuedMessage, now: i64) -> impl Iterator<Item = &mut RecipientState> {
    let first = message.put_off().is_some().then_some(message.arrived);
    message.recipients_mut().iter_mut().filter(move |recipient| recipient.due > now && first.is_none_or(|first| recipient.due > first))
}

/// The recipients whose first attempt the sender has put off.
fn put_off(message: &mut QueuedMessage, now: i64) -> impl Iterator<Item = &mut RecipientState> {
    let first = message.arrived;
    message.recipients_mut().iter_mut().filter(move |recipient| recipient.due > now && recipient.due <= first)
}

fn no_later(due: i64, retry: &Retry, now: i64) -> i64 {
    due.min(now.saturating_add(millis(retry.most_wait())))
}
