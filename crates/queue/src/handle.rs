//! How the rest of the relay speaks to the queue: one handle with a call for each thing that can be said or asked.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_governor::Note;
use posthaste_mail::{Attempt, Failure, Name};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    backlog::table::DomainIx,
    exchange::{Arrival, DeliveryJob, Input, Outcome, SessionId, Unroutable},
    operator::{
        question::{Answer, Question, QueueTable, Reasons},
        rows::Messages,
        selection::Selection,
    },
    policy::Policy,
    site::Site,
    warmup,
};

/// Commands that wait for the dispatcher's task. Whoever has more to say waits; the task itself never waits for anybody, so that this ends.
const COMMANDS_MAX: usize = 4096;

/// What the dispatcher's task is told.
#[derive(Debug)]
pub enum Command {
    /// Something happened.
    Input(Input),
    /// Somebody wants to look at the queue or to change it, and hears the answer here.
    Ask(Question, oneshot::Sender<Answer>),
}

/// What can be seen of the queue without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Messages queued.
    pub messages: usize,
    /// Sessions opening or open.
    pub sessions: usize,
}

/// Nobody answers: the relay is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay is stopping")]
pub struct Stopping;

/// A handle to the queue. What is said to a queue that has stopped is dropped: its mail stays in the spool.
#[derive(Clone, Debug)]
pub struct QueueHandle {
    commands: mpsc::Sender<Command>,
    gauge: watch::Receiver<Gauge>,
}

/// The other end, for the task that owns the dispatcher.
#[derive(Debug)]
pub struct QueueEnd {
    /// What it is told.
    pub commands: mpsc::Receiver<Command>,
    /// Where it shows how full the queue is.
    pub gauge: watch::Sender<Gauge>,
}

impl QueueHandle {
    /// A handle and its other end.
    pub fn new() -> (Self, QueueEnd) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (gauge, seen) = watch::channel(Gauge::default());
        (Self { commands: sender, gauge: seen }, QueueEnd { commands, gauge })
    }

    /// How full the queue is.
    pub fn gauge(&self) -> Gauge {
        *self.gauge.borrow()
    }

    /// Comes back when no session is left, or the queue has ended.
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

    /// A session could not be opened; its first load was offered to nobody.
    pub async fn open_failed(&self, session: SessionId, load: Box<DeliveryJob>, failure: Failure, verdict: Verdict, facts: Arc<Attempt>) {
        self.tell(Input::OpenFailed { session, load, failure, verdict, facts }).await;
    }

    /// A session has done with a load. `usable`: it can take another.
    pub async fn finished(&self, session: SessionId, load: Box<DeliveryJob>, outcome: Outcome, usable: bool) {
        self.tell(Input::Finished { session, load, outcome, usable }).await;
    }

    /// Something became known of mail that was sent before.
    pub async fn known(&self, source: Name, provider: Name, note: Note) {
        self.tell(Input::Known { source, provider, note }).await;
    }

    /// These sources are not on this host.
    pub async fn sources_gone(&self, gone: HashSet<Name>) {
        self.tell(Input::Sources(gone)).await;
    }

    /// Another policy is in force.
    pub async fn follow(&self, policy: Policy) {
        self.tell(Input::Policy(Box::new(policy))).await;
    }

    /// Begin nothing new: the relay stops.
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
    pub async fn messages(&self, selection: Selection, limit: usize) -> Result<Messages, Stopping> {
        match self.ask(Question::Messages { selection, limit }).await? {
            Answer::Messages(messages) => Ok(messages),
            other => unreachable!("not messages: {other:?}"),
        }
    }

    /// Does what an operator wants (retry, hold, release, cancel); how many messages it concerned.
    pub async fn change(&self, change: Question) -> Result<usize, Stopping> {
        match self.ask(change).await? {
            Answer::Changed(messages) => Ok(messages),
            other => unreachable!("not a change: {other:?}"),
        }
    }

    /// Why up to `limit` recipients that fit wait; and how these sources' lanes at a provider stand, where it is known.
    pub async fn why(&self, selection: Selection, limit: usize, provider: Option<Name>, sources: Vec<Name>) -> Result<Reasons, Stopping> {
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

    /// Looks at the warm-up, or steers it. What was steered has been handed to the spool when this returns.
    pub async fn warmup(&self, ask: warmup::Ask) -> Result<warmup::Answer, Stopping> {
        let answer = match self.ask(Question::Warmup(ask)).await? {
            Answer::Warmup(answer) => answer,
            other => unreachable!("not of the warm-up: {other:?}"),
        };
        // What follows from the answer is done before the next question is taken up.
        self.ask(Question::Sync).await?;
        Ok(answer)
    }

    /// Gives back the budget that is leased and not used, for a stop; it has been handed to the spool when this returns.
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
