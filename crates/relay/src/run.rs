//! `posthaste run`: opens everything in the order in which it can fail, runs until told to stop, stops without losing anything.

use std::{
    collections::{BTreeSet, HashSet},
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc as threads},
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use posthaste_access::users::Quotas;
use posthaste_governor::LaneKey;
use posthaste_host::{ThisHost, clock, systemd};
use posthaste_mail::{Name, What};
use posthaste_message::WarmBudget;
use posthaste_spool::Spool;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tracing::level_filters::LevelFilter;

use crate::{
    acme,
    admin::{self, Admin, Reload},
    attempt::Outbound,
    certs::Looked,
    config::Config,
    dispatch::{Dispatcher, Input},
    dkim::{self, book::Book, crew::Crew, ring, rotation::Rotation},
    engine::{Command, Engine, Gauge},
    http::{self, Api},
    intake::{Intake, QUOTA_KEY},
    ledger::{self, LedgerWriter},
    listen::Submissions,
    live::Live,
    recover::{log_options, recover},
    returns::{self, Desk},
    scribe::{DeliveryLog, Note, Scribe, event},
    sources, warmup,
};

/// How often the disk and the log are looked at for trouble.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// How far back the log is counted again after a crash: the day before may still be open in some zone.
const RECOUNTED: jiff::SignedDuration = jiff::SignedDuration::from_hours(72);
/// Reloads waiting their turn.
const RELOADS_MAX: usize = 16;

/// Holds the data folder for one relay at a time.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open for its lock")] File);

/// Makes the data folder and takes it; an error where another relay has it.
pub fn lock(data_dir: &Path) -> anyhow::Result<Lock> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make the data folder {}", data_dir.display()))?;
    let path = data_dir.join("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another posthaste is running on {}", data_dir.display()))?;
    Ok(Lock(file))
}

/// Sets how much the diagnostics say.
pub type Verbosity = Box<dyn Fn(LevelFilter) + Send + Sync>;

