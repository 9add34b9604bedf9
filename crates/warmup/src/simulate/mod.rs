//! The simulation of a warm-up before the first message is sent: a scenario goes in, a table of days comes out.
//!
//! It drives the real dispatcher in a world where time jumps from one event to the next. Receivers answer at once, DNS answers at once,
//! connections are never short, and no feedback rule slows a lane, so that the table shows what the curves do. Each recipient is a
//! message of its own. A recipient costs a few microseconds.

mod rows;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use posthaste_bounce::Verdict;
use posthaste_governor::Outcome;
use posthaste_mail::{Action as Remedy, Attempt, Class, Domain, Failure, MessageId, Name, Reply, Scope, Stage};
use posthaste_queue::{
    Action, Arrival, AttemptResult, DeliveryJob, Dispatcher, FateRecord, Input, JobOutcome, LaneLimits, Next, Policy, Seq, SessionId, Site,
};

pub use self::rows::{DayRow, LaneDay, Simulation};
use self::rows::{Tally, lane_days};
use super::scenario::{Incoming, Receivers, Scenario};

/// Longer than any scenario.
const FOR_EVER: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Simulates a scenario with the sources, curves and retries of a stream.
///
/// The relay is assumed to be new: every lane starts on the stage for lanes without a history.
pub fn simulate(policy: &Policy, stream: &Name, scenario: &Scenario) -> Simulation {
    let mut world = World::new(policy, stream, scenario);
    for incoming in scenario.incoming() {
        world.run_to(incoming.at);
        world.arrives(&incoming);
    }
    world.run_to(scenario.starts(scenario.days()));
    Simulation { days: world.rows }
}

/// A recipient that is not at its end.
struct Mail {
    arrived: Timestamp,
    /// Whether it has had to wait for budget.
    waited: bool,
    state: MailState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MailState {
    /// It is due now.
    Due,
    /// It waits for budget.
    Waits,
    /// It is tried again at this time, in milliseconds since 1970.
    Retry(i64),
}

struct World<'s> {
    scenario: &'s Scenario,
    stream: &'s Name,
    dispatcher: Dispatcher,
    receivers: Receivers,
    /// The providers, and the domain that stands for each one's mailboxes.
    providers: Vec<(Name, Domain)>,
    /// The source and the provider of each open session.
    sessions: HashMap<SessionId, (Arc<str>, Arc<str>)>,
    mail: HashMap<Seq, Mail>,
    /// The recipients that are tried again, by time.
    retries: BTreeSet<(i64, Seq)>,
    waiting: u64,
    last: Seq,
    now: Timestamp,
    /// The current day, and when it ends.
    day: usize,
    ends: Timestamp,
    tally: Tally,
    rows: Vec<DayRow>,
}

impl<'s> World<'s> {
    fn new(policy: &Policy, stream: &'s Name, scenario: &'s Scenario) -> Self {
        let domain = |at: usize| Domain::new(&format!("p{at}.invalid")).expect("letters and digits are a domain");
        let named = |(at, (provider, _)): (usize, &(Arc<str>, u32))| (Name::new(provider).expect("providers have names"), domain(at));
        let start = scenario.starts(0);
        Self {
            scenario,
            stream,
            dispatcher: Dispatcher::new(without_receivers_limits(policy)),
            receivers: scenario.receivers(),
            providers: scenario.mix.iter().enumerate().map(named).collect(),
            sessions: HashMap::new(),
            mail: HashMap::new(),
            retries: BTreeSet::new(),
            waiting: 0,
            last: 0,
            now: start,
            day: 0,
            ends: scenario.starts(1),
            tally: Tally::default(),
            rows: Vec::new(),
        }
    }

    fn arrives(&mut self, incoming: &Incoming) {
        self.tally.arrived += 1;
        self.last += 1;
        let seq = self.last;
        self.mail.insert(seq, Mail { arrived: incoming.at, waited: false, state: MailState::Due });
        let arrival = Arrival {
            seq,
            id: MessageId::new(incoming.at, u128::from(seq)),
            arrived: incoming.at,
            put_off: None,
            stream: self.stream.clone(),
            user: None,
            priority: Default::default(),
            deliver_by: None,
            size: 0,
            domains: vec![self.providers[incoming.provider].1.clone()],
            progress: None,
            guarded: None,
            warm: None,
        };
        self.feed(Input::Arrived(Box::new(arrival)));
        self.waits_if_due(seq);
    }

    /// Does everything that is due by `time`, and sets the clock to `time`.
    fn run_to(&mut self, time: Timestamp) {
        while let Some(at) = self.dispatcher.next_wake().filter(|at| *at <= time) {
            self.turn_to(at.max(self.now));
            self.feed(Input::Wake);
            self.begin_waits();
        }
        self.turn_to(time);
    }

    /// Sets the clock to `time`, and adds the rows of days that are over by then.
    fn turn_to(&mut self, time: Timestamp) {
        while self.ends <= time && self.day < self.scenario.days() {
            self.now = self.ends;
            self.close_day();
        }
        self.now = time;
    }

    fn close_day(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let date = self.scenario.date(self.day);
        let lanes = lane_days(self.dispatcher.governor(), date);
        self.rows.push(tally.row(self.day, date, self.waiting, lanes));
        self.day += 1;
        self.ends = self.scenario.starts(self.day + 1);
    }

