//! The handle through which the rest of the relay uses the queue: one method for each input and each question.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_governor::{Note, warmup};
use posthaste_mail::{Attempt, Failure, Name};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    backlog::table::DomainIx,
    exchange::{Arrival, AttemptResult, DeliveryJob, Input, JobOutcome, SessionId, Unroutable},
    operator::{
        guarding::{GuardChange, GuardedRow},
        question::{Answer, Changed, Question, QueueChange, QueueTable, Reasons},
        rows::Messages,
        selection::MessageSelection,
    },
    policy::Policy,
    site::Site,
};

/// The most commands that wait for the dispatcher's task; a sender waits while the channel is full. The task itself waits for no sender, so
/// there is no deadlock.
const COMMANDS_MAX: usize = 4096;

/// A command to the dispatcher's task.
#[derive(Debug)]
pub enum Command {
    /// Something happened.
    Input(Input),
    /// A question to the queue or a change of it, and where the answer goes.
    Ask(Question, oneshot::Sender<Answer>),
}

/// Figures of the queue that can be read without asking its task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Messages queued.
    pub messages: usize,
    /// Sessions opening or open.
    pub sessions: usize,
}

/// The queue has ended and answers no more: the relay is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay is stopping")]
pub struct Stopping;

/// A handle to the queue. Inputs to a queue that has stopped are dropped; their mail stays in the spool.
#[derive(Clone, Debug)]
pub struct QueueHandle {
    commands: mpsc::Sender<Command>,
    gauge: watch::Receiver<Gauge>,
}

/// The receiving end, for the task that owns the dispatcher.
#[derive(Debug)]
pub struct QueueEnd {
    /// The commands.
    pub commands: mpsc::Receiver<Command>,
    /// Where the task publishes how full the queue is.
    pub gauge: watch::Sender<Gauge>,
}