/// Runs the relay that `config` describes. `path` is where a reload reads it again.
pub async fn run(config: Config, path: Option<PathBuf>, verbosity: Verbosity) -> anyhow::Result<()> {
    // Before anything else: a signal that nobody listens for ends the process on the spot.
    let signals = Signals::listen()?;
    let _lock = lock(&config.data_dir)?;
    let live = Live::for_sending(config).map_err(anyhow::Error::msg)?;
    let resolver = live.resolver().map_err(anyhow::Error::msg)?;
    let listeners = bind(&live.config)?;
    let http_listeners = http::bind(&live.config)?;
    let admin_socket = admin::bind(&live.config.admin.socket, live.config.admin.mode)
        .with_context(|| format!("cannot listen on the admin socket {}", live.config.admin.socket.display()))?;

    let (spool, mended) = open_spool(&live.config)?;
    let mut dispatcher = Dispatcher::new(live.policy(&ledger::first_seen(&spool, &live.config, today())));
    let (facts, illegible) = ledger::read(&spool);
    let lanes = ledger::lanes(&facts);
    let unaccounted = ledger::is_unaccounted(&facts);
    dispatcher.restore_ledger(facts);
    dispatcher.open_lanes(&lanes, clock::now());
    let recovered = recover(&spool, &live, &mut dispatcher, clock::now()).map_err(anyhow::Error::msg)?;
    let log = recovered.log;
    let found = recovered.found;
    let node = live.config.node.clone();
    mended.iter().for_each(|(state, detail)| say_of(&log, &node, state, Some("spool"), detail.clone()));
    let unreadable = |what: &String| format!("a message of the spool cannot be read; it stays there: {what}");
    found.unreadable.iter().for_each(|what| say_of(&log, &node, "alarm", Some("spool"), unreadable(what)));
    let unread = |what: &String| format!("a record of the warm-up ledger cannot be read; it stays there: {what}");
    illegible.iter().for_each(|what| say_of(&log, &node, "alarm", Some("warmup"), unread(what)));
    if unaccounted {
        recount(&mut dispatcher, &live.config, &lanes);
    }
    if found.ended + found.announced > 0 {
        let detail = format!("{} recipients had ended unnoticed, {} messages were not announced", found.ended, found.announced);
        say_of(&log, &node, "recovered", Some("log"), detail);
    }

    live.cautions(clock::now()).iter().for_each(|caution| tracing::warn!("{caution}"));
    let live = Arc::new(ArcSwap::from_pointee(live));
    let (engine_tx, commands) = mpsc::unbounded_channel();
    let register = recovered.register;
    let filling = register.clone();
    tokio::task::spawn_blocking(move || filling.fill());
    let (ledger_tx, ledger_rx) = LedgerWriter::new(spool.clone());
    let source_watch = Arc::new(sources::Watch::new(live.clone(), log.clone(), engine_tx.clone()));
    let outbound = Arc::new(Outbound {
        spool: spool.clone(),
        live: live.clone(),
        engine: engine_tx.clone(),
        down: Default::default(),
        sources: source_watch.clone(),
        ledger: ledger_rx,
        register: register.clone(),
    });
    let (scribe_tx, notes) = threads::channel();
    let (engine, gauge) = Engine::new(dispatcher, outbound.clone(), resolver, scribe_tx.clone(), ledger_tx);
    let config = live.load().config.clone();
    let warm = WarmBudget::new(body_cache(&config));
    let intake = Arc::new(Intake {
        spool: spool.clone(),
        log: log.clone(),
        live: live.clone(),
        engine: engine_tx.clone(),
        warm: warm.clone(),
        pending: recovered.pending,
        gauge: gauge.clone(),
        quotas: quotas(&spool),
        signing: Crew::start(signers(&config)).context("starting the threads that sign")?,
        bans: Default::default(),
    });
    let scribe = Scribe {
        log: log.clone(),
        spool: spool.clone(),
        intake: intake.clone(),
        live: live.clone(),
        runtime: tokio::runtime::Handle::current(),
        door: scribe_tx.clone(),
        waiting: Default::default(),
    };
    let (scribe_done, mut scribe_ended) = oneshot::channel();
    std::thread::Builder::new().name("scribe".into()).spawn(move || {
        scribe.run(&notes);
        let _ = scribe_done.send(());
    })?;
    let mut engine = tokio::spawn(engine.run(commands, recovered.actions));

    let (stop, stopping) = watch::channel(false);
    let desk = Desk::new(intake.clone(), register.clone());
    tokio::spawn(desk.clone().chores());
    tokio::spawn(returns::watch(desk.clone()));
    let submissions = Submissions::new(intake.clone(), desk.clone(), register.clone(), stopping.clone());
    let mut serving: Vec<_> = listeners.into_iter().map(|(name, l)| tokio::spawn(submissions.clone().serve(name, l))).collect();
    if !http_listeners.is_empty() {
        let server = http::Server::new(Api::new(intake.clone(), engine_tx.clone(), register.clone()), stopping.clone());
        tokio::spawn(server.clone().tidy());
        serving.extend(http_listeners.into_iter().map(|l| tokio::spawn(server.clone().serve(l))));
    }
    let (reload_tx, reloads) = mpsc::channel(RELOADS_MAX);
    let rotation = Arc::new(Rotation::new(Book::dir(&config.data_dir), live.clone()));
    tokio::spawn(dkim::watch::turn_keys(rotation.clone(), engine_tx.clone(), log.clone()));
    let admin = Arc::new(Admin {
        engine: engine_tx.clone(),
        intake: intake.clone(),
        outbound,
        register,
        rotation: rotation.clone(),
        reload: reload_tx,
    });
    tokio::spawn(admin.serve(admin_socket, stopping));
    tokio::spawn(watch_certificates(live.clone(), log.clone()));
    tokio::spawn(acme::keep(live.clone(), log.clone()));
    tokio::spawn(source_watch.run());
    tokio::spawn(watch_trouble(spool.clone(), log.clone(), config.node.clone()));

    say(&log, &config.node, "started", format!("posthaste {} with {} messages waiting", env!("CARGO_PKG_VERSION"), found.messages));
    systemd::ready();
    let relay = Relay { live, log, spool, engine: engine_tx, warm, rotation, verbosity, path };
    // Mail must not be taken by a relay that can neither send nor write down: whoever started it shall start it anew.
    tokio::select! {
        () = relay.until_stopped(signals, reloads) => {}
        ended = &mut engine => anyhow::bail!("the dispatcher has ended: {ended:?}"),
        _ = &mut scribe_ended => anyhow::bail!("the scribe has ended"),
    }

    systemd::stopping();
    say(&relay.log, &config.node, "stopping", format!("up to {:?} for what is under way", config.run.drain));
    stop.send_replace(true);
    relay.drain(serving, gauge, config.run.drain).await;
    desk.say_sums();
    drop(scribe_tx.send(Note::Stop));
    if timeout(config.run.drain, scribe_ended).await.is_err() {
        tracing::warn!("some lines could not be written in time; they are made up for at the next start");
    }
    tokio::task::spawn_blocking(move || relay.close(&config)).await?
}

