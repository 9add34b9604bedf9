//! A session with a receiver: opened for one job, kept for more of the same.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;
use posthaste_bounce::{Context, Verdict};
use posthaste_host::clock;
use posthaste_journal::{Part, State};
use posthaste_mail::{Address, Attempt, Failure, LocalCause, Name, Stage};
use posthaste_message::Message;
use posthaste_queue::{AttemptResult, DeliveryJob, JobOutcome, SessionId, Site, Suppressed};
use posthaste_smtp::client::{Needs, RecipientResult, Transaction};
use posthaste_suppression::{List, SuppressionEntry, UserScope};
use posthaste_verp::Stamped;
use tokio::sync::mpsc;

use crate::{needs::needs, open::Open, outbound::Outbound, stored::read_record};

/// Opens a session and sends the first job; then what comes, until told to close. A job is always given back, whatever happens to the session.
pub async fn run(
    out: Arc<Outbound>,
    id: SessionId,
    way: Arc<Site>,
    source: Name,
    first: Box<DeliveryJob>,
    mut next: mpsc::Receiver<Box<DeliveryJob>>,
) {
    match guarded(out.forbidden(&first)).await {
        Ok(None) => {}
        Ok(Some(said)) => {
            let facts = Arc::new(Attempt { provider: Some(way.provider.clone()), source: Some(source), ..Attempt::default() });
            return out.queue.finished(id, first, JobOutcome::Answered { said, facts }, false).await;
        }
        Err(detail) => return out.broke_down(id, first, &way, source, Stage::Connect, detail).await,
    }
    let opened = guarded(out.open(&way, &source)).await;
    let mut open = match opened {
        Ok(Ok(open)) => open,
        Ok(Err((failure, facts))) => {
            let verdict = out.judge(&failure, &way, facts.mx_host.as_deref());
            if matches!(failure, Failure::Local { cause: LocalCause::SourceUnavailable, .. }) {
                out.sources.look_at(&source).await;
            }
            return out.queue.open_failed(id, first, failure, verdict, Arc::new(facts)).await;
        }
        Err(detail) => return out.broke_down(id, first, &way, source, Stage::Connect, detail).await,
    };
    out.queue.opened(id).await;
    let mut load = first;
    let mut used = false;
    loop {
        let outcome = match guarded(out.deliver(&mut open, &way, &load, used)).await {
            Ok(outcome) => outcome,
            // How far it came nobody knows.
            Err(detail) => return out.broke_down(id, load, &way, source, Stage::Dot, detail).await,
        };
        used = true;
        let usable = open.connection.usable();
        out.queue.finished(id, load, outcome, usable).await;
        load = match next.recv().await {
            Some(load) => load,
            None => return open.connection.quit().await,
        };
    }
}

/// Runs a step of a session; the error tells of a panic in it.
async fn guarded<T>(step: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(step).catch_unwind().await.map_err(|panic| {
        let said = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        said.unwrap_or_else(|| "no words".into())
    })
}

impl Outbound {
    /// Gives back the job of a session that panicked: its recipients are tried again, and the operator hears of it.
    async fn broke_down(&self, id: SessionId, load: Box<DeliveryJob>, way: &Site, source: Name, stage: Stage, detail: String) {
        let detail = format!("a session broke down in the relay: {detail}");
        self.journal.say(Part::Delivery, State::Alarm, format!("{}: {detail}; it is tried again", load.id));
        let failure = Failure::Local { stage, cause: LocalCause::LocalError, detail };
        let verdict = self.judge(&failure, way, None);
        let facts = Attempt { provider: Some(way.provider.clone()), source: Some(source), ..Attempt::default() };
        let said = match stage {
            Stage::Dot => AttemptResult::Unknown(failure, verdict),
            _ => AttemptResult::Failed(failure, verdict),
        };
        let outcome = JobOutcome::Answered { said: vec![said; load.rcpts.len()], facts: Arc::new(facts) };
        self.queue.finished(id, load, outcome, false).await;
    }

