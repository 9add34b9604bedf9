//! The engine: one task that owns the dispatcher, passes inputs to it and carries out its actions. It waits only for the clock and for its
//! own inputs.

mod clock_news;
mod deferrals;
mod halt;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use jiff::Timestamp;
use posthaste_delivery::{Lookups, Outbound, ledger::LedgerWriter, session};
use posthaste_host::clock;
use posthaste_journal::Journal;
use posthaste_mail::{Failure, LocalCause, Stage};
use posthaste_queue::{Action, Command, DeliveryJob, Dispatcher, Gauge, Input, JobOutcome, QueueEnd, SessionId};
use posthaste_warmup::lane_facts;
use tokio::sync::{mpsc, watch};

pub(crate) use self::{clock_news::LANE_WAITS, halt::HALTED};
use self::{
    clock_news::tell,
    deferrals::{Deferrals, Ready},
    halt::{HaltNews, Standing, say_halt, watch_spool},
};
use crate::recorder::{Logged, Note, UnloggedRecord};

/// Inputs handled before the clock is read again.
const BATCH: usize = 256;
/// Jobs queued for a session. One is enough: the dispatcher assigns the next job once the session has returned the last.
const JOBS_WAITING: usize = 1;

/// The longest sleep. Sleeps are measured by a clock that nobody sets, so this is how soon an idle relay notices that the wall clock was set.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// The longest sleep while deliveries are halted: how soon they go on once results are durable.
const HALTED_SLEEP_MAX: Duration = Duration::from_millis(50);

/// Runs the dispatcher.
pub(crate) struct Engine {
    dispatcher: Dispatcher,
    outbound: Arc<Outbound>,
    lookups: Lookups,
    recorder: Sender<Note>,
    ledger: LedgerWriter,
    journal: Journal,
    logged: Logged,
    deferrals: Deferrals,
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
        let journal = outbound.journal.clone();
        let (logged, deferrals, sessions, follow_up) = (Logged::default(), Deferrals::default(), HashMap::new(), VecDeque::new());
        Self { dispatcher, outbound, lookups, recorder, ledger, journal, logged, deferrals, sessions, follow_up }
    }

    /// Carries out the actions of the recovered queue, then runs until all queue handles are dropped.
    pub(crate) async fn run(mut self, end: QueueEnd, first: Vec<Action>) {
        let QueueEnd { mut commands, gauge: shown } = end;
        first.into_iter().for_each(|action| self.perform(action));
        let mut batch = Vec::with_capacity(BATCH);
        let (spool_seen, spool) = watch::channel(None);
        tokio::spawn(watch_spool(self.outbound.spool.clone(), spool_seen));
        let mut standing = Standing::new(self.journal.clone(), spool, self.logged.clone());
        let mut halt_news = HaltNews::default();
        loop {
            let waits = self.dispatcher.awaits_the_log() || self.deferrals.wait();
            let most = if waits { HALTED_SLEEP_MAX } else { SLEEP_MAX };
            let nap = asleep(self.dispatcher.next_wake(), clock::now(), most);
            tokio::select! {
                n = commands.recv_many(&mut batch, BATCH) => if n == 0 {
                    let waiting = self.deferrals.all();
                    return waiting.for_each(|record| self.write_down((record, None)));
                },
                () = tokio::time::sleep(nap) => batch.push(Command::Input(Input::Wake)),
            }
            let now = clock::now();
            for input in standing.inputs() {
                self.handle(input, now);
            }
            while let Some(ready) = self.deferrals.next() {
                self.write_down(ready);
            }
            for command in batch.drain(..) {
                match command {
                    Command::Input(input) => self.handle(input, now),
                    Command::Ask(question, reply) => {
                        let (answer, actions) = self.dispatcher.answer(question, now);
                        // Before it is answered: who asks for what comes of it next, asks after it.
                        self.perform_all(actions, now);
                        // The caller may have gone; the command is carried out all the same.
                        drop(reply.send(answer));
                    }
                }
            }
            if let Some((state, detail)) = halt_news.news(self.dispatcher.halted(), clock::instant()) {
                say_halt(&self.journal, state, detail);
            }
            let gauge = Gauge { messages: self.dispatcher.queued().0, sessions: self.dispatcher.sessions() };
            shown.send_if_modified(|seen| std::mem::replace(seen, gauge) != gauge);
        }
    }

    fn handle(&mut self, input: Input, now: Timestamp) {
        let actions = self.dispatcher.handle(input, now);
        self.perform_all(actions, now);
    }

    /// Carries out actions, and has the dispatcher handle the inputs that result from those that could not be carried out.
    fn perform_all(&mut self, actions: Vec<Action>, now: Timestamp) {
        actions.into_iter().for_each(|action| self.perform(action));
        while let Some(input) = self.follow_up.pop_front() {
            let actions = self.dispatcher.handle(input, now);
            actions.into_iter().for_each(|action| self.perform(action));
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Resolve(ix, domain, party) => self.lookups.begin(ix, domain, party),
            Action::Open { session, site, source, job } => {
                let (jobs, next) = mpsc::channel(JOBS_WAITING);
                self.sessions.insert(session, jobs);
                tokio::spawn(session::run(self.outbound.clone(), session, site, source, job, next));
            }
            Action::Deliver(session, job) => self.deliver(session, job),
            Action::Close(session) => drop(self.sessions.remove(&session)),
            Action::Record(record) => self.deferrals.take(record).into_iter().flatten().for_each(|ready| self.write_down(ready)),
            Action::Ledger(batch) => self.ledger.write(batch),
            Action::Lane { key, plan, change } => {
                if let Some(facts) = lane_facts(&key, &plan, &change) {
                    drop(self.recorder.send(Note::Lane(change.at, Box::new(facts))));
                }
            }
            Action::Clock(news) => tell(&self.journal, &news),
        }
    }

    fn write_down(&self, (record, states): Ready) {
        let results = self.logged.expect(record.unoffered, record.results, states);
        drop(self.recorder.send(Note::Record(UnloggedRecord { record, results })));
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

/// How long to sleep at `now` until the dispatcher needs to be woken, at most `most`.
fn asleep(wake: Option<Timestamp>, now: Timestamp, most: Duration) -> Duration {
    wake.map_or(most, |at| clock::sleep_for(at.duration_since(now)).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_relay_looks_at_the_clock_within_a_minute() {
        let now = clock::now();
        let in_a_while = |seconds| Some(now + Duration::from_secs(seconds));
        assert_eq!(asleep(in_a_while(3), now, SLEEP_MAX), Duration::from_secs(3));
        assert_eq!(asleep(Some(now - Duration::from_secs(3)), now, SLEEP_MAX), Duration::ZERO);
        for wake in [None, in_a_while(172_800)] {
            assert!(asleep(wake, now, SLEEP_MAX) < Duration::from_secs(60));
        }
    }
}