    /// Gives the dispatcher an input, and does what it wants done until nothing more follows at this time.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.dispatcher.handle(input, self.now) {
                match action {
                    Action::Resolve(domain, name, _) => {
                        let (provider, _) =
                            self.providers.iter().find(|(_, known)| *known == *name).expect("only known domains are asked for");
                        inputs.push_back(Input::Resolved(domain, Ok(Arc::new(Site::at(provider.clone()))), FOR_EVER));
                    }
                    Action::Open { session, site, source, job } => {
                        self.sessions.insert(session, (source.as_str().into(), site.provider.as_str().into()));
                        inputs.extend([Input::Opened(session), self.attempt(session, job)]);
                    }
                    Action::Deliver(session, job) => inputs.push_back(self.attempt(session, job)),
                    Action::Close(session) => drop(self.sessions.remove(&session)),
                    Action::Record(record) => {
                        self.decided(&record);
                        inputs.push_back(Input::Logged(record.unoffered, record.results));
                    }
                    // Nothing is written to disk or to a log here.
                    Action::Ledger(_) | Action::Lane { .. } | Action::Clock(_) => {}
                }
            }
        }
    }

    fn attempt(&mut self, session: SessionId, job: Box<DeliveryJob>) -> Input {
        self.set(job.seq, MailState::Due);
        let (source, provider) = &self.sessions[&session];
        let answer = self.receivers.answer(source, provider, self.day);
        self.tally.put_off += u64::from(matches!(answer, Outcome::Throttled | Outcome::Deferred));
        self.tally.spilled += u64::from(job.spilled);
        let outcome = JobOutcome::Answered { said: vec![said(answer)], facts: Arc::new(Attempt::default()) };
        Input::Finished { session, job, outcome, usable: true }
    }

    fn decided(&mut self, record: &FateRecord) {
        let seq = record.seq;
        for fate in &record.fates {
            match fate.next {
                Next::Delivered => {
                    self.tally.sent(self.now.duration_since(self.mail[&seq].arrived));
                    self.ended(seq);
                }
                Next::Bounced => {
                    self.tally.bounced += 1;
                    self.ended(seq);
                }
                Next::Deferred(at) => {
                    self.set(seq, MailState::Retry(at.as_millisecond()));
                }
                Next::Expired => {
                    self.tally.expired += 1;
                    self.ended(seq);
                }
                // Whether and how long a recipient waits shows by when it is tried; short waits are not recorded.
                Next::Waits(_) => {}
                Next::Suppressed | Next::Cancelled(..) | Next::Held(_) | Next::Released(_) | Next::Late => {
                    unreachable!("nobody suppresses or steers mail in a simulation")
                }
            }
        }
    }

    /// Recipients whose retry is due by now and that were not tried wait for budget.
    fn begin_waits(&mut self) {
        while let Some((_, seq)) = self.retries.first().copied().filter(|(at, _)| *at <= self.now.as_millisecond()) {
            self.set(seq, MailState::Due);
            self.waits_if_due(seq);
        }
    }

    fn waits_if_due(&mut self, seq: Seq) {
        let Some(mail) = self.mail.get_mut(&seq).filter(|mail| mail.state == MailState::Due) else { return };
        self.tally.deferred += u64::from(!mail.waited);
        mail.waited = true;
        self.set(seq, MailState::Waits);
    }

    fn set(&mut self, seq: Seq, state: MailState) {
        let mail = self.mail.get_mut(&seq).expect("only recipients that are left change");
        match std::mem::replace(&mut mail.state, state) {
            MailState::Due => {}
            MailState::Waits => self.waiting -= 1,
            MailState::Retry(at) => drop(self.retries.remove(&(at, seq))),
        }
        match state {
            MailState::Due => {}
            MailState::Waits => self.waiting += 1,
            MailState::Retry(at) => drop(self.retries.insert((at, seq))),
        }
    }

    fn ended(&mut self, seq: Seq) {
        self.set(seq, MailState::Due);
        self.mail.remove(&seq);
    }
}

/// A policy for a world where one connection carries any amount of mail and receivers' replies have no effect on lanes beyond the curves'
/// own health rules. Rates per minute, hour and day stay.
fn without_receivers_limits(policy: &Policy) -> Policy {
    let unlimited = |limits: &LaneLimits| LaneLimits { connections: 1, messages_per_connection: u32::MAX, ..*limits };
    Policy {
        providers: policy.providers.iter().map(|(provider, limits)| (provider.clone(), unlimited(limits))).collect(),
        limits: unlimited(&policy.limits),
        feedback: Arc::new(policy.feedback.without_rules()),
        connections: usize::MAX,
        idle: FOR_EVER,
        ..policy.clone()
    }
}

/// A receiver's answer as the dispatcher is told of it.
fn said(outcome: Outcome) -> AttemptResult {
    let (code, text, class, action, permanent) = match outcome {
        Outcome::HardBounce => (550, "5.1.1 no such user", Class::InvalidRecipient, Remedy::Suppress, true),
        Outcome::Throttled => (451, "4.7.1 too much", Class::RateLimited, Remedy::SlowDown, false),
        Outcome::Deferred => (451, "4.3.0 later", Class::TransientOther, Remedy::Retry, false),
        Outcome::Blocked => (554, "5.7.1 blocked", Class::IpReputation, Remedy::PauseLane, true),
        _ => return AttemptResult::Delivered(Reply::new(250, "2.0.0 ok")),
    };
    let (rule, why) = ("simulated".into(), "the scenario says so".into());
    let verdict = Verdict { class, scope: Scope::Recipient, action, permanent, confidence: 1.0, rule, why, link: None };
    AttemptResult::Failed(Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(code, text) }, verdict)
}

#[cfg(test)]
mod tests;
