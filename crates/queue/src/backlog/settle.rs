//! From the results of attempts to decisions about recipients: delivered, retried later, given up.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_mail::{Attempt, Failure, LocalCause, MessageId};
use posthaste_message::{Message, Progress, SavedRecipient};

use super::{
    Backlog, by_domain,
    table::{DomainIx, Phase, QueuedMessage, Rcpt, Rcpts, RecipientGroup, RecipientState, Seq, StreamIx},
};
use crate::{
    exchange::{AttemptResult, DeliveryJob, Elsewhere, Fate, FateRecord, Next, Wait},
    policy::Policy,
    times::{expires, later, timestamp},
    verdicts::{cancelled_in_flight, too_late},
};

/// A job that a session returned without offering it.
#[derive(Default)]
pub(crate) struct HandedBack {
    /// The recipients that wait again, and their stream.
    pub(crate) group: Option<(RecipientGroup, StreamIx)>,
    /// The end of those that an operator has removed meanwhile.
    pub(crate) record: Option<FateRecord>,
}

impl Backlog {
    /// Takes the recipients of a group that are still to be sent for an attempt: they are in flight from now on.
    pub(crate) fn take(&mut self, group: &RecipientGroup, now: Timestamp) -> Option<DeliveryJob> {
        let (message, rcpts) = self.table.open_mut(group)?;
        let mut attempt = 1;
        for rcpt in &rcpts {
            let recipient = message.recipient_mut(*rcpt);
            recipient.phase = Phase::InFlight;
            attempt = attempt.max(u32::from(recipient.attempts) + 1);
        }
        let (id, warm) = (message.id, message.warm.clone());
        let (seq, begun) = (group.seq, now);
        Some(DeliveryJob {
            seq,
            id,
            rcpts,
            attempt,
            begun,
            warm,
            permit: None,
            lane_day: None,
            durable: 0,
            spilled: false,
            earlier: Vec::new(),
        })
    }

