//! The dispatcher in simulated time, for tests here and in other crates: a world that answers the dispatcher's actions and jumps from one
//! wake-up to the next.
#![expect(missing_docs, reason = "support of tests, which say what they use it for")]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use posthaste_bounce::{Context, Rules, Verdict};
use posthaste_governor::{LaneChange, LaneKey, Order, Plan, Priority, Shape};
use posthaste_mail::{Attempt, Domain, Failure, LocalCause, MessageId, Name, Reply, Stage, TransferPriority};
use posthaste_message::Progress;
use posthaste_route::Host;

use super::*;
use crate::Site;

pub type Receivers = Box<dyn Fn(&DeliveryJob, Timestamp) -> Result<Reply, Failure>>;

/// A dispatcher with simulated receivers. A session takes the time in `takes` for each job, by host.
pub struct World {
    pub dispatcher: Dispatcher,
    pub now: Timestamp,
    pub answer: Receivers,
    /// Sessions to these domains' hosts can't be opened. That takes the time in `takes`, or 30 seconds.
    pub dead: HashSet<String>,
    /// DNS has no answer for these domains.
    pub nowhere: HashSet<String>,
    /// DNS says that there are no such domains.
    pub no_such_domain: HashSet<String>,
    /// When which domain was asked for, and when a session to which host began to open.
    pub asked: Vec<(Timestamp, String)>,
    pub opened: Vec<(Timestamp, String)>,
    pub takes: HashMap<String, Duration>,
    /// Receivers that say nothing before they have a message, for the time in `takes`: sessions with them give up when they are told to.
    pub stalled: HashSet<String>,
    /// Who submits what arrives.
    pub user: Option<Arc<str>>,
    /// Why the guard holds what arrives now.
    pub guarded: Option<Arc<str>>,
    /// Why it held what has arrived.
    pub held: HashMap<Seq, Arc<str>>,
    pub open: HashMap<SessionId, String>,
    pub pending: BTreeMap<(Timestamp, u64), Input>,
    pub seen: u64,
    pub next_seq: Seq,
    pub log: Vec<(Timestamp, Seq, Rcpt, u32, Next)>,
    pub spool: HashMap<Seq, Option<Progress>>,
    pub most_sessions: usize,
    pub most_by_lane: HashMap<String, usize>,
    pub order: Vec<Seq>,
    /// Deliveries: when, from where.
    pub sent_by: Vec<(Timestamp, String)>,
    /// The source and the provider of each message's last attempt.
    pub went: HashMap<Seq, (String, String)>,
    pub sources: HashMap<SessionId, String>,
    pub disk: HashMap<String, posthaste_governor::LaneEntry>,
    pub changes: Vec<(LaneKey, LaneChange)>,
    pub clock_news: Vec<ClockNews>,
    /// Nothing becomes durable in the log while this is set.
    pub log_is_stuck: bool,
    /// Results that are not durable.
    pub unlogged: BTreeMap<Option<Party>, usize>,
    pub arrivals: HashMap<Seq, (String, Vec<String>, Timestamp)>,
    /// Answers by source and provider, in place of `answer`.
    pub judge: Option<Judge>,
    /// The best hosts of these domains take nothing, and the attempt goes on to the next one.
    pub sick: HashSet<String>,
    /// Recipients offered to a host: when, how many.
    pub offered: Vec<(Timestamp, usize)>,
    /// By when messages are to be delivered.
    pub deliver_by: HashMap<Seq, Deadline>,
}

/// Results that become durable in the log together.
const LOGGED_AT_ONCE: usize = 100;

/// The answer to a source at a provider at a time.
pub type Judge = Box<dyn FnMut(&str, &str, Timestamp) -> AttemptResult>;

