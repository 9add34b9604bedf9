//! A session with a receiver: opened for one job, kept for further ones.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use posthaste_bounce::{Context, Verdict};
use posthaste_host::{Panicked, clock, guarded};
use posthaste_journal::{Part, State};
use posthaste_mail::{Address, Attempt, Failure, LocalCause, Name, Stage};
use posthaste_message::Message;
use posthaste_queue::{AttemptResult, DeliveryJob, JobOutcome, Seq, SessionId, Site, Suppressed};
use posthaste_smtp::client::{Hurry, Needs, RecipientResult, Transaction};
use posthaste_spool::Spool;
use posthaste_suppression::{List, SuppressionEntry, UserScope};
use posthaste_verp::Stamped;
use tokio::sync::{mpsc, watch};

use crate::{
    bodies::{Bodies, Share},
    needs::needs,
    open::Open,
    outbound::Outbound,
    stored::{ReadError, read_record},
};

/// How long a receiver may take to answer for a message that it has, once others need the connection. RFC 5321 §4.5.3.2.6 wants ten minutes,
/// because a message that is given up there may arrive twice; with all connections in the hands of silent receivers nobody's mail would go.
const DOT_PATIENCE: Duration = Duration::from_mins(2);

/// Opens a session and sends the first job, then further ones until the channel is closed. Every job is returned to the queue, whatever
/// happens to the session.
pub async fn run(
    out: Arc<Outbound>,
    id: SessionId,
    site: Arc<Site>,
    source: Name,
    first: Box<DeliveryJob>,
    mut next: mpsc::Receiver<Box<DeliveryJob>>,
) {
    match guarded(out.forbidden(&first)).await {
        Ok(None) => {}
        Ok(Some(said)) => {
            let facts = Arc::new(Attempt { provider: Some(site.provider.clone()), source: Some(source), ..Attempt::default() });
            return out.queue.finished(id, first, JobOutcome::Answered { said, facts }, false).await;
        }
        Err(panicked) => return out.broke_down(id, first, &site, source, Stage::Connect, &panicked).await,
    }
    let began = clock::instant();
    let opened = tokio::select! {
        biased;
        opened = guarded(out.open_or_explain(&site, &source)) => opened,
        // The queue has no second job for a session that is opening: it closes the channel when others need the connection.
        _ = next.recv() => Ok(Err(out.gave_way(&site, source.clone(), clock::instant() - began))),
    };
    let mut open = match opened {
        Ok(Ok(open)) => open,
        Ok(Err(NotOpened { failure, verdict, facts })) => return out.queue.open_failed(id, first, failure, verdict, Arc::new(facts)).await,
        Err(panicked) => return out.broke_down(id, first, &site, source, Stage::Connect, &panicked).await,
    };
    let (tell, told) = watch::channel(false);
    open.connection.hurry(Hurry::when(told, out.settings.get().patience, DOT_PATIENCE));
    out.queue.opened(id).await;
    let mut job = first;
    let mut used = false;
    loop {
        let delivered = told_when_needed(&mut next, &tell, guarded(out.deliver(&mut open, &site, &job, used))).await;
        let outcome = match delivered {
            Ok(outcome) => outcome,
            // How far the step got is unknown.
            Err(panicked) => return out.broke_down(id, job, &site, source, Stage::Dot, &panicked).await,
        };
        used = true;
        let usable = open.connection.usable();
        out.queue.finished(id, job, outcome, usable).await;
        job = match next.recv().await {
            Some(job) => job,
            None => return open.connection.quit().await,
        };
    }
}

/// Does `work`; if the queue closes the channel meanwhile, because others need the connection, the session is told so.
async fn told_when_needed<T>(next: &mut mpsc::Receiver<Box<DeliveryJob>>, tell: &watch::Sender<bool>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        // The queue has no second job for a session that is busy.
        _ = next.recv() => tell.send_replace(true),
    };
    work.await
}

/// Why a session could not be opened.
struct NotOpened {
    failure: Failure,
    verdict: Verdict,
    facts: Attempt,
}

impl Outbound {
    /// Opens a session. A source whose address cannot be bound is checked at once.
    async fn open_or_explain(&self, site: &Site, source: &Name) -> Result<Open, NotOpened> {
        let (failure, facts) = match self.open(site, source).await {
            Ok(open) => return Ok(open),
            Err(failed) => failed,
        };
        let verdict = self.judge(&failure, site, facts.mx_host.as_deref());
        if matches!(failure, Failure::Local { cause: LocalCause::SourceUnavailable, .. }) {
            self.sources.look_at(source).await;
        }
        Err(NotOpened { failure, verdict, facts })
    }

