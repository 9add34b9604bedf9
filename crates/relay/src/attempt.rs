//! A session with a receiver: opened for one load, kept for more of the same.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use posthaste_bounce::{Context, Verdict};
use posthaste_host::clock;
use posthaste_mail::{Address, Attempt, Envelope, EventId, Failure, LocalCause, Name, Otherwise, Stage};
use posthaste_message::{Letter, Meta};
use posthaste_route::{Host, shuffle_equals};
use posthaste_smtp::client::{self, Connection, Hello, Needs, OpenFailure, RecipientResult, Transaction};
use posthaste_spool::Spool;
use posthaste_suppression::{Entry, List, Register, User};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::timeout,
};

use crate::{
    dispatch::{Input, Load, Outcome, Said, Seq, SessionId},
    engine::Command,
    ledger::LedgerReader,
    live::Live,
    returns::Stamped,
    sources,
    way::Way,
};

/// Addresses tried for one load: hosts with dozens of dead addresses must not hold a message up for an hour.
const ADDRESSES_MAX: usize = 12;
/// Addresses remembered as out of reach.
const DOWN_MAX: usize = 10_000;

/// What sessions share.
pub struct Outbound {
    /// Where bodies are read back from.
    pub spool: Spool,
    /// The configuration in force.
    pub live: Arc<ArcSwap<Live>>,
    /// Where what became of loads is told.
    pub engine: UnboundedSender<Command>,
    /// Addresses that could not be reached lately.
    pub down: Down,
    /// What of the warm-up ledger is on disk.
    pub ledger: LedgerReader,
    /// Which sources are on this host.
    pub sources: Arc<sources::Watch>,
    /// Who is not written to.
    pub register: Arc<Register<Spool>>,
}

/// Addresses that could not be reached lately: passed over while there are others.
#[derive(Default)]
pub struct Down(Mutex<HashMap<SocketAddr, Instant>>);

/// An open connection with what its events repeat.
struct Open {
    connection: Connection,
    facts: Attempt,
    /// Only the first load's events tell what the connection cost.
    dns_ms: Option<u32>,
    connect_ms: Option<u32>,
    tls_ms: Option<u32>,
}

/// Opens a session and sends the first load; then what comes, until told to close.
pub async fn run(out: Arc<Outbound>, id: SessionId, way: Arc<Way>, source: Name, first: Box<Load>, mut next: UnboundedReceiver<Box<Load>>) {
    let tell = |input: Input| drop(out.engine.send(Command::Input(input)));
    if let Some(said) = out.forbidden(&first).await {
        let facts = Arc::new(Attempt { provider: Some(way.provider.clone()), source: Some(source), ..Attempt::default() });
        return tell(Input::Finished { session: id, load: first, outcome: Outcome::Answered { said, facts }, usable: false });
    }
    let mut open = match out.open(&way, &source).await {
        Ok(open) => open,
        Err((failure, facts)) => {
            let verdict = out.judge(&failure, &way, facts.mx_host.as_deref());
            if matches!(failure, Failure::Local { cause: LocalCause::SourceUnavailable, .. }) {
                out.sources.look_at(&source);
            }
            return tell(Input::OpenFailed { session: id, load: first, failure, verdict, facts: Arc::new(facts) });
        }
    };
    tell(Input::Opened(id));
    let mut load = first;
    let mut used = false;
    loop {
        let outcome = out.deliver(&mut open, &way, &load, used).await;
        used = true;
        let usable = open.connection.usable();
        tell(Input::Finished { session: id, load, outcome, usable });
        load = match next.recv().await {
            Some(load) => load,
            None => return open.connection.quit().await,
        };
    }
}