pub fn policy() -> Policy {
    let retry = Retry {
        schedule: [5, 10, 20, 40, 60, 120, 240].map(|m| Duration::from_secs(m * 60)).to_vec(),
        jitter: 0.1,
        expire: Duration::from_secs(5 * 86_400),
    };
    Policy {
        streams: HashMap::new(),
        fallback: StreamPolicy {
            retry,
            share: 10,
            pool: Name::new("default").unwrap(),
            order: Order::Weight,
            priority: Priority::Usual,
            shape: Shape::default(),
            one_by_one: false,
        },
        pools: HashMap::from([(
            Name::new("default").unwrap(),
            PoolPolicy { sources: vec![(Name::new("ip1").unwrap(), 1)], relieve: true },
        )]),
        warmups: HashMap::new(),
        warm: Arc::new(Plan::warm()),
        providers: HashMap::new(),
        limits: LaneLimits { connections: 20, messages_per_connection: 100, recipients_per_transaction: 100, shape: Shape::default() },
        feedback: Arc::new(posthaste_feedback::Feedback::with(&[], posthaste_route::Providers::shipped()).unwrap()),
        connections: 50,
        patience: Duration::from_secs(5),
        idle: Duration::from_secs(5),
        host_down: Duration::from_secs(60),
        unlogged_max: 1000,
    }
}

pub fn ok() -> Result<Reply, Failure> {
    Ok(Reply::new(250, "2.0.0 taken"))
}

pub fn refused(code: u16, text: &str) -> Result<Reply, Failure> {
    Err(Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(code, text) })
}

pub fn verdict(failure: &Failure) -> Verdict {
    Rules::shipped().classify(failure, &Context::default())
}

impl World {
    pub fn new(policy: Policy, answer: impl Fn(&DeliveryJob, Timestamp) -> Result<Reply, Failure> + 'static) -> Self {
        Self {
            dispatcher: Dispatcher::new(policy),
            now: "2026-11-23T00:00:00Z".parse().unwrap(),
            answer: Box::new(answer),
            dead: HashSet::new(),
            nowhere: HashSet::new(),
            no_such_domain: HashSet::new(),
            asked: Vec::new(),
            opened: Vec::new(),
            takes: HashMap::new(),
            stalled: HashSet::new(),
            user: None,
            guarded: None,
            held: HashMap::new(),
            open: HashMap::new(),
            pending: BTreeMap::new(),
            seen: 0,
            next_seq: 0,
            log: Vec::new(),
            spool: HashMap::new(),
            most_sessions: 0,
            most_by_lane: HashMap::new(),
            order: Vec::new(),
            sent_by: Vec::new(),
            went: HashMap::new(),
            sources: HashMap::new(),
            disk: HashMap::new(),
            changes: Vec::new(),
            clock_news: Vec::new(),
            log_is_stuck: false,
            unlogged: BTreeMap::new(),
            arrivals: HashMap::new(),
            judge: None,
            sick: HashSet::new(),
            offered: Vec::new(),
            deliver_by: HashMap::new(),
        }
    }

    pub fn arrive(&mut self, stream: &str, domains: &[&str]) -> Seq {
        self.arrive_with(TransferPriority::default(), stream, domains)
    }

    pub fn arrive_with(&mut self, priority: TransferPriority, stream: &str, domains: &[&str]) -> Seq {
        self.arrive_by(None, priority, stream, domains)
    }

    pub fn arrive_by(&mut self, deliver_by: Option<Deadline>, priority: TransferPriority, stream: &str, domains: &[&str]) -> Seq {
        self.next_seq += 1;
        let seq = self.next_seq;
        self.deliver_by.extend(deliver_by.map(|by| (seq, by)));
        self.held.extend(self.guarded.clone().map(|why| (seq, why)));
        self.arrivals.insert(seq, (stream.to_owned(), domains.iter().map(|d| (*d).to_owned()).collect(), self.now));
        let arrival = Arrival {
            seq,
            id: MessageId::new(self.now, u128::from(seq)),
            arrived: self.now,
            put_off: None,
            stream: Name::new(stream).unwrap(),
            user: self.user.clone(),
            priority,
            deliver_by,
            size: 1000,
            domains: domains.iter().map(|d| Domain::new(d).unwrap()).collect(),
            progress: None,
            guarded: self.guarded.clone(),
            warm: None,
        };
        self.feed(Input::Arrived(Box::new(arrival)));
        seq
    }

    /// An orderly stop, and a new start.
    pub fn stopped(mut self, policy: Policy) -> Self {
        self.feed(Input::Drain);
        while let Some(((at, _), input)) = self.pending.pop_first() {
            self.now = self.now.max(at);
            self.feed(input);
        }
        let actions = self.dispatcher.return_leases(self.now);
        self.perform(actions);
        self.restarted(policy)
    }