    /// Hands one load over. `used`: the connection has carried mail before, so that its death says nothing about this load.
    async fn deliver(&self, open: &mut Open, way: &Site, load: &DeliveryJob, used: bool) -> JobOutcome {
        let host = open.facts.mx_host.clone();
        if used && let Some(failure) = open.connection.gone() {
            return JobOutcome::NotOffered { failure };
        }
        if load.durable > 0 && !self.ledger.clone().durable(load.durable).await {
            return self.not_tried(open, way, load, LocalCause::Shutdown, "the relay stops".into());
        }
        let letter = match self.letter(load).await {
            Ok(letter) => letter,
            Err(detail) => return self.not_tried(open, way, load, LocalCause::LocalError, detail),
        };
        let envelope = &letter.meta.envelope;
        let now = clock::now();
        let needs = needs(&letter.meta, now);
        let beforehand = self.beforehand(open, way, &letter, &load.rcpts, needs);
        let wanted: Vec<u16> = load.rcpts.iter().zip(&beforehand).filter(|(_, said)| said.is_none()).map(|(rcpt, _)| *rcpt).collect();
        let recipients: Vec<&Address> = wanted.iter().map(|r| &envelope.recipients[usize::from(*r)]).collect();
        if recipients.is_empty() {
            let said = beforehand.into_iter().flatten().collect();
            return JobOutcome::Answered { said, facts: Arc::new(open.facts.clone()) };
        }
        let stamped = self.stamped(&letter, &load.rcpts);
        let mut asks = letter.meta.parameters_for(&wanted, now);
        if let Some(stamped) = &stamped {
            // Our own, where the client gave none: reports that come back to us are matched by it.
            asks.envid.get_or_insert_with(|| stamped.envid.as_str().into());
        }
        let report = open
            .connection
            .transact(Transaction {
                reverse_path: stamped.as_ref().map_or(&envelope.reverse_path, |s| &s.reverse_path),
                recipients: &recipients,
                body_kind: envelope.body,
                has_8bit: letter.meta.has_8bit,
                needs,
                asks: &asks,
                size: stamped.as_ref().map_or(letter.meta.size, |s| s.size),
                body: stamped.as_ref().map_or(&letter.body, |s| &s.body),
            })
            .await;
        let mut facts = open.facts.clone();
        facts.lane_day = load.lane_day;
        (facts.envelope_ms, facts.body_ms) = (Some(report.envelope_ms), report.body_ms);
        (facts.dns_ms, facts.connect_ms, facts.tls_ms) = (open.dns_ms.take(), open.connect_ms.take(), open.tls_ms.take());
        let facts = Arc::new(facts);
        if used && let [RecipientResult::NotOffered(failure), ..] = &report.recipients[..] {
            let all = report.recipients.iter().all(|r| matches!(r, RecipientResult::NotOffered(_)));
            if all {
                return JobOutcome::NotOffered { failure: failure.clone() };
            }
        }
        let mut answers = report.recipients.into_iter().map(|result| match result {
            RecipientResult::Delivered(reply) => AttemptResult::Delivered(reply),
            RecipientResult::Failed(failure) | RecipientResult::NotOffered(failure) => {
                let verdict = self.judge(&failure, way, host.as_deref());
                AttemptResult::Failed(failure, verdict)
            }
            RecipientResult::Unknown(failure) => {
                let verdict = self.judge(&failure, way, host.as_deref());
                AttemptResult::Unknown(failure, verdict)
            }
        });
        let answer = |said: Option<AttemptResult>| said.or_else(|| answers.next());
        JobOutcome::Answered { said: beforehand.into_iter().filter_map(answer).collect(), facts }
    }

    /// The outcome of a job that the relay itself could not offer.
    fn not_tried(&self, open: &Open, way: &Site, load: &DeliveryJob, cause: LocalCause, detail: String) -> JobOutcome {
        let failure = Failure::Local { stage: Stage::Mail, cause, detail };
        let verdict = self.judge(&failure, way, open.facts.mx_host.as_deref());
        JobOutcome::Answered { said: vec![AttemptResult::Failed(failure, verdict); load.rcpts.len()], facts: Arc::new(open.facts.clone()) }
    }