/// SIGTERM, SIGINT and SIGHUP.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// From here on they wait until somebody asks.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())?, hup: signal(SignalKind::hangup())? })
    }
}

/// What signals act on.
struct Relay {
    live: Arc<ArcSwap<Live>>,
    log: DeliveryLog,
    spool: Spool,
    engine: mpsc::UnboundedSender<Command>,
    warm: WarmBudget,
    rotation: Arc<Rotation>,
    verbosity: Verbosity,
    path: Option<PathBuf>,
}

impl Relay {
    /// SIGHUP and the admin socket reload; SIGTERM and SIGINT end this.
    async fn until_stopped(&self, mut signals: Signals, mut reloads: mpsc::Receiver<Reload>) {
        loop {
            tokio::select! {
                _ = signals.term.recv() => return,
                _ = signals.int.recv() => return,
                _ = signals.hup.recv() => drop(self.reload().await),
                Some(told) = reloads.recv() => drop(told.send(self.reload().await)),
            }
        }
    }

    /// Reads the configuration again. A bad one changes nothing, and that is said.
    async fn reload(&self) -> Result<String, String> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || Config::load(path.as_deref(), &ThisHost).map_err(|e| e.to_string()));
        let read = read.await.map_err(|e| e.to_string()).and_then(|r| r);
        let old = self.live.load_full();
        let made = read.and_then(|config| {
            let restart = old.config.diff_restart_needed(&config);
            let live = Live::for_sending(config)?;
            let resolver = live.resolver()?;
            Ok((live, resolver, restart))
        });
        match made {
            Ok((live, resolver, restart)) => {
                let policy = Box::new(live.policy(&ledger::first_seen(&self.spool, &live.config, today())));
                let node = live.config.node.clone();
                self.log.keep(log_options(&live.config));
                self.spool.set_limits(&spool_options(&live.config));
                self.warm.set_max(body_cache(&live.config));
                (self.verbosity)(live.config.run.log_level);
                live.cautions(clock::now()).iter().for_each(|caution| tracing::warn!("{caution}"));
                let unsigned = ring::dropped(&old.keyring.load(), &live.keyring.load());
                self.live.store(Arc::new(live));
                self.rotation.refresh().await;
                drop(self.engine.send(Command::Resolver(Box::new(resolver))));
                drop(self.engine.send(Command::Input(Input::Policy(policy))));
                let mut detail = match restart.is_empty() {
                    true => "the new configuration is in force".to_owned(),
                    false => format!("the new configuration is in force, except for what needs a restart: {}", restart.join(", ")),
                };
                if !unsigned.is_empty() {
                    detail += &format!("; mail of these domains is NOT SIGNED any more: {}", unsigned.join(", "));
                    tracing::warn!("no longer signed: {}", unsigned.join(", "));
                }
                say(&self.log, &node, "reloaded", detail.clone());
                Ok(detail)
            }
            Err(error) => {
                tracing::error!("the new configuration is not in force:\n{error}");
                say(&self.log, &old.config.node, "reload_failed", format!("the old configuration stays in force: {error}"));
                Err(format!("the old configuration stays in force:\n{error}"))
            }
        }
    }

    /// Lets sessions end, those of clients first; what is not through in time stays in the spool.
    async fn drain(&self, serving: Vec<tokio::task::JoinHandle<()>>, mut gauge: watch::Receiver<Gauge>, within: Duration) {
        let quiet = async {
            for listener in serving {
                drop(listener.await);
            }
            drop(self.engine.send(Command::Input(Input::Drain)));
            drop(gauge.wait_for(|g| g.sessions == 0).await);
        };
        if timeout(within, quiet).await.is_err() {
            return tracing::warn!("some connections were still at work and are cut; their mail stays in the spool");
        }
        // No permit is out: the ledger may say what was really used.
        let (done, returned) = oneshot::channel();
        drop(self.engine.send(Command::Ask(Box::new(|dispatcher, now| dispatcher.return_leases(now)))));
        // Behind what the one before it wanted done.
        let answer = move |_: &mut Dispatcher, _| {
            let _ = done.send(());
            Vec::new()
        };
        drop(self.engine.send(Command::Ask(Box::new(answer))));
        drop(timeout(within, returned).await);
    }

    /// Writes the last lines and closes log and spool. Blocks.
    fn close(&self, config: &Config) -> anyhow::Result<()> {
        say(&self.log, &config.node, "stopped", String::from("everything is on disk"));
        self.log.close().context("closing the delivery log")?;
        self.spool.close().context("closing the spool")
    }
}