    /// A kill, and a new start with what was on disk.
    pub fn restarted(mut self, policy: Policy) -> Self {
        self.dispatcher = Dispatcher::new(policy);
        self.dispatcher.restore_ledger(self.disk.values().cloned());
        let lanes = self.disk.values().map(|entry| entry.lane.clone()).collect();
        self.dispatcher.open_lanes(&lanes, self.now);
        (self.open, self.pending) = (HashMap::new(), BTreeMap::new());
        let mut queued: Vec<_> = self.arrivals.iter().map(|(seq, known)| (*seq, known.clone())).collect();
        queued.sort();
        for (seq, (stream, domains, arrived)) in queued {
            let progress = match self.spool.get(&seq) {
                Some(None) => continue,
                Some(Some(progress)) => Some(progress.clone()),
                None => None,
            };
            let domains = domains.iter().map(|d| Domain::new(d).unwrap()).collect();
            let (id, stream) = (MessageId::new(arrived, u128::from(seq)), Name::new(&stream).unwrap());
            let deliver_by = self.deliver_by.get(&seq).copied();
            let begins = progress.as_ref().and_then(|progress| progress.begins).and_then(|at| Timestamp::from_millisecond(at).ok());
            let arrival = Arrival {
                seq,
                id,
                arrived: begins.unwrap_or(arrived),
                put_off: None,
                stream,
                user: self.user.clone(),
                priority: TransferPriority::default(),
                deliver_by,
                size: 1000,
                domains,
                progress,
                guarded: self.held.get(&seq).filter(|_| begins.is_none()).cloned(),
                warm: None,
            };
            self.feed(Input::Arrived(Box::new(arrival)));
        }
        self
    }

    pub fn feed(&mut self, input: Input) {
        let actions = self.dispatcher.handle(input, self.now);
        self.perform(actions);
        if self.unlogged.values().sum::<usize>() >= LOGGED_AT_ONCE {
            self.log_all();
        }
    }

    /// Makes everything durable in the log, unless that is stuck.
    pub fn log_all(&mut self) {
        if !self.log_is_stuck {
            for (of, logged) in std::mem::take(&mut self.unlogged) {
                let actions = self.dispatcher.handle(Input::Logged(of, logged), self.now);
                self.perform(actions);
            }
        }
    }

    pub fn later(&mut self, wait: Duration, input: Input) {
        self.seen += 1;
        self.pending.insert((super::times::later(self.now, wait), self.seen), input);
    }