    /// Decides about each recipient of a job, and schedules those that are retried.
    pub(crate) fn settle(
        &mut self,
        job: &DeliveryJob,
        said: Vec<AttemptResult>,
        facts: Arc<Attempt>,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<FateRecord> {
        let message = self.table.get_mut(job.seq)?;
        let retry = &policy.stream(self.streams.name(message.stream)).retry;
        let warm = message.warm.take().or_else(|| job.warm.clone());
        let expires = self.deadlines.expires(job.seq, expires(message.arrived, retry.expire));
        let is_over = self.deadlines.is_over(job.seq, expires, job.begun.as_millisecond(), now.as_millisecond());
        // What the relay itself could not try is like what it passes over: no attempt, and nobody's last chance.
        let untried = job.earlier.is_empty() && said.iter().all(is_untried);
        let facts = if untried { Arc::new(Attempt { not_tried: true, ..Arc::unwrap_or_clone(facts) }) } else { facts };
        // But nothing is delivered after the time by which its sender wants it back.
        let has_ended = is_over && (!untried || self.deadlines.is_returned(job.seq, now.as_millisecond()));
        let mut fates = Vec::with_capacity(said.len());
        // Recipients that are deferred together are tried together again, at the time drawn for the first one.
        let mut together: Option<Timestamp> = None;
        for (rcpt, said) in job.rcpts.iter().copied().zip(said) {
            let recipient = message.recipient_mut(rcpt);
            let cancelling = recipient.phase == Phase::Cancelling;
            let was_due = Timestamp::from_millisecond(recipient.due).unwrap_or(Timestamp::UNIX_EPOCH);
            (recipient.attempts, recipient.passed) = match untried {
                true => (recipient.attempts, recipient.passed.saturating_add(1)),
                false => (recipient.attempts.saturating_add(1), 0),
            };
            let attempt = u32::from(recipient.attempts);
            let salt = job.seq.wrapping_mul(0x1_0001).wrapping_add(u64::from(rcpt));
            let next = match &said {
                AttemptResult::Delivered(_) => Next::Delivered,
                AttemptResult::Suppressed(_) => Next::Suppressed,
                AttemptResult::Failed(_, verdict) if verdict.permanent => Next::Bounced,
                _ if cancelling => cancelled_in_flight(),
                _ if has_ended => Next::Expired,
                _ => {
                    let again = || {
                        let at = later(now, retry.wait(recipient.waits(), salt));
                        let last = timestamp(self.deadlines.last_attempt(job.seq, expires, now.as_millisecond()));
                        if is_over { at } else { at.min(last.max(now)) }
                    };
                    Next::Deferred(*together.get_or_insert_with(again))
                }
            };
            let (said, facts, elsewhere) = most_telling(job, rcpt, said, &facts);
            fates.push(Fate { rcpt, attempt, said: Some(said), facts, elsewhere, earlier: None, next, was_due });
        }
        // While others of the same message are in flight or queued the body is worth keeping.
        if fates.iter().all(|f| !matches!(f.next, Next::Deferred(_))) {
            message.warm.clone_from(&warm);
        }
        let deferred = self.apply(job.seq, &fates);
        let record = self.record(About { seq: job.seq, id: job.id, warm }, facts, fates, now);
        if let Some((due, rcpts)) = deferred {
            self.schedule_later(job.seq, due, rcpts);
        }
        Some(record)
    }

    /// The same, with one failure for all recipients.
    pub(crate) fn fail(
        &mut self,
        job: &DeliveryJob,
        (failure, verdict): (&Failure, &Verdict),
        facts: Arc<Attempt>,
        policy: &Policy,
        now: Timestamp,
    ) -> Option<FateRecord> {
        let said = job.rcpts.iter().map(|_| AttemptResult::Failed(failure.clone(), verdict.clone())).collect();
        self.settle(job, said, facts, policy, now)
    }

    /// Returns the recipients of a job that was not offered to the queue, and ends those that an operator has removed meanwhile.
    pub(crate) fn hand_back(&mut self, job: &DeliveryJob, now: Timestamp) -> HandedBack {
        let Some(message) = self.table.get_mut(job.seq) else { return HandedBack::default() };
        let (mut waiting, mut cancelled) = (Vec::with_capacity(job.rcpts.len()), Vec::new());
        for rcpt in &job.rcpts {
            let recipient = message.recipient_mut(*rcpt);
            if recipient.phase == Phase::Cancelling {
                cancelled.push(untried(*rcpt, recipient, None, cancelled_in_flight()));
            } else {
                recipient.phase = Phase::Waiting;
                waiting.push(*rcpt);
            }
        }
        let (stream, epoch) = (message.stream, message.epoch);
        let group = (!waiting.is_empty()).then(|| (RecipientGroup { seq: job.seq, rcpts: Rcpts::new(waiting), epoch }, stream));
        let record = (!cancelled.is_empty()).then(|| {
            self.end_all(job.seq, &cancelled);
            let about = About { seq: job.seq, id: job.id, warm: job.warm.clone() };
            self.record(about, Arc::default(), cancelled, now)
        });
        HandedBack { group, record }
    }

    /// Ends the recipients of a group that expired while it waited.
    pub(crate) fn give_up(&mut self, group: &RecipientGroup, (failure, verdict): (Failure, Verdict), now: Timestamp) -> Option<FateRecord> {
        let (message, rcpts) = self.table.open(group)?;
        let (id, warm) = (message.id, message.warm.clone());
        let said = || Some(AttemptResult::Failed(failure.clone(), verdict.clone()));
        let fates: Vec<Fate> = rcpts.iter().map(|rcpt| untried(*rcpt, message.recipient(*rcpt), said(), Next::Expired)).collect();
        self.end_all(group.seq, &fates);
        Some(self.record(About { seq: group.seq, id, warm }, Arc::default(), fates, now))
    }

    /// A record of why a group waits, and until when.
    pub(crate) fn record_wait(&self, group: &RecipientGroup, wait: Wait, now: Timestamp) -> Option<FateRecord> {
        let (message, rcpts) = self.table.open(group)?;
        let wait = Arc::new(wait);
        let fates = rcpts.iter().map(|rcpt| untried(*rcpt, message.recipient(*rcpt), None, Next::Waits(wait.clone()))).collect();
        let about = About { seq: group.seq, id: message.id, warm: message.warm.clone() };
        Some(self.record(about, Arc::default(), fates, now))
    }

    /// Ends the recipients of a message that are held.
    pub(crate) fn end_held(&mut self, seq: Seq, (failure, verdict): (Failure, Verdict), now: Timestamp) -> Option<FateRecord> {
        let message = self.table.get(seq)?;
        let (id, warm) = (message.id, message.warm.clone());
        let said = || Some(AttemptResult::Failed(failure.clone(), verdict.clone()));
        let held = message.queued().filter(|(_, recipient)| recipient.phase == Phase::Held);
        let fates: Vec<Fate> = held.map(|(rcpt, recipient)| untried(rcpt, recipient, said(), Next::Expired)).collect();
        if fates.is_empty() {
            return None;
        }
        self.end_all(seq, &fates);
        Some(self.record(About { seq, id, warm }, Arc::default(), fates, now))
    }

    /// Returns the messages whose deadline has passed to their senders, or has the senders told that they are late.
    pub(crate) fn end_overdue(&mut self, now: Timestamp) -> Vec<FateRecord> {
        let mut records = Vec::new();
        while let Some((seq, returns)) = self.deadlines.take_over(now.as_millisecond()) {
            records.extend(self.overdue(seq, returns, now));
        }
        records
    }

    fn overdue(&mut self, seq: Seq, returns: bool, now: Timestamp) -> Option<FateRecord> {
        let message = self.table.get(seq)?;
        let (id, warm) = (message.id, message.warm.clone());
        let fates: Vec<Fate> = if returns {
            let (failure, verdict) = too_late();
            let said = || Some(AttemptResult::Failed(failure.clone(), verdict.clone()));
            // Recipients in flight end with that attempt.
            let waiting = message.queued().filter(|(_, recipient)| matches!(recipient.phase, Phase::Waiting | Phase::Held));
            waiting.map(|(rcpt, recipient)| untried(rcpt, recipient, said(), Next::Expired)).collect()
        } else {
            message.queued().map(|(rcpt, recipient)| untried(rcpt, recipient, None, Next::Late)).collect()
        };
        if fates.is_empty() {
            return None;
        }
        if returns {
            self.end_all(seq, &fates);
        }
        Some(self.record(About { seq, id, warm }, Arc::default(), fates, now))
    }

    /// Makes the waiting recipients of a message that are `wanted` due now; false if there are none.
    pub(crate) fn make_due(&mut self, seq: Seq, wanted: impl Fn(Rcpt, &RecipientState) -> bool, now: Timestamp) -> bool {
        let Some(message) = self.table.get_mut(seq) else { return false };
        let waiting = (0..).zip(message.recipients_mut()).filter(|(rcpt, r)| r.phase == Phase::Waiting && wanted(*rcpt, r));
        waiting.map(|(_, recipient)| recipient.due = now.as_millisecond()).count() > 0
    }

    /// Whether recipients of a message wait for the time that its sender has set.
    pub(crate) fn is_scheduled(&self, seq: Seq, now: Timestamp) -> bool {
        let now = now.as_millisecond();
        self.table.get(seq).is_some_and(|message| message.queued().any(|(_, recipient)| message.is_scheduled(recipient, now)))
    }

    /// Marks the recipients of a message that are in flight for removal: they are removed unless that attempt delivers to them.
    pub(crate) fn cancel_in_flight(&mut self, seq: Seq, fits: impl Fn(DomainIx) -> bool) {
        let Some(message) = self.table.get_mut(seq) else { return };
        let in_flight = |recipient: &&mut RecipientState| recipient.phase == Phase::InFlight && fits(recipient.domain);
        message.recipients_mut().iter_mut().filter(in_flight).for_each(|recipient| recipient.phase = Phase::Cancelling);
    }

    /// Changes recipients of a message for an operator: `to` gives the new phase and what is logged, or None for recipients that stay.
    pub(crate) fn change(&mut self, seq: Seq, to: impl Fn(&RecipientState) -> Option<(Phase, Next)>, now: Timestamp) -> Option<FateRecord> {
        let message = self.table.get_mut(seq)?;
        let (id, warm) = (message.id, message.warm.clone());
        let mut fates = Vec::new();
        for (rcpt, recipient) in (0..).zip(message.recipients_mut()) {
            if let Some((phase, next)) = to(recipient) {
                if phase != Phase::Ended {
                    recipient.phase = phase;
                }
                fates.push(untried(rcpt, recipient, None, next));
            }
        }
        if fates.is_empty() {
            return None;
        }
        self.end_all(seq, &fates);
        Some(self.record(About { seq, id, warm }, Arc::default(), fates, now))
    }

    /// Applies the fates to the recipients. Returns those that are deferred, with their common time.
    pub(super) fn apply(&mut self, seq: Seq, fates: &[Fate]) -> Option<(i64, Vec<Rcpt>)> {
        let mut deferred: Option<(i64, Vec<Rcpt>)> = None;
        for fate in fates {
            if let Next::Deferred(at) = fate.next {
                let Some(message) = self.table.get_mut(seq) else { continue };
                let recipient = message.recipient_mut(fate.rcpt);
                recipient.phase = Phase::Waiting;
                recipient.due = at.as_millisecond();
                deferred.get_or_insert_with(|| (at.as_millisecond(), Vec::new())).1.push(fate.rcpt);
            }
        }
        self.end_all(seq, fates);
        deferred
    }

    /// Ends the recipients whose fate is final.
    fn end_all(&mut self, seq: Seq, fates: &[Fate]) {
        for fate in fates {
            let ends = match fate.next {
                Next::Delivered | Next::Bounced | Next::Expired | Next::Suppressed | Next::Cancelled(..) => true,
                Next::Deferred(_) | Next::Held(_) | Next::Released(_) | Next::Waits(_) | Next::Late => false,
            };
            if ends && let Some((domain, last)) = self.table.end(seq, fate.rcpt) {
                self.domains.remove_recipient(domain);
                if last {
                    self.deadlines.forget(seq);
                    self.guarded.forget(seq);
                }
            }
        }
    }

    pub(super) fn schedule_later(&mut self, seq: Seq, due: i64, rcpts: Vec<Rcpt>) {
        let Some(message) = self.table.get(seq) else { return };
        let epoch = message.epoch;
        for (domain, rcpts) in by_domain(message, rcpts) {
            self.schedule.add(due, (domain, RecipientGroup { seq, rcpts: Rcpts::new(rcpts), epoch }));
        }
    }

    /// A record of decisions, with what the spool is to keep of the message afterwards.
    pub(super) fn record(&self, About { seq, id, warm }: About, facts: Arc<Attempt>, fates: Vec<Fate>, now: Timestamp) -> FateRecord {
        let after = self.table.get(seq).map(|message| Progress {
            told_late: self.deadlines.is_told(seq),
            begins: self.guarded.begins(seq),
            ..Progress::of(saved(message))
        });
        FateRecord { seq, id, warm, now, facts, fates, after, results: 0, unoffered: None }
    }
}

/// The message that a record is about.
pub(super) struct About {
    /// Its number.
    pub(super) seq: Seq,
    /// Its id.
    pub(super) id: MessageId,
    /// The message itself, if it is in memory.
    pub(super) warm: Option<Arc<Message>>,
}

/// A decision without an attempt.
fn untried(rcpt: Rcpt, recipient: &RecipientState, said: Option<AttemptResult>, next: Next) -> Fate {
    let attempt = u32::from(recipient.attempts);
    Fate { rcpt, attempt, said, facts: None, elsewhere: Vec::new(), earlier: None, next, was_due: Timestamp::UNIX_EPOCH }
}

/// Whether the relay itself could not try, for the time being: no host was asked.
fn is_untried(said: &AttemptResult) -> bool {
    matches!(said, AttemptResult::Failed(Failure::Local { cause: LocalCause::RelayUnable | LocalCause::Shutdown, .. }, _))
}

/// Which of an attempt's hosts a recipient's event is about, and what the others said: the last one, unless only an earlier one answered.
fn most_telling(
    job: &DeliveryJob,
    rcpt: Rcpt,
    said: AttemptResult,
    facts: &Arc<Attempt>,
) -> (AttemptResult, Option<Arc<Attempt>>, Vec<Elsewhere>) {
    let mut hosts: Vec<(AttemptResult, Arc<Attempt>)> = Vec::with_capacity(job.earlier.len());
    for offered in &job.earlier {
        let at_host = offered.said.iter().find(|(of, _)| *of == rcpt);
        hosts.extend(at_host.map(|(_, said)| (said.clone(), offered.facts.clone())));
    }
    let unanswered = matches!(said, AttemptResult::Failed(Failure::Local { .. }, _));
    let answered = |(said, _): &(AttemptResult, _)| matches!(said, AttemptResult::Failed(Failure::Refused { .. }, _));
    let (said, other_facts) = match hosts.iter().rposition(answered).filter(|_| unanswered) {
        Some(place) => {
            let (telling, at) = std::mem::replace(&mut hosts[place], (said, facts.clone()));
            (telling, Some(at))
        }
        None => (said, None),
    };
    let elsewhere = |(said, facts)| match said {
        AttemptResult::Failed(failure, verdict) => Some(Elsewhere { facts, failure, verdict }),
        AttemptResult::Delivered(_) | AttemptResult::Suppressed(_) | AttemptResult::Unknown(..) => None,
    };
    (said, other_facts, hosts.into_iter().filter_map(elsewhere).collect())
}

/// What the spool is to keep of a message's recipients.
fn saved(message: &QueuedMessage) -> Vec<SavedRecipient> {
    message.queued().map(|(rcpt, r)| SavedRecipient(rcpt, r.attempts, r.due, r.phase == Phase::Held)).collect()
}
