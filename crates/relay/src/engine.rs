//! The shell around the dispatcher: one task that owns it, feeds it and does what it says. It never waits for anybody but the time and its
//! own inbox.

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

/// Inputs taken before the clock is asked again.
const BATCH: usize = 256;
/// Jobs that wait for a session: the dispatcher gives it the next one when it has given back the last.
const JOBS_WAITING: usize = 1;

/// The shell.
pub struct Engine {
    dispatcher: Dispatcher,
    outbound: Arc<Outbound>,
    lookups: Lookups,
    recorder: Sender<Note>,
    ledger: LedgerWriter,
    sessions: HashMap<SessionId, mpsc::Sender<Box<DeliveryJob>>>,
    /// What follows from actions that could not be done, to be handled next.
    follow_up: VecDeque<Input>,
}

impl Engine {
    /// A shell around `dispatcher`.
    pub fn new(dispatcher: Dispatcher, outbound: Arc<Outbound>, lookups: Lookups, recorder: Sender<Note>, ledger: LedgerWriter) -> Self {
        Self { dispatcher, outbound, lookups, recorder, ledger, sessions: HashMap::new(), follow_up: VecDeque::new() }
    }

    /// Does what the recovered queue wants, then runs until everyone who could send a command is gone.
    pub async fn run(mut self, end: QueueEnd, first: Vec<Action>) {
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
                        // Whoever asked may be gone; what was to be done is done all the same.
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
                let (loads, next) = mpsc::channel(JOBS_WAITING);
                self.sessions.insert(session, loads);
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
        let loads = self.sessions.get(&session).expect("the dispatcher gives jobs to sessions that it opened");
        let Err(refused) = loads.try_send(job) else { return };
        // A session that broke down gave back its last job; this one was offered to nobody.
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