impl QueueHandle {
    /// A handle and its receiving end.
    pub fn new() -> (Self, QueueEnd) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (gauge, seen) = watch::channel(Gauge::default());
        (Self { commands: sender, gauge: seen }, QueueEnd { commands, gauge })
    }

    /// How full the queue is.
    pub fn gauge(&self) -> Gauge {
        *self.gauge.borrow()
    }

    /// Waits until no session is left or the queue has ended.
    pub async fn no_sessions(&self) {
        let _ = self.gauge.clone().wait_for(|gauge| gauge.sessions == 0).await;
    }

    /// The spool has a new message.
    pub async fn arrived(&self, arrival: Arrival) {
        self.tell(Input::Arrived(Box::new(arrival))).await;
    }

    /// DNS was asked for a domain's hosts.
    pub async fn resolved(&self, domain: DomainIx, answer: Result<Arc<Site>, Arc<Unroutable>>, ttl: Duration) {
        self.tell(Input::Resolved(domain, answer, ttl)).await;
    }

    /// A session can take mail.
    pub async fn opened(&self, session: SessionId) {
        self.tell(Input::Opened(session)).await;
    }

    /// A session could not be opened; its first job was not offered to any host.
    pub async fn open_failed(&self, session: SessionId, job: Box<DeliveryJob>, failure: Failure, verdict: Verdict, facts: Arc<Attempt>) {
        self.tell(Input::OpenFailed { session, job, failure, verdict, facts }).await;
    }

    /// A session has finished a job. `usable`: it can take another.
    pub async fn finished(&self, session: SessionId, job: Box<DeliveryJob>, outcome: JobOutcome, usable: bool) {
        self.tell(Input::Finished { session, job, outcome, usable }).await;
    }

    /// Some recipients of a session's job have their results; the session goes on with the others.
    pub async fn part_finished(&self, session: SessionId, job: Box<DeliveryJob>, said: Vec<AttemptResult>, facts: Arc<Attempt>) {
        self.tell(Input::PartFinished { session, job, said, facts }).await;
    }

    /// Something became known about mail that was sent earlier.
    pub async fn known(&self, source: Name, provider: Name, note: Note) {
        self.tell(Input::Known { source, provider, note }).await;
    }

    /// Smart hosts that refused the relay's login take its mail again, or are no longer asked with that login: what waited for that goes at
    /// once. By the keys of their sites.
    pub async fn logins_changed(&self, sites: Vec<Arc<str>>) {
        self.tell(Input::LoginsChanged(sites)).await;
    }

    /// These sources are not on this host.
    pub async fn sources_gone(&self, gone: HashSet<Name>) {
        self.tell(Input::Sources(gone)).await;
    }

    /// Another policy is in force; when this returns, no job is given out under the old one, and no kept connection is left of it.
    pub async fn follow(&self, policy: Policy) {
        self.tell(Input::Policy(Box::new(policy))).await;
        // An error means that the queue has stopped.
        drop(self.ask(Question::Sync).await);
    }

    /// The relay stops: no new session is opened.
    pub async fn drain(&self) {
        self.tell(Input::Drain).await;
    }

    /// The queue's table.
    pub async fn table(&self) -> Result<QueueTable, Stopping> {
        match self.ask(Question::Table).await? {
            Answer::Table(table) => Ok(table),
            other => unreachable!("not a table: {other:?}"),
        }
    }

    /// Up to `limit` of the messages that fit, the oldest first.
    pub async fn messages(&self, selection: MessageSelection, limit: usize) -> Result<Messages, Stopping> {
        match self.ask(Question::Messages { selection, limit }).await? {
            Answer::Messages(messages) => Ok(messages),
            other => unreachable!("not messages: {other:?}"),
        }
    }

    /// Makes an operator's change.
    pub async fn change(&self, change: QueueChange) -> Result<Changed, Stopping> {
        match self.ask(Question::Change(change)).await? {
            Answer::Changed(changed) => Ok(changed),
            other => unreachable!("not a change: {other:?}"),
        }
    }

    /// What the guard holds, by user and stream.
    pub async fn guarded(&self) -> Result<Vec<GuardedRow>, Stopping> {
        match self.ask(Question::Guarded).await? {
            Answer::Guarded(rows) => Ok(rows),
            other => unreachable!("not what the guard holds: {other:?}"),
        }
    }

    /// Ends what the guard holds. Returns how many messages it was.
    pub async fn end_guarded(&self, change: GuardChange) -> Result<usize, Stopping> {
        match self.ask(Question::Guard(change)).await? {
            Answer::Changed(changed) => Ok(changed.messages),
            other => unreachable!("not a change: {other:?}"),
        }
    }

    /// The reasons why up to `limit` of the selected recipients wait, and the state of these sources' lanes at the provider, if one is
    /// given.
    pub async fn why(
        &self,
        selection: MessageSelection,
        limit: usize,
        provider: Option<Name>,
        sources: Vec<Name>,
    ) -> Result<Reasons, Stopping> {
        match self.ask(Question::Why { selection, limit, provider, sources }).await? {
            Answer::Why(reasons) => Ok(reasons),
            other => unreachable!("no reasons: {other:?}"),
        }
    }

    /// When the oldest message that waits was accepted; None if there is none.
    pub async fn oldest(&self) -> Result<Option<Timestamp>, Stopping> {
        match self.ask(Question::Oldest).await? {
            Answer::Oldest(oldest) => Ok(oldest),
            other => unreachable!("not a time: {other:?}"),
        }
    }

    /// Shows or changes the warm-up. A change has been handed to the spool when this returns.
    pub async fn warmup(&self, ask: warmup::WarmupQuestion) -> Result<warmup::WarmupAnswer, Stopping> {
        let answer = match self.ask(Question::Warmup(ask)).await? {
            Answer::Warmup(answer) => answer,
            other => unreachable!("not of the warm-up: {other:?}"),
        };
        // The actions that follow from an answer are carried out before the next question is taken up.
        self.ask(Question::Sync).await?;
        Ok(answer)
    }

    /// Returns the budget that is leased and not used, for a stop. The change has been handed to the spool when this returns.
    pub async fn return_leases(&self) -> Result<(), Stopping> {
        self.ask(Question::ReturnLeases).await?;
        self.ask(Question::Sync).await.map(drop)
    }

    async fn tell(&self, input: Input) {
        // An error means that the queue has stopped.
        drop(self.commands.send(Command::Input(input)).await);
    }

    async fn ask(&self, question: Question) -> Result<Answer, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Ask(question, reply)).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}