impl Outbound {
    /// Hands one load over. `used`: the connection has carried mail before, so that its death says nothing about this load.
    async fn deliver(&self, open: &mut Open, way: &Way, load: &Load, used: bool) -> Outcome {
        let host = open.facts.mx_host.clone();
        if used && let Some(failure) = open.connection.gone() {
            return Outcome::NotOffered { failure };
        }
        if load.durable > 0 && !self.ledger.clone().durable(load.durable).await {
            let failure = Failure::Local { stage: Stage::Mail, cause: LocalCause::Shutdown, detail: "the relay stops".into() };
            let verdict = self.judge(&failure, way, host.as_deref());
            let said = vec![Said::Failed(failure, verdict); load.rcpts.len()];
            return Outcome::Answered { said, facts: Arc::new(open.facts.clone()) };
        }
        let letter = match self.letter(load).await {
            Ok(letter) => letter,
            Err(detail) => {
                let failure = Failure::Local { stage: Stage::Mail, cause: LocalCause::LocalError, detail };
                let verdict = self.judge(&failure, way, host.as_deref());
                let said = vec![Said::Failed(failure, verdict); load.rcpts.len()];
                return Outcome::Answered { said, facts: Arc::new(open.facts.clone()) };
            }
        };
        let envelope = &letter.meta.envelope;
        let now = clock::now();
        let needs = needs(&letter.meta, now);
        let beforehand = self.beforehand(open, way, &letter, &load.rcpts, needs);
        let wanted: Vec<u16> = load.rcpts.iter().zip(&beforehand).filter(|(_, said)| said.is_none()).map(|(rcpt, _)| *rcpt).collect();
        let recipients: Vec<&Address> = wanted.iter().map(|r| &envelope.recipients[usize::from(*r)]).collect();
        if recipients.is_empty() {
            let said = beforehand.into_iter().flatten().collect();
            return Outcome::Answered { said, facts: Arc::new(open.facts.clone()) };
        }
        let stamped = self.stamped(&letter, &load.rcpts);
        let mut asks = letter.meta.asks_for(&wanted, now);
        if let Some(stamped) = &stamped {
            // Our own, where the client gave none: reports that come back to us are matched by it.
            asks.envid.get_or_insert_with(|| stamped.envid.as_str().into());
        }
        let report = open
            .connection
            .transact(Transaction {
                reverse_path: stamped.as_ref().map_or(&envelope.reverse_path, |s| &s.reverse_path),
                recipients: &recipients,
                body_kind: envelope.body,
                has_8bit: letter.meta.has_8bit,
                needs,
                asks: &asks,
                size: stamped.as_ref().map_or(letter.meta.size, |s| s.size),
                body: stamped.as_ref().map_or(&letter.body, |s| &s.body),
            })
            .await;
        let mut facts = open.facts.clone();
        facts.lane_day = load.lane_day;
        (facts.envelope_ms, facts.body_ms) = (Some(report.envelope_ms), report.body_ms);
        (facts.dns_ms, facts.connect_ms, facts.tls_ms) = (open.dns_ms.take(), open.connect_ms.take(), open.tls_ms.take());
        let facts = Arc::new(facts);
        if used && let [RecipientResult::NotOffered(failure), ..] = &report.recipients[..] {
            let all = report.recipients.iter().all(|r| matches!(r, RecipientResult::NotOffered(_)));
            if all {
                return Outcome::NotOffered { failure: failure.clone() };
            }
        }
        let mut answers = report.recipients.into_iter().map(|result| match result {
            RecipientResult::Delivered(reply) => Said::Delivered(reply),
            RecipientResult::Failed(failure) | RecipientResult::NotOffered(failure) => {
                let verdict = self.judge(&failure, way, host.as_deref());
                Said::Failed(failure, verdict)
            }
            RecipientResult::Unknown(failure) => {
                let verdict = self.judge(&failure, way, host.as_deref());
                Said::Unknown(failure, verdict)
            }
        });
        let answer = |said: Option<Said>| said.or_else(|| answers.next());
        Outcome::Answered { said: beforehand.into_iter().filter_map(answer).collect(), facts }
    }

    /// For each of these recipients, what is known before the receiver is asked: that it is not written to, or that this receiver lacks
    /// what the message needs.
    fn beforehand(&self, open: &Open, way: &Way, letter: &Letter, rcpts: &[u16], needs: Needs) -> Vec<Option<Said>> {
        let host = open.facts.mx_host.as_deref();
        let known = |(rcpt, entry): (&u16, Option<Arc<Entry>>)| {
            entry.map(Said::Suppressed).or_else(|| {
                let failure = open.connection.lacks(needs, &letter.meta.envelope.recipients[usize::from(*rcpt)])?;
                let verdict = self.judge(&failure, way, host);
                Some(Said::Failed(failure, verdict))
            })
        };
        rcpts.iter().zip(self.suppressed(letter, rcpts)).map(known).collect()
    }

    /// The letter as it goes out where its returns come to us. Recipients that were put together before a bounce domain came into force go
    /// as they are.
    fn stamped(&self, letter: &Letter, rcpts: &[u16]) -> Option<Stamped> {
        let [rcpt] = rcpts else { return None };
        let path = self.live.load().paths.towards(&letter.meta, *rcpt)?;
        Some(Stamped::new(path, letter))
    }