/// Days are the curves' own, but since when a source warms up is counted in UTC.
fn today() -> jiff::civil::Date {
    jiff::tz::TimeZone::UTC.to_datetime(clock::now()).date()
}

/// Where the last stop was none in good order the log says what of the leased budget was sent, and how it was received.
fn recount(dispatcher: &mut Dispatcher, config: &Config, lanes: &HashSet<LaneKey>) {
    let since = clock::now().checked_sub(RECOUNTED).unwrap_or(jiff::Timestamp::MIN);
    let counted = match warmup::recount(&config.log.dir, Some(since)) {
        Ok(counted) => counted,
        Err(error) => return tracing::warn!(%error, "the log cannot be counted again; what was leased for warm-up counts as sent"),
    };
    let governor = dispatcher.governor_mut();
    for (lane, date, counts) in counted.days().filter(|(lane, ..)| lanes.contains(lane)) {
        if let Some(id) = governor.find(lane) {
            governor.recount(id, date, counts);
        }
    }
}

/// A line about the relay itself.
fn say(log: &DeliveryLog, node: &Name, state: &str, detail: String) {
    say_of(log, node, state, None, detail);
}

/// A line about a part of the relay.
fn say_of(log: &DeliveryLog, node: &Name, state: &str, part: Option<&str>, detail: String) {
    match state {
        "alarm" | "quarantined" => tracing::error!(part, detail, "{state}"),
        _ => tracing::info!(part, detail, "{state}"),
    }
    log.append(event(node, clock::now(), What::Relay { state: state.into(), part: part.map(Into::into), detail }), None);
}