    /// A session that was not let in before others needed its connection.
    fn gave_way(&self, site: &Site, source: Name, after: Duration) -> NotOpened {
        let detail = format!("the receiver did not let the session in within {} s, and other mail needed the connection", after.as_secs());
        let failure = Failure::Local { stage: Stage::Banner, cause: LocalCause::Timeout, detail };
        let verdict = self.judge(&failure, site, None);
        NotOpened { failure, verdict, facts: Attempt { provider: Some(site.provider.clone()), source: Some(source), ..Attempt::default() } }
    }

    /// Returns the job of a session that panicked: its recipients are tried again, and an alarm tells the operator.
    async fn broke_down(&self, id: SessionId, job: Box<DeliveryJob>, site: &Site, source: Name, stage: Stage, panicked: &Panicked) {
        let detail = format!("internal error in a session: {panicked}");
        self.journal.say(Part::Delivery, State::Alarm, format!("{}: {detail}; its recipients are tried again", job.id));
        let failure = Failure::Local { stage, cause: LocalCause::LocalError, detail };
        // Not by the rules in force: what panicked may have been the classifier.
        let verdict = Verdict::on_local(LocalCause::LocalError);
        let facts = Attempt { provider: Some(site.provider.clone()), source: Some(source), ..Attempt::default() };
        let said = match stage {
            Stage::Dot => AttemptResult::Unknown(failure, verdict),
            _ => AttemptResult::Failed(failure, verdict),
        };
        let outcome = JobOutcome::Answered { said: vec![said; job.rcpts.len()], facts: Arc::new(facts) };
        self.queue.finished(id, job, outcome, false).await;
    }