    /// What becomes of a load whose every recipient is on the suppression list: nobody need be connected to.
    async fn forbidden(&self, load: &Load) -> Option<Vec<Said>> {
        let letter = match &load.warm {
            Some(letter) => letter.clone(),
            None => {
                let (spool, seq) = (self.spool.clone(), load.seq);
                let meta = tokio::task::spawn_blocking(move || read_letter(&spool, seq)).await.ok()?.ok()?;
                Arc::new(Letter::new(meta, Vec::new(), None))
            }
        };
        self.suppressed(&letter, &load.rcpts).into_iter().map(|entry| entry.map(Said::Suppressed)).collect()
    }

    /// For each of these recipients, the entry of the suppression list that forbids it. Looked up at the last moment: what came onto the list
    /// while the message waited counts too.
    fn suppressed(&self, letter: &Letter, rcpts: &[u16]) -> Vec<Option<Arc<Entry>>> {
        let live = self.live.load();
        let list = List::new(&self.register, &live.config.suppression);
        let now = clock::now();
        let meta = &letter.meta;
        let user = meta.user.as_deref().and_then(User::new);
        let entry = |rcpt: &u16| list.look_up(&meta.envelope.recipients[usize::from(*rcpt)], &meta.stream, user.as_ref(), now);
        rcpts.iter().map(|rcpt| entry(rcpt).map(Arc::new)).collect()
    }

    /// The load's message with its body: from memory, else from the spool.
    async fn letter(&self, load: &Load) -> Result<Arc<Letter>, String> {
        if let Some(letter) = load.warm.as_ref().filter(|l| !l.body.is_empty()) {
            return Ok(letter.clone());
        }
        let (spool, seq) = (self.spool.clone(), load.seq);
        let read = tokio::task::spawn_blocking(move || {
            let letter = read_letter(&spool, seq)?;
            let body = spool.body(seq).map_err(|e| format!("the spool cannot give the body: {e}"))?;
            let body = body.ok_or("the spool does not have the body")?;
            Ok(Arc::new(Letter::new(letter, vec![body], None)))
        });
        read.await.unwrap_or_else(|e| Err(format!("reading from the spool failed: {e}")))
    }

    fn judge(&self, failure: &Failure, way: &Way, mx_host: Option<&str>) -> Verdict {
        let context = Context { provider: Some(way.provider.as_str()), mx_host };
        self.live.load().rules.classify(failure, &context)
    }

    /// Tries the hosts in their order until one takes a session; those just out of reach come last.
    async fn open(&self, way: &Way, source: &Name) -> Result<Open, (Failure, Attempt)> {
        let live = self.live.load_full();
        let bind = live.source_address(source);
        let mut facts =
            Attempt { provider: Some(way.provider.clone()), source: Some(source.clone()), source_ip: bind, ..Attempt::default() };
        facts.tls.tls_policy = Some(way.tls.as_str());
        let mut failure = Failure::Local {
            stage: Stage::Connect,
            cause: LocalCause::Unreachable,
            detail: "no host has an address of the source's family".into(),
        };
        for (host, address) in self.candidates(way, bind) {
            facts.mx_host = Some(host.clone());
            facts.mx_ip = Some(address.ip());
            match self.open_at(&live, way, source, bind, &host, address, &mut facts).await {
                Ok(open) => return Ok(open),
                Err(why) => {
                    let ours = matches!(why, Failure::Local { cause: LocalCause::SourceUnavailable, .. });
                    if matches!(why.stage(), Stage::Connect | Stage::Banner) && !ours {
                        self.down.note(address, clock::instant() + live.config.delivery.host_down);
                    }
                    failure = why;
                }
            }
        }
        Err((failure, facts))
    }

    fn candidates(&self, way: &Way, bind: Option<IpAddr>) -> Vec<(Arc<str>, SocketAddr)> {
        let fits = |a: &SocketAddr| bind.is_none_or(|b| b.is_ipv4() == a.is_ipv4());
        let mut hosts: Vec<&Host> = way.hosts.iter().collect();
        if !way.fixed {
            shuffle_equals(&mut hosts, |h| h.preference, &mut rand::rng());
        }
        let all = hosts.iter().flat_map(|h| h.addresses.iter().map(|a| (h.name.clone(), *a))).filter(|(_, a)| fits(a));
        let now = clock::instant();
        let (mut up, mut down): (Vec<_>, Vec<_>) = all.partition(|(_, a)| !self.down.is_down(a, now));
        up.append(&mut down);
        up.truncate(ADDRESSES_MAX);
        up
    }