/// Opens the spool; also what had to be mended, as states and details for the log.
pub fn open_spool(config: &Config) -> anyhow::Result<(Spool, Vec<(&'static str, String)>)> {
    let (spool, recovery) = Spool::open(&config.spool.dir, spool_options(config), clock::instant)
        .with_context(|| format!("cannot open the spool {}", config.spool.dir.display()))?;
    let mut mended = Vec::new();
    if !recovery.clean && (recovery.messages > 0 || recovery.torn_bytes > 0) {
        let (n, torn, took) = (recovery.messages, recovery.torn_bytes, recovery.took);
        mended.push(("recovered", format!("not closed cleanly: read anew in {took:?}, {n} messages, {torn} torn bytes cut")));
    }
    for q in &recovery.quarantined {
        let detail = format!("a damaged record (segment {}, {} bytes at {}) is kept apart: {}", q.segment, q.len, q.offset, q.reason);
        mended.push(("quarantined", detail));
    }
    Ok((spool, mended))
}

fn spool_options(config: &Config) -> posthaste_spool::Options {
    let c = &config.spool;
    posthaste_spool::Options {
        segment_size: c.segment_size,
        max_disk: c.max_disk.unwrap_or(0),
        min_free: c.min_free,
        index_cache: c.index_cache,
        compact_below: c.compact_below,
    }
}

fn signers(config: &Config) -> usize {
    config.dkim.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(2, usize::from)
}

fn body_cache(config: &Config) -> usize {
    usize::try_from(config.limits.body_cache).unwrap_or(usize::MAX)
}

/// What users have sent today.
fn quotas(spool: &Spool) -> Quotas {
    let saved = spool.scan(QUOTA_KEY.as_bytes()).into_iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(QUOTA_KEY.as_bytes()).and_then(|name| std::str::from_utf8(name).ok())?;
        Some((name.into(), value))
    });
    Quotas::saved(saved, clock::now())
}

/// The listeners' sockets: those that systemd opened for a listener, by its name; else the listener's own addresses.
fn bind(config: &Config) -> anyhow::Result<Vec<(Name, TcpListener)>> {
    let mut bound = Vec::new();
    for (name, socket) in systemd::sockets().context("the sockets that systemd handed over")? {
        match config.listeners.get_key_value(name.as_str()) {
            Some((name, _)) => {
                bound.push((name.clone(), TcpListener::from_std(socket).context("a socket of systemd's is no listening one")?))
            }
            None => {
                anyhow::bail!("systemd handed over a socket called {name:?} (FileDescriptorName=), and there is no listener of that name")
            }
        }
    }
    let handed: BTreeSet<Name> = bound.iter().map(|(name, _)| name.clone()).collect();
    for (name, listener) in config.listeners.iter().filter(|(name, _)| !handed.contains(*name)) {
        for address in &listener.addresses {
            let listener = posthaste_host::listen::open(*address);
            bound.push((name.clone(), listener.with_context(|| format!("listen.{name}: cannot listen on {address}"))?));
        }
    }
    Ok(bound)
}

/// Looks for new certificates, and says what came of them.
async fn watch_certificates(live: Arc<ArcSwap<Live>>, log: DeliveryLog) {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let now = live.load_full();
        let looked = now.clone();
        let found = tokio::task::spawn_blocking(move || looked.certificates.values().flat_map(|shown| shown.look()).collect::<Vec<_>>());
        for found in found.await.unwrap_or_default() {
            let (state, detail) = match found {
                Looked::Renewed(file, until) => ("renewed", format!("{} is shown from now on, until {until}", file.display())),
                Looked::Kept(file, error) => ("alarm", format!("the old certificate stays: {}: {error}", file.display())),
            };
            say_of(&log, &now.config.node, state, Some("tls"), detail);
        }
    }
}

/// Says once when the spool or the log is in trouble, and once when it is over.
async fn watch_trouble(spool: Spool, log: DeliveryLog, node: Name) {
    let (mut spool_trouble, mut log_trouble) = (None, None);
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        for (part, known, now) in [("spool", &mut spool_trouble, spool.trouble()), ("log", &mut log_trouble, log.trouble())] {
            let (state, detail) = match (&*known, &now) {
                (None, Some(why)) => ("alarm", format!("no mail is taken: {why}")),
                (Some(_), None) => ("alarm_over", "mail is taken again".to_owned()),
                _ => continue,
            };
            *known = now;
            say_of(&log, &node, state, Some(part), detail);
        }
    }
}