    pub fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Resolve(ix, domain, _) => self.resolve(ix, domain.as_str()),
                Action::Open { session, site, job, source } => {
                    self.sources.insert(session, source.to_string());
                    let host = site.provider.to_string();
                    self.opened.push((self.now, host.clone()));
                    let lane = self.open.values().filter(|h| **h == host).count() + 1;
                    let most = self.most_by_lane.entry(host.clone()).or_default();
                    *most = lane.max(*most);
                    if self.dead.contains(&host) {
                        let failure = Failure::Local { stage: Stage::Connect, cause: LocalCause::ConnectTimeout, detail: "silence".into() };
                        let verdict = verdict(&failure);
                        let facts = Arc::new(Attempt::default());
                        let takes = self.takes.get(&host).copied().unwrap_or(Duration::from_secs(30));
                        self.later(takes, Input::OpenFailed { session, job, failure, verdict, facts });
                    } else {
                        self.open.insert(session, host);
                        self.most_sessions = self.most_sessions.max(self.open.len());
                        self.later(Duration::ZERO, Input::Opened(session));
                        self.deliver(session, job);
                    }
                }
                Action::Deliver(session, job) => self.deliver(session, job),
                Action::Close(session) => {
                    self.open.remove(&session);
                    let is_its = |input: &Input| match input {
                        Input::OpenFailed { session: silent, .. } => *silent == session,
                        Input::Finished { session: busy, job, .. } => *busy == session && self.stalled.contains(&self.went[&job.seq].1),
                        _ => false,
                    };
                    let silent = self.pending.iter().find(|(_, input)| is_its(input)).map(|(key, _)| *key);
                    if let Some(input) = silent.and_then(|key| self.pending.remove(&key)) {
                        self.later(Duration::ZERO, input);
                    }
                }
                Action::Record(record) => {
                    for fate in &record.fates {
                        self.log.push((record.now, record.seq, fate.rcpt, fate.attempt, fate.next.clone()));
                    }
                    *self.unlogged.entry(record.unoffered).or_default() += record.results;
                    self.spool.insert(record.seq, record.after);
                }
                Action::Ledger(batch) => {
                    for entry in batch.entries {
                        if entry.is_deletion() {
                            self.disk.remove(&entry.storage_key());
                        } else {
                            self.disk.insert(entry.storage_key(), entry);
                        }
                    }
                }
                Action::Lane { key, change, .. } => self.changes.push((key, change)),
                Action::Clock(news) => self.clock_news.push(news),
            }
        }
    }

    pub fn deliver(&mut self, session: SessionId, job: Box<DeliveryJob>) {
        self.order.push(job.seq);
        self.went.insert(job.seq, (self.sources[&session].clone(), self.open[&session].clone()));
        let (source, provider) = self.went[&job.seq].clone();
        self.offered.push((self.now, job.rcpts.len()));
        if job.earlier.is_empty() && self.sick.contains(&provider) {
            let failure = Failure::Refused { stage: Stage::Mail, reply: Reply::new(450, "4.3.2 not now") };
            let verdict = verdict(&failure);
            let said = job.rcpts.iter().map(|rcpt| (*rcpt, AttemptResult::Failed(failure.clone(), verdict.clone()))).collect();
            let offered = Offered { address: ([127, 0, 0, 1], 25).into(), said, facts: Arc::new(Attempt::default()) };
            return self
                .later(Duration::from_millis(50), Input::Finished { session, job, outcome: JobOutcome::GoesOn(offered), usable: true });
        }
        let said = match &mut self.judge {
            Some(judge) => judge(&source, &provider, self.now),
            None => match (self.answer)(&job, self.now) {
                Ok(reply) => AttemptResult::Delivered(reply),
                Err(failure) => AttemptResult::Failed(failure.clone(), verdict(&failure)),
            },
        };
        if matches!(said, AttemptResult::Delivered(_)) {
            self.sent_by.extend(job.rcpts.iter().map(|_| (self.now, source.clone())));
        }
        let outcome = JobOutcome::Answered { said: vec![said; job.rcpts.len()], facts: Arc::new(Attempt::default()) };
        let takes = self.takes.get(&self.open[&session]).copied().unwrap_or(Duration::from_millis(50));
        self.later(takes, Input::Finished { session, job, outcome, usable: true });
    }

    pub fn resolve(&mut self, ix: DomainIx, domain: &str) {
        self.asked.push((self.now, domain.to_owned()));
        let gone = self.no_such_domain.contains(domain);
        if gone || self.nowhere.contains(domain) {
            let (cause, detail) = match gone {
                true => (LocalCause::NoSuchDomain, "NXDOMAIN".into()),
                false => (LocalCause::DnsUnavailable, "SERVFAIL".into()),
            };
            let failure = Failure::Local { stage: Stage::Dns, cause, detail };
            let answer = Err(Arc::new(Unroutable { verdict: verdict(&failure), failure }));
            return self.later(Duration::from_millis(20), Input::Resolved(ix, answer, Duration::from_secs(300)));
        }
        let host = Host { name: domain.into(), preference: 0, addresses: vec!["127.0.0.1:25".parse().unwrap()] };
        let site = Site { hosts: vec![host], ..Site::at(Name::new(domain).unwrap()) };
        self.later(Duration::from_millis(20), Input::Resolved(ix, Ok(Arc::new(site)), Duration::from_secs(300)));
    }

    /// Runs until nothing is left to happen, or until `end`.
    pub fn run(&mut self, end: Timestamp) {
        loop {
            let wake = self.dispatcher.next_wake();
            let event = self.pending.first_key_value().map(|(k, _)| k.0);
            let Some(next) = [wake, event].into_iter().flatten().min() else { return };
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            let input = match event {
                Some(at) if at <= self.now => self.pending.pop_first().expect("peeked above").1,
                _ => Input::Wake,
            };
            self.feed(input);
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run(super::times::later(self.now, time));
    }

    pub fn fates(&self, seq: Seq) -> Vec<&Next> {
        self.log.iter().filter(|l| l.1 == seq).map(|l| &l.4).collect()
    }
}

pub fn is_ending(next: &Next) -> bool {
    matches!(next, Next::Delivered | Next::Bounced | Next::Expired | Next::Suppressed | Next::Cancelled(..))
}