    /// Sends one job. `used`: the connection has carried mail before, so that its death says nothing about this job.
    async fn deliver(&self, open: &mut Open, site: &Site, job: &DeliveryJob, used: bool) -> JobOutcome {
        let host = open.facts.mx_host.clone();
        if used && let Some(failure) = open.connection.gone() {
            return JobOutcome::NotOffered { failure };
        }
        if job.durable > 0 && !self.ledger.clone().durable(job.durable).await {
            return self.not_tried(open, site, job, LocalCause::Shutdown, "the relay stops".into());
        }
        let (message, _share) = match self.message(job).await {
            Ok(message) => message,
            Err(error) => return self.not_tried(open, site, job, LocalCause::LocalError, error.to_string()),
        };
        let envelope = &message.record.envelope;
        let now = clock::now();
        let needs = needs(&message.record, now);
        let beforehand = self.beforehand(open, site, &message, &job.rcpts, needs);
        let wanted: Vec<u16> = job.rcpts.iter().zip(&beforehand).filter(|(_, said)| said.is_none()).map(|(rcpt, _)| *rcpt).collect();
        let recipients: Vec<&Address> = wanted.iter().map(|r| &envelope.recipients[usize::from(*r)]).collect();
        if recipients.is_empty() {
            let said = beforehand.into_iter().flatten().collect();
            return JobOutcome::Answered { said, facts: Arc::new(open.facts.clone()) };
        }
        let stamped = self.stamped(&message, &job.rcpts);
        let mut parameters = message.record.parameters_for(&wanted, now);
        if let Some(stamped) = &stamped {
            // An ENVID of the relay's own if the client gave none: reports that come back are matched by it.
            parameters.envid.get_or_insert_with(|| stamped.envid.as_str().into());
        }
        let report = open
            .connection
            .transact(Transaction {
                reverse_path: stamped.as_ref().map_or(&envelope.reverse_path, |s| &s.reverse_path),
                recipients: &recipients,
                body_kind: envelope.body,
                has_8bit: message.record.has_8bit,
                needs,
                parameters: &parameters,
                size: stamped.as_ref().map_or(message.record.size, |s| s.size),
                body: stamped.as_ref().map_or(&message.body, |s| &s.body),
            })
            .await;
        let mut facts = open.facts.clone();
        facts.lane_day = job.lane_day;
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
                let verdict = self.judge(&failure, site, host.as_deref());
                AttemptResult::Failed(failure, verdict)
            }
            RecipientResult::Unknown(failure) => {
                let verdict = self.judge(&failure, site, host.as_deref());
                AttemptResult::Unknown(failure, verdict)
            }
        });
        let answer = |said: Option<AttemptResult>| said.or_else(|| answers.next());
        JobOutcome::Answered { said: beforehand.into_iter().filter_map(answer).collect(), facts }
    }

    /// The outcome of a job that the relay itself could not offer.
    fn not_tried(&self, open: &Open, site: &Site, job: &DeliveryJob, cause: LocalCause, detail: String) -> JobOutcome {
        let failure = Failure::Local { stage: Stage::Mail, cause, detail };
        let verdict = self.judge(&failure, site, open.facts.mx_host.as_deref());
        JobOutcome::Answered { said: vec![AttemptResult::Failed(failure, verdict); job.rcpts.len()], facts: Arc::new(open.facts.clone()) }
    }

    /// For each of these recipients, the result that is known before the receiver is asked: its address is suppressed, or the receiver
    /// lacks an extension that the message needs.
    fn beforehand(&self, open: &Open, site: &Site, message: &Message, rcpts: &[u16], needs: Needs) -> Vec<Option<AttemptResult>> {
        let host = open.facts.mx_host.as_deref();
        let known = |(rcpt, entry): (&u16, Option<Arc<Suppressed>>)| {
            entry.map(AttemptResult::Suppressed).or_else(|| {
                let failure = open.connection.lacks(needs, &message.record.envelope.recipients[usize::from(*rcpt)])?;
                let verdict = self.judge(&failure, site, host);
                Some(AttemptResult::Failed(failure, verdict))
            })
        };
        rcpts.iter().zip(self.suppressed(message, rcpts)).map(known).collect()
    }

    /// The message as it goes out if its returns come to the relay. Recipients that were grouped before a bounce domain came into force get
    /// the message as it is.
    fn stamped(&self, message: &Message, rcpts: &[u16]) -> Option<Stamped> {
        let [rcpt] = rcpts else { return None };
        let marks = self.settings.get().paths.towards(&message.record, *rcpt)?;
        Some(Stamped::new(marks, message))
    }

    /// The results of a job whose recipients are all on the suppression list: no connection is needed.
    async fn forbidden(&self, job: &DeliveryJob) -> Option<Vec<AttemptResult>> {
        let message = match &job.warm {
            Some(message) => message.clone(),
            None => {
                let (spool, seq) = (self.spool.clone(), job.seq);
                let record = tokio::task::spawn_blocking(move || read_record(&spool, seq)).await.ok()?.ok()?;
                Arc::new(Message::new(record, Vec::new(), None))
            }
        };
        self.suppressed(&message, &job.rcpts).into_iter().map(|entry| entry.map(AttemptResult::Suppressed)).collect()
    }

    /// For each of these recipients, the entry of the suppression list that forbids it. Looked up at the last moment, so that entries made
    /// while the message waited count too.
    fn suppressed(&self, message: &Message, rcpts: &[u16]) -> Vec<Option<Arc<Suppressed>>> {
        let settings = self.settings.get();
        let list = List::new(&self.register, &settings.suppression);
        let now = clock::now();
        let record = &message.record;
        let user = record.user.as_deref().and_then(UserScope::new);
        let entry = |rcpt: &u16| list.look_up(&record.envelope.recipients[usize::from(*rcpt)], &record.stream, user.as_ref(), now);
        rcpts.iter().map(|rcpt| entry(rcpt).as_ref().map(forbids)).collect()
    }

    /// The job's message with its body: from memory, else from the spool, with its share of the memory for bodies.
    async fn message(&self, job: &DeliveryJob) -> Result<(Arc<Message>, Option<Share>), ReadError> {
        if let Some(message) = job.warm.as_ref().filter(|l| !l.body.is_empty()) {
            return Ok((message.clone(), None));
        }
        let (spool, seq) = (self.spool.clone(), job.seq);
        let read = tokio::task::spawn_blocking(move || {
            let record = read_record(&spool, seq)?;
            let body = if record.size > Bodies::SHORT { None } else { Some(body(&spool, seq)?) };
            Ok((record, body))
        });
        let (record, short) = read.await.unwrap_or_else(|error| Err(ReadError::Task(error)))?;
        if let Some(body) = short {
            return Ok((Arc::new(Message::new(record, vec![body], None)), None));
        }
        let max = self.settings.get().body_memory;
        let share = self.bodies.take(record.size, max).await.ok_or(ReadError::NoMemory)?;
        let spool = self.spool.clone();
        let read = tokio::task::spawn_blocking(move || body(&spool, seq));
        let body = read.await.unwrap_or_else(|error| Err(ReadError::Task(error)))?;
        Ok((Arc::new(Message::new(record, vec![body], None)), Some(share)))
    }

    fn judge(&self, failure: &Failure, site: &Site, mx_host: Option<&str>) -> Verdict {
        let context = Context { provider: Some(site.provider.as_str()), mx_host };
        self.settings.get().rules.classify(failure, &context)
    }
}

fn body(spool: &Spool, seq: Seq) -> Result<Bytes, ReadError> {
    spool.body(seq).map_err(ReadError::Body)?.ok_or(ReadError::NoBody)
}

/// The entry as events report it.
fn forbids(entry: &SuppressionEntry) -> Arc<Suppressed> {
    Arc::new(Suppressed { reason: entry.reason.as_str(), scope: entry.scope.to_string().into(), since: entry.since })
}
