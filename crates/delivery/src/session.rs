//! A session with a receiver: opened for one job, kept for further ones.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use posthaste_bounce::{Context, Verdict};
use posthaste_host::{Panicked, clock, guarded};
use posthaste_journal::{Part, State};
use posthaste_mail::{Attempt, Failure, LocalCause, Name, Stage};
use posthaste_message::Message;
use posthaste_queue::{AttemptResult, DeliveryJob, JobOutcome, Seq, SessionId, Site, Suppressed};
use posthaste_smtp::client::Hurry;
use posthaste_spool::Spool;
use posthaste_suppression::{List, SuppressionEntry, UserScope};
use tokio::sync::{mpsc, watch};

use crate::{
    blame,
    bodies::{Bodies, Share},
    login_refusals, logins,
    open::Open,
    outbound::Outbound,
    reach::{self, ReachNews},
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
    let under_way = out.under_way.begin(id, &first);
    let began = clock::instant();
    let opened = tokio::select! {
        biased;
        opened = guarded(out.open_or_explain(id, &site, &source, first.seq)) => opened,
        // The queue has no second job for a session that is opening: it closes the channel when others need the connection.
        _ = next.recv() => Ok(Err(Some(out.gave_way(&site, source.clone(), clock::instant() - began)))),
    };
    let mut open = match opened {
        Ok(Ok(open)) => open,
        Ok(Err(None)) => return out.queue.finished(id, first, JobOutcome::Outdated, false).await,
        Ok(Err(Some(NotOpened { failure, verdict, facts }))) => {
            return out.queue.open_failed(id, first, failure, verdict, Arc::new(facts)).await;
        }
        Err(panicked) => return out.broke_down(id, first, &site, source, Stage::Connect, &panicked).await,
    };
    let (tell, told) = watch::channel(false);
    open.hurry(Hurry::when(told, out.settings.get().patience, DOT_PATIENCE));
    out.queue.opened(id).await;
    let mut job = first;
    loop {
        let delivered = {
            // It is large, and stays where it is: each function that it is handed to by value copies it.
            let delivery = pin!(out.deliver(id, &mut open, &site, &source, &mut job));
            told_when_needed(&mut next, &tell, guarded(delivery)).await
        };
        let outcome = match delivered {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(NotOpened { failure, verdict, facts })) => {
                out.queue.open_failed(id, job, failure, verdict, Arc::new(facts)).await;
                return open.connection.quit().await;
            }
            // How far the step got is unknown.
            Err(panicked) => return out.broke_down(id, job, &site, source, Stage::Dot, &panicked).await,
        };
        let usable = open.usable();
        under_way.idle();
        out.queue.finished(id, job, outcome, usable).await;
        job = match next.recv().await {
            Some(job) => {
                under_way.job(&job);
                job
            }
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
pub(crate) struct NotOpened {
    pub(crate) failure: Failure,
    pub(crate) verdict: Verdict,
    pub(crate) facts: Attempt,
}

impl Outbound {
    /// Opens a session for its first message. A source whose address cannot be bound is checked at once. Err(None): a reload came before it was open.
    async fn open_or_explain(&self, id: SessionId, site: &Site, source: &Name, first: Seq) -> Result<Open, Option<NotOpened>> {
        let (failure, facts) = match self.open(id, site, source, first).await {
            Ok(open) => {
                self.say_reach(self.reach.reached(site.fixed));
                return Ok(open);
            }
            Err(failed) => failed,
        };
        self.say_reach(self.reach.failed(&failure, &site.provider, site.fixed));
        let verdict = self.judge(&failure, site, Some(&facts));
        if matches!(failure, Failure::Local { cause: LocalCause::SourceUnavailable, .. }) {
            self.sources.look_at(source).await;
        }
        Err((!self.is_outdated(site)).then_some(NotOpened { failure, verdict, facts }))
    }

    /// Whether the network lets mail out is an alarm until it does.
    fn say_reach(&self, news: Option<ReachNews>) {
        match news {
            None => {}
            Some(ReachNews::Blocked(what)) => self.journal.raise(ReachNews::finding(what)),
            Some(ReachNews::Open) => {
                self.journal.mended(Part::Delivery, reach::ALARM.0, reach::ALARM.1, || "a receiver that DNS names was reached".into());
            }
        }
    }

    /// Whether a reload came since a site was looked up: routes, DNS, TLS and logins may be others now.
    pub(crate) fn is_outdated(&self, site: &Site) -> bool {
        site.generation != self.settings.get().generation
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
    pub(crate) fn suppressed(&self, message: &Message, rcpts: &[u16]) -> Vec<Option<Arc<Suppressed>>> {
        let settings = self.settings.get();
        let list = List::new(&self.register, &settings.suppression);
        let now = clock::now();
        let record = &message.record;
        let user = record.user.as_deref().and_then(UserScope::new);
        let entry = |rcpt: &u16| list.look_up(&record.envelope.recipients[usize::from(*rcpt)], &record.stream, user.as_ref(), now);
        rcpts.iter().map(|rcpt| entry(rcpt).as_ref().map(forbids)).collect()
    }

    /// The job's message with its body: from memory, else from the spool, with its share of the memory for bodies.
    pub(crate) async fn message(&self, job: &DeliveryJob) -> Result<(Arc<Message>, Option<Share>), ReadError> {
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
        let owner = record.user.clone().unwrap_or_else(|| format!("stream:{}", record.stream).into());
        let share = self.bodies.take(&owner, record.size, max).await.ok_or(ReadError::NoMemory)?;
        let spool = self.spool.clone();
        let read = tokio::task::spawn_blocking(move || body(&spool, seq));
        let body = read.await.unwrap_or_else(|error| Err(ReadError::Task(error)))?;
        Ok((Arc::new(Message::new(record, vec![body], None)), Some(share)))
    }

    /// What a failure means. `facts`: of the connection, if there was one.
    pub(crate) fn judge(&self, failure: &Failure, site: &Site, facts: Option<&Attempt>) -> Verdict {
        if site.fixed && logins::is_refused(failure) {
            return logins::verdict(failure, false);
        }
        let context = Context { provider: Some(site.provider.as_str()), mx_host: facts.and_then(|facts| facts.mx_host.as_deref()) };
        let verdict = self.settings.get().rules.classify(failure, &context);
        if login_refusals::is_denied(failure, site, &verdict) {
            return logins::verdict(failure, true);
        }
        blame::not_of_the_lane(verdict, failure, site.fixed, facts.and_then(|facts| facts.source_ip))
    }
}

fn body(spool: &Spool, seq: Seq) -> Result<Bytes, ReadError> {
    spool.body(seq).map_err(ReadError::Body)?.ok_or(ReadError::NoBody)
}

/// The entry as events report it.
fn forbids(entry: &SuppressionEntry) -> Arc<Suppressed> {
    Arc::new(Suppressed { reason: entry.reason.as_str(), scope: entry.scope.to_string().into(), since: entry.since })
}