    /// For each of these recipients, what is known before the receiver is asked: that it is not written to, or that this receiver lacks
    /// what the message needs.
    fn beforehand(&self, open: &Open, way: &Site, letter: &Message, rcpts: &[u16], needs: Needs) -> Vec<Option<AttemptResult>> {
        let host = open.facts.mx_host.as_deref();
        let known = |(rcpt, entry): (&u16, Option<Arc<Suppressed>>)| {
            entry.map(AttemptResult::Suppressed).or_else(|| {
                let failure = open.connection.lacks(needs, &letter.meta.envelope.recipients[usize::from(*rcpt)])?;
                let verdict = self.judge(&failure, way, host);
                Some(AttemptResult::Failed(failure, verdict))
            })
        };
        rcpts.iter().zip(self.suppressed(letter, rcpts)).map(known).collect()
    }

    /// The letter as it goes out where its returns come to us. Recipients that were put together before a bounce domain came into force go
    /// as they are.
    fn stamped(&self, letter: &Message, rcpts: &[u16]) -> Option<Stamped> {
        let [rcpt] = rcpts else { return None };
        let path = self.settings.get().paths.towards(&letter.meta, *rcpt)?;
        Some(Stamped::new(path, letter))
    }

    /// What becomes of a load whose every recipient is on the suppression list: nobody need be connected to.
    async fn forbidden(&self, load: &DeliveryJob) -> Option<Vec<AttemptResult>> {
        let letter = match &load.warm {
            Some(letter) => letter.clone(),
            None => {
                let (spool, seq) = (self.spool.clone(), load.seq);
                let meta = tokio::task::spawn_blocking(move || read_record(&spool, seq)).await.ok()?.ok()?;
                Arc::new(Message::new(meta, Vec::new(), None))
            }
        };
        self.suppressed(&letter, &load.rcpts).into_iter().map(|entry| entry.map(AttemptResult::Suppressed)).collect()
    }

    /// For each of these recipients, the entry of the suppression list that forbids it. Looked up at the last moment: what came onto the list
    /// while the message waited counts too.
    fn suppressed(&self, letter: &Message, rcpts: &[u16]) -> Vec<Option<Arc<Suppressed>>> {
        let settings = self.settings.get();
        let list = List::new(&self.register, &settings.suppression);
        let now = clock::now();
        let meta = &letter.meta;
        let user = meta.user.as_deref().and_then(UserScope::new);
        let entry = |rcpt: &u16| list.look_up(&meta.envelope.recipients[usize::from(*rcpt)], &meta.stream, user.as_ref(), now);
        rcpts.iter().map(|rcpt| entry(rcpt).as_ref().map(forbids)).collect()
    }

    /// The load's message with its body: from memory, else from the spool.
    async fn letter(&self, load: &DeliveryJob) -> Result<Arc<Message>, String> {
        if let Some(letter) = load.warm.as_ref().filter(|l| !l.body.is_empty()) {
            return Ok(letter.clone());
        }
        let (spool, seq) = (self.spool.clone(), load.seq);
        let read = tokio::task::spawn_blocking(move || {
            let letter = read_record(&spool, seq)?;
            let body = spool.body(seq).map_err(|e| format!("the spool cannot give the body: {e}"))?;
            let body = body.ok_or("the spool does not have the body")?;
            Ok(Arc::new(Message::new(letter, vec![body], None)))
        });
        read.await.unwrap_or_else(|e| Err(format!("reading from the spool failed: {e}")))
    }

    fn judge(&self, failure: &Failure, way: &Site, mx_host: Option<&str>) -> Verdict {
        let context = Context { provider: Some(way.provider.as_str()), mx_host };
        self.settings.get().rules.classify(failure, &context)
    }
}

/// The entry as events tell it.
fn forbids(entry: &SuppressionEntry) -> Arc<Suppressed> {
    Arc::new(Suppressed { reason: entry.reason.as_str(), scope: entry.scope.to_string().into(), since: entry.since })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_step_is_an_error_with_its_words() {
        assert_eq!(guarded(async { 7 }).await, Ok(7));
        assert_eq!(guarded(async { panic!("no {}", "route") }).await, Err::<(), _>("no route".into()));
        assert_eq!(guarded(async { panic!("plain") }).await, Err::<(), _>("plain".into()));
    }
}
