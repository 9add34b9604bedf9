//! The engine: one task that owns the dispatcher, passes inputs to it and carries out its actions. It waits only for the clock and for its
//! own inputs.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    sync::{Arc, mpsc::Sender},
};

use jiff::Timestamp;
use posthaste_delivery::{Lookups, Outbound, ledger::LedgerWriter, session};
use posthaste_host::clock;
use posthaste_mail::{Failure, LocalCause, Stage};
use posthaste_queue::{Action, Command, DeliveryJob, Dispatcher, Gauge, Input, JobOutcome, QueueEnd, SessionId, lane_event::lane_facts};
use tokio::sync::mpsc;

use crate::recorder::Note;

/// Inputs handled before the clock is read again.
const BATCH: usize = 256;
/// Jobs queued for a session. One is enough: the dispatcher assigns the next job once the session has returned the last.
const JOBS_WAITING: usize = 1;

/// Runs the dispatcher.
pub(crate) struct Engine {
    dispatcher: Dispatcher,
    outbound: Arc<Outbound>,
    lookups: Lookups,
    recorder: Sender<Note>,
    ledger: LedgerWriter,
    sessions: HashMap<SessionId, mpsc::Sender<Box<DeliveryJob>>>,
    /// Inputs that result from actions that could not be carried out; handled next.
    follow_up: VecDeque<Input>,
}

impl Engine {
    /// An engine that runs `dispatcher`.
    pub(crate) fn new(
        dispatcher: Dispatcher,
        outbound: Arc<Outbound>,
        lookups: Lookups,
        recorder: Sender<Note>,
        ledger: LedgerWriter,
    ) -> Self {
        Self { dispatcher, outbound, lookups, recorder, ledger, sessions: HashMap::new(), follow_up: VecDeque::new() }
    }

    /// Carries out the actions of the recovered queue, then runs until all queue handles are dropped.
    pub(crate) async fn run(mut self, end: QueueEnd, first: Vec<Action>) {
        let QueueEnd { mut commands, gauge: shown } = end;
        first.into_iter().for_each(|action| self.perform(action));
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wake = self.dispatcher.next_wake();
            tokio::select! {
                n = commands.recv_many(&mut batch, BATCH) => if n == 0 { return },
                () = until(wake) => batch.push(Command::Input(Input::Wake)),
            }
            let now = clock::now();
            for command in batch.drain(..) {
                let actions = match command {
                    Command::Input(input) => self.dispatcher.handle(input, now),
                    Command::Ask(question, reply) => {
                        let (answer, actions) = self.dispatcher.answer(question, now);
                        // The caller may have gone; the command is carried out all the same.
                        drop(reply.send(answer));
                        actions
                    }
                };
                actions.into_iter().for_each(|action| self.perform(action));
                while let Some(input) = self.follow_up.pop_front() {
                    let actions = self.dispatcher.handle(input, now);
                    actions.into_iter().for_each(|action| self.perform(action));
                }
            }
            let gauge = Gauge { messages: self.dispatcher.queued().0, sessions: self.dispatcher.sessions() };
            shown.send_if_modified(|seen| std::mem::replace(seen, gauge) != gauge);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Resolve(ix, domain) => self.lookups.begin(ix, domain),
            Action::Open { session, site, source, job } => {
                let (jobs, next) = mpsc::channel(JOBS_WAITING);
                self.sessions.insert(session, jobs);
                tokio::spawn(session::run(self.outbound.clone(), session, site, source, job, next));
            }
            Action::Deliver(session, job) => self.deliver(session, job),
            Action::Close(session) => drop(self.sessions.remove(&session)),
            Action::Record(record) => drop(self.recorder.send(Note::Record(record))),
            Action::Ledger(batch) => self.ledger.write(batch),
            Action::Lane { key, plan, change } => {
                if let Some(facts) = lane_facts(&key, &plan, &change) {
                    drop(self.recorder.send(Note::Lane(change.at, Box::new(facts))));
                }
            }
        }
    }

    fn deliver(&mut self, session: SessionId, job: Box<DeliveryJob>) {
        let jobs = self.sessions.get(&session).expect("the dispatcher gives jobs to sessions that it opened");
        let Err(refused) = jobs.try_send(job) else { return };
        // A session that failed has returned its last job; this one was never offered to a receiver.
        let job = refused.into_inner();
        let failure = Failure::Local { stage: Stage::Mail, cause: LocalCause::LocalError, detail: "the session is gone".into() };
        self.follow_up.push_back(Input::Finished { session, job, outcome: JobOutcome::NotOffered { failure }, usable: false });
    }
}

async fn until(wake: Option<Timestamp>) {
    match wake {
        None => pending().await,
        Some(at) => {
            tokio::time::sleep(clock::sleep_for(at.duration_since(clock::now()))).await;
        }
    }
}
