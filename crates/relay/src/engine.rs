//! The shell around the dispatcher: one task that owns it, feeds it and does what it says.

use std::{collections::HashMap, future::pending, sync::Arc, sync::mpsc::Sender, time::Duration};

use jiff::Timestamp;
use posthaste_bounce::Context;
use posthaste_host::clock;
use posthaste_mail::{Domain, What};
use posthaste_route::Resolver;
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot, watch,
};

use crate::{
    attempt::{self, Outbound},
    dispatch::{Action, Dispatcher, DomainIx, Input, Load, SessionId, Unroutable},
    lane_event::lane_facts,
    ledger::LedgerWriter,
    live::Live,
    scribe::{Note, event},
    way::{DnsTime, Way},
};

/// Inputs taken before the clock is asked again.
const BATCH: usize = 256;
/// DNS look-ups under way at once.
const LOOKUPS_MAX: usize = 256;
/// A route is asked for again after at least so long, whatever DNS says.
const ROUTE_TTL_MIN: Duration = Duration::from_secs(5);

/// What the engine is told.
pub enum Command {
    /// Something happened.
    Input(Input),
    /// Somebody wants to look at the queue or change it.
    Ask(Question),
    /// Another configuration's resolver is in force.
    Resolver(Box<Resolver>),
}

/// A look at the queue at a time, and what it wants done.
pub type Question = Box<dyn FnOnce(&mut Dispatcher, Timestamp) -> Vec<Action> + Send>;

/// What is said where nobody is left to answer.
pub(crate) const STOPPING: &str = "the relay is stopping";

/// Asks the engine about the queue; what its answer wants done is done. The error is for people: the relay stops.
pub(crate) async fn ask<T: Send + 'static>(
    engine: &UnboundedSender<Command>,
    question: impl FnOnce(&mut Dispatcher, Timestamp) -> (T, Vec<Action>) + Send + 'static,
) -> Result<T, &'static str> {
    let (tell, told) = oneshot::channel();
    let ask = move |d: &mut Dispatcher, now| {
        let (answer, actions) = question(d, now);
        // Whoever asked may be gone; what was to be done is done all the same.
        drop(tell.send(answer));
        actions
    };
    engine.send(Command::Ask(Box::new(ask))).map_err(|_| STOPPING)?;
    told.await.map_err(|_| STOPPING)
}

/// What others may see of the queue without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Messages owed.
    pub messages: usize,
    /// Sessions opening or open.
    pub sessions: usize,
}

/// The shell.
pub struct Engine {
    dispatcher: Dispatcher,
    outbound: Arc<Outbound>,
    resolver: Resolver,
    lookups: Arc<Semaphore>,
    scribe: Sender<Note>,
    ledger: LedgerWriter,
    sessions: HashMap<SessionId, UnboundedSender<Box<Load>>>,
    gauge: watch::Sender<Gauge>,
}

impl Engine {
    /// A shell around `dispatcher`.
    pub fn new(
        dispatcher: Dispatcher,
        outbound: Arc<Outbound>,
        resolver: Resolver,
        scribe: Sender<Note>,
        ledger: LedgerWriter,
    ) -> (Self, watch::Receiver<Gauge>) {
        let (gauge, seen) = watch::channel(Gauge::default());
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        (Self { dispatcher, outbound, resolver, lookups, scribe, ledger, sessions: HashMap::new(), gauge }, seen)
    }

    /// Does what the recovered queue wants, then runs until everyone who could send a command is gone.
    pub async fn run(mut self, mut commands: UnboundedReceiver<Command>, first: Vec<Action>) {
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
                    Command::Ask(ask) => ask(&mut self.dispatcher, now),
                    Command::Resolver(resolver) => {
                        self.resolver = *resolver;
                        Vec::new()
                    }
                };
                actions.into_iter().for_each(|action| self.perform(action));
            }
            let gauge = Gauge { messages: self.dispatcher.owed().0, sessions: self.dispatcher.sessions() };
            self.gauge.send_if_modified(|seen| std::mem::replace(seen, gauge) != gauge);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Resolve(ix, domain) => self.resolve(ix, domain),
            Action::Open { session, route, source, load } => {
                let (loads, next) = unbounded_channel();
                self.sessions.insert(session, loads);
                tokio::spawn(attempt::run(self.outbound.clone(), session, route, source, load, next));
            }
            Action::Deliver(session, load) => {
                let loads = self.sessions.get(&session).expect("the dispatcher gives loads to sessions that it opened");
                // A session's task ends only when its sender is dropped, below.
                drop(loads.send(load));
            }
            Action::Close(session) => drop(self.sessions.remove(&session)),
            Action::Record(record) => drop(self.scribe.send(Note::Record(record))),
            Action::Ledger(batch) => self.ledger.write(batch),
            Action::Lane { key, plan, change } => {
                let node = self.outbound.live.load().config.node.clone();
                if let Some(facts) = lane_facts(&key, &plan, &change) {
                    let event = event(&node, change.at, What::Lane(Box::new(facts)));
                    drop(self.scribe.send(Note::Lane(Box::new(event))));
                }
            }
        }
    }

    fn resolve(&self, ix: DomainIx, domain: Arc<Domain>) {
        let (resolver, outbound, lookups) = (self.resolver.clone(), self.outbound.clone(), self.lookups.clone());
        tokio::spawn(async move {
            let _turn = lookups.acquire_owned().await.expect("the semaphore is never closed");
            let asked = clock::instant();
            let answer = resolver.route(&domain).await;
            let ms = u32::try_from((clock::instant() - asked).as_millis()).unwrap_or(u32::MAX);
            let live = outbound.live.load();
            let (answer, ttl) = match answer {
                Ok(route) => {
                    let ttl = route.ttl;
                    (Ok(Arc::new(way(&live, &domain, route, ms))), ttl)
                }
                Err(why) => {
                    let verdict = live.rules.classify(&why.failure, &Context::default());
                    (Err(Arc::new(Unroutable { failure: why.failure, verdict })), why.ttl)
                }
            };
            drop(outbound.engine.send(Command::Input(Input::Resolved(ix, answer, ttl.max(ROUTE_TTL_MIN)))));
        });
    }
}

/// A route with what the configuration says of TLS and AUTH on it.
fn way(live: &Live, domain: &Domain, route: posthaste_route::Route, dns_ms: u32) -> Way {
    let (tls, fallback) = live.tls_rule(domain);
    let auth = live.auth(domain).filter(|_| route.static_route);
    let user = auth.as_ref().map_or("", |a| a.user.as_str());
    let key = format!("{}|{}|{fallback}|{user}", route.key, tls.as_str()).into();
    let dns = DnsTime::new(dns_ms);
    Way { provider: route.provider, hosts: route.hosts, tls, fallback, auth, fixed: route.static_route, key, dns }
}

async fn until(wake: Option<Timestamp>) {
    match wake {
        None => pending().await,
        Some(at) => {
            tokio::time::sleep(clock::sleep_for(at.duration_since(clock::now()))).await;
        }
    }
}