    #[expect(clippy::too_many_arguments, reason = "one call site; the arguments are the address tried and the facts it fills in")]
    async fn open_at(
        &self,
        live: &Live,
        way: &Way,
        source: &Name,
        bind: Option<IpAddr>,
        host: &Arc<str>,
        address: SocketAddr,
        facts: &mut Attempt,
    ) -> Result<Open, Failure> {
        let mut hello = Hello {
            ehlo: live.ehlo(source),
            mx_host: host.to_string(),
            tls: way.tls,
            tls_fallback: None,
            tls_config: live.tls.clone(),
            timeouts: live.timeouts.clone(),
            clock: clock::instant,
            auth: way.auth.clone(),
        };
        loop {
            let started = clock::instant();
            let stream = connect(address, bind, live.timeouts.connect).await?;
            let connect_ms = u32::try_from((clock::instant() - started).as_millis()).unwrap_or(u32::MAX);
            facts.source_ip = stream.local_addr().ok().map(|a| a.ip()).or(bind);
            match client::open(stream, &hello).await {
                Ok(connection) => {
                    facts.tls = connection.tls().clone();
                    facts.dsn = connection.extensions().dsn;
                    facts.deliver_by = connection.extensions().deliver_by.is_some();
                    if let Some(why) = facts.tls.tls_fallback.take_if(|_| !way.fallback) {
                        connection.quit().await;
                        return Err(Failure::Local { stage: Stage::Starttls, cause: LocalCause::TlsRequired, detail: why.to_string() });
                    }
                    facts.session = Some(EventId::new(clock::now(), rand::random()).to_string().into());
                    let tls_ms = connection.timings().tls_ms;
                    let dns_ms = way.dns.take();
                    return Ok(Open { connection, facts: facts.clone(), dns_ms, connect_ms: Some(connect_ms), tls_ms });
                }
                Err(OpenFailure { tls: Some(why), .. }) if way.fallback && hello.tls_fallback.is_none() => hello.tls_fallback = Some(why),
                Err(OpenFailure { failure, .. }) => return Err(failure),
            }
        }
    }
}

/// What the spool keeps of a message beside its body. Blocks on the disk.
pub fn read_letter(spool: &Spool, seq: Seq) -> Result<Meta, String> {
    let meta = spool.meta(seq).map_err(|e| format!("the spool cannot give the envelope: {e}"))?;
    Meta::decode(&meta.ok_or("the spool does not have the message")?).map_err(|e| format!("the spool's envelope cannot be read: {e}"))
}

impl Down {
    fn is_down(&self, address: &SocketAddr, now: Instant) -> bool {
        self.lock().get(address).is_some_and(|until| *until > now)
    }

    fn note(&self, address: SocketAddr, until: Instant) {
        let mut down = self.lock();
        if down.len() >= DOWN_MAX {
            down.clear();
        }
        down.insert(address, until);
    }

    /// Forgets all of it: an operator wants everything tried now.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SocketAddr, Instant>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn connect(address: SocketAddr, bind: Option<IpAddr>, within: Duration) -> Result<TcpStream, Failure> {
    let local = |cause, detail| Failure::Local { stage: Stage::Connect, cause, detail };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|e| local(LocalCause::LocalError, format!("no socket: {e}")))?;
    if let Some(ip) = bind {
        let bound = socket.bind(SocketAddr::new(ip, 0));
        bound.map_err(|e| local(LocalCause::SourceUnavailable, format!("cannot send from {ip}: {e}")))?;
    }
    let connected = timeout(within, socket.connect(address)).await;
    let stream = match connected {
        Err(_) => return Err(local(LocalCause::ConnectTimeout, format!("{address} did not answer within {} s", within.as_secs_f32()))),
        Ok(Err(e)) => return Err(local(connect_cause(&e), format!("{address}: {e}"))),
        Ok(Ok(stream)) => stream,
    };
    stream.set_nodelay(true).map_err(|e| local(LocalCause::LocalError, e.to_string()))?;
    Ok(stream)
}

fn connect_cause(error: &std::io::Error) -> LocalCause {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => LocalCause::ConnectionRefused,
        Kind::TimedOut => LocalCause::ConnectTimeout,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => LocalCause::Unreachable,
        Kind::AddrNotAvailable => LocalCause::SourceUnavailable,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::UnexpectedEof | Kind::BrokenPipe => LocalCause::ConnectionLost,
        _ => LocalCause::LocalError,
    }
}

/// What a receiver must have to get the message, whoever the recipient is. What was asked for and turned out not to be needed is not in it.
fn needs(message: &Meta, now: Timestamp) -> Needs {
    let Envelope { reverse_path, asks, .. } = &message.envelope;
    let utf8 = asks.smtputf8 && (message.utf8_header || !reverse_path.as_str().is_ascii());
    let within = asks.deliver_by.filter(|by| by.otherwise == Otherwise::Return).map(|by| by.left(message.arrived, now).seconds);
    Needs { utf8, binary: message.binary, require_tls: asks.require_tls, within }
}
