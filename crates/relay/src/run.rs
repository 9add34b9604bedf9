//! `posthaste run`: opens what may fail before anything starts, runs until it is told to stop, and stops without losing mail or log lines.

mod parts;
mod signals;
mod sockets;

use std::{
    path::PathBuf,
    sync::{Arc, mpsc as threads},
    time::Duration,
};

use jiff::Timestamp;
use posthaste_access::{
    Allowances, Lockout,
    users::{Decoys, Passwords},
};
use posthaste_api::{Api, Monitored};
use posthaste_channels::{Channels, heartbeat};
use posthaste_config::{Config, Written};
use posthaste_delivery::{Lookups, Outbound, ledger, ledger::LedgerWriter, logins};
use posthaste_guard::Guard;
use posthaste_host::{clock, descriptors as host_descriptors, readings::Readings, systemd};
use posthaste_http::Server;
use posthaste_journal::{Alarms, Finding, Journal, Part, State};
use posthaste_message::WarmBudget;
use posthaste_monitor::LogError;
use posthaste_queue::{Dispatcher, QueueHandle};
use posthaste_returns::ReturnHandler;
use posthaste_signing::{Signatures, SignerThreads, key_store::KeyStore, rotation::Rotation, watch::turn_keys};
use posthaste_spool::Spool;
use posthaste_submission::{
    Intake,
    smtp::{Inboxes, Listeners},
};
use posthaste_watch::{Counting, Figures, Incidents, Reloads};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout_at},
};

use self::{
    parts::{outbound, signers, start_recorder},
    signals::Signals,
    sockets::Sockets,
};
use crate::{
    admin::Admin,
    daily::Daily,
    descriptors,
    desk::{Desk, Recalled, Reload, Searches},
    engine::Engine,
    error::RunError,
    introduction::introduction,
    known,
    lookout::{Parts, Watcher},
    maildrop::Pickup,
    missing::Comparison,
    open::{self, body_cache, today},
    recorder::{Note, OnDisk},
    recover::{Found, Recovered, recover},
    reload::{Reloader, Verbosity, files, look_up_keys},
    search_index::index_for_searches,
    settings::{Settings, Swap, as_root, exposed},
    starting::{Hear, Step},
    syncs::Syncs,
    told::{note_alarms, note_log_list},
    versions,
    watch::{INDEX_FAILED, MENDED_BY_A_START, say_standing, take_log_alarms, verify_bodies, watch_trouble},
};

/// How long the last log lines may take when the time to drain is over.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Reload requests that may wait.
const RELOADS_MAX: usize = 16;

/// Makes the pages that are served beside the API, about the relay behind this desk. Its fallback answers for paths that neither has.
pub type Front = fn(Arc<Desk>) -> axum::Router;

/// Runs the relay with `config`. A reload reads the configuration again from `path`. `starting` hears how far the
/// start has come, which may take a while after a crash, and is dropped once spool and log are open.
pub async fn run(
    mut config: Config,
    path: Option<PathBuf>,
    verbosity: Verbosity,
    starting: Box<dyn Fn(Step) + Send>,
    front: Front,
) -> Result<(), RunError> {
    // First of all: a signal without a handler would end the process at once.
    let signals = Signals::listen().map_err(RunError::Signals)?;
    let _lock = open::lock(&config.data_dir)?;
    versions::refuse_unknown(&config)?;
    let read = Written::read(&files(path.as_deref(), &config));
    if let Some(told) = descriptors::fit(&mut config, host_descriptors::raise())? {
        tracing::warn!("{told}");
    }
    let sockets = Sockets::open(&config)?;
    let decoys = open::decoys(&config.data_dir)?;
    let swap = Swap::new(Settings::for_sending(config, sockets.addresses())?);
    let store = Store::open(&swap, &*starting)?;
    drop(starting);
    let relay = Relay::build(swap, store, verbosity, (path, read))?;
    let serving = relay.serve(sockets, decoys, front);
    relay.until_stopped(signals, serving).await
}

/// The state on disk, opened and made consistent.
struct Store {
    spool: Spool,
    alarms: Alarms,
    dispatcher: Dispatcher,
    recovered: Recovered,
    syncs: Syncs,
}

impl Store {
    /// Opens the spool, restores the ledger and the queue, opens the log, and reports what was found.
    fn open(swap: &Swap, hear: Hear<'_>) -> Result<Self, RunError> {
        let (settings, began) = (swap.load_full(), clock::now());
        let opened = open::open_spool_watched(&settings.config, hear)?;
        let (spool, alarms) = (&opened.spool, &opened.alarms);
        alarms.mend_all(&MENDED_BY_A_START);
        let mut dispatcher = Dispatcher::new(settings.policy(&ledger::first_seen(spool, &settings.warming(), today())));
        let (facts, illegible) = ledger::read(spool);
        let lanes = ledger::lanes(&facts);
        let unaccounted = ledger::is_unaccounted(&facts);
        dispatcher.restore_ledger(facts);
        dispatcher.open_lanes(&lanes, clock::now());
        let node = swap.view(|settings| &settings.node);
        let recovered = recover(&opened, &settings, node, &mut dispatcher, clock::now(), hear)?;
        let (journal, found) = (&recovered.journal, &recovered.found);
        opened.mended.iter().for_each(|(state, detail)| say_mended(journal, spool, *state, detail));
        found.renamed.iter().for_each(|renamed| journal.say(Part::Log, State::Alarm, renamed.as_str()));
        alarms.raise(found.losses.iter().cloned().chain(illegible.iter().map(|what| illegible_record(what))).collect(), clock::now());
        logins::end_gone(&settings.delivery, journal);
        let missing = known::missing(spool, &settings, clock::now());
        alarms.raise(missing.losses, clock::now());
        missing.said.into_iter().for_each(|said| journal.say(None, State::Alarm, said));
        known::note(spool, &settings);
        say_standing(alarms, journal, began);
        note_alarms(alarms, spool);
        take_log_alarms(journal, alarms);
        if unaccounted {
            open::recount(&mut dispatcher, &settings.config, &lanes);
        }
        if found.ended + found.announced > 0 {
            let detail = format!(
                "repaired after a crash: {} recipients had already ended, {} messages were missing from the log",
                found.ended, found.announced
            );
            journal.say(Part::Log, State::Recovered, detail);
        }
        settings.cautions(clock::now()).iter().for_each(|caution| tracing::warn!("{caution}"));
        exposed(&settings.config).iter().chain(&as_root(&settings.config)).for_each(|caution| tracing::warn!("{caution}"));
        Ok(Self { spool: opened.spool, alarms: opened.alarms, dispatcher, recovered, syncs: opened.syncs })
    }
}

/// Says what the spool found and mended. What it could not mend yet is an alarm until it has.
fn say_mended(journal: &Journal, spool: &Spool, state: State, detail: &str) {
    if state != State::Alarm || spool.index_in_memory().is_none() {
        return journal.say(Part::Spool, state, detail);
    }
    let remedy = "It is made on disk as soon as that is possible".into();
    journal.raise(Finding { rule: INDEX_FAILED, key: String::new(), part: Some(Part::Spool), what: detail.into(), remedy });
}

fn illegible_record(what: &str) -> Finding {
    Finding {
        rule: "ledger_unreadable",
        key: what.to_owned(),
        part: Some(Part::Warmup),
        what: format!("a record of the warm-up ledger cannot be read and is left there: {what}"),
        remedy: "`posthaste warmup audit` counts again what the log knows".into(),
    }
}

/// The running parts of the relay.
struct Relay {
    reloader: Reloader,
    alarms: Alarms,
    intake: Arc<Intake>,
    outbound: Arc<Outbound>,
    returns: Arc<ReturnHandler>,
    counting: Option<Counting>,
    figures: Option<Figures>,
    recalled: Recalled,
    syncs: Syncs,
    incidents: Incidents,
    /// Who is told of incidents.
    channels: Channels,
    lockout: Arc<Lockout>,
    engine: JoinHandle<()>,
    recorder: threads::Sender<Note>,
    recorder_ended: oneshot::Receiver<()>,
    stop: watch::Sender<bool>,
    drain: Duration,
    messages: u64,
    /// Whether the spool must be compared with the log.
    uncompared: bool,
    /// Whether the bodies in the spool were not read yet.
    unread: bool,
}

/// The tasks of a running relay.
struct Serving {
    /// What ends by itself once the relay is told to stop.
    servers: Vec<JoinHandle<()>>,
    /// What watches, judges and tidies until log and spool are closed.
    chores: JoinSet<()>,
    reloads: mpsc::Receiver<Reload>,
}

impl Relay {
    /// Starts everything that processes mail; clients cannot submit any yet.
    fn build(swap: Swap, store: Store, verbosity: Verbosity, (path, read): (Option<PathBuf>, Written)) -> Result<Self, RunError> {
        let Store { spool, alarms, dispatcher, recovered, syncs } = store;
        let Recovered { journal, actions, pending, register, found } = recovered;
        let config = swap.load().config.clone();
        let filling = register.clone();
        tokio::task::spawn_blocking(move || filling.fill());
        let (queue, end) = QueueHandle::new();
        let (ledger, ledger_rx) = LedgerWriter::new(spool.clone(), journal.clone());
        let outbound = outbound(&swap, &spool, &journal, &queue, &register, ledger_rx);
        let warm = WarmBudget::new(body_cache(&config));
        let threads =
            SignerThreads::start(signers(&config)).map_err(|source| RunError::Thread { what: "the threads that sign", source })?;
        let guard = Guard::open(spool.clone(), queue.clone(), journal.clone(), swap.view(|settings| &settings.guard));
        let intake = Arc::new(Intake {
            spool: spool.clone(),
            journal: journal.clone(),
            settings: swap.view(|settings| &settings.submission),
            queue: queue.clone(),
            warm: warm.clone(),
            pending,
            allowances: Arc::new(Allowances::new(spool.clone())),
            guard,
            signatures: Signatures::new(swap.view(|settings| &settings.signing), threads),
            register,
        });
        let recorder = start_recorder(&swap, &intake).map_err(|source| RunError::Thread { what: "the recorder", source });
        let (recorder, recorder_ended) = recorder?;
        let lookups = Lookups::new(swap.view(|settings| &settings.delivery), queue.clone(), journal.clone(), config.dns.lookups);
        let engine = Engine::new(dispatcher, outbound.clone(), lookups, recorder.clone(), ledger);
        let engine = tokio::spawn(engine.run(end, actions));
        let lockout = Arc::new(Lockout::new(swap.view(|settings| &settings.bans), journal.clone()));
        let returns = ReturnHandler::new(swap.view(|settings| &settings.returns), intake.clone(), &config.data_dir);
        let kept = swap.load().kept();
        let counting = config.monitor.counting.clone().map(|mut settings| {
            settings.limits.kept = kept;
            Ok((settings.path.clone(), Counting::start(settings, journal.clone())?))
        });
        let counting = counting.transpose().map_err(|source| RunError::Thread { what: "the thread that counts the log", source })?;
        let figures = counting.clone().map(|(path, counting)| Figures::new(path, counting));
        let counting = counting.map(|(_, counting)| counting);
        let channels = Channels::new(swap.view(|settings| &settings.channels), journal.clone(), &config.data_dir);
        let rotation = Arc::new(Rotation::new(KeyStore::dir(&config.data_dir), swap.view(|settings| &settings.signing)));
        let (started, read, logins) = (config.clone(), Arc::new(read.into()), outbound.logins.clone());
        let reloads = Reloads::new(clock::now());
        let reloader = Reloader {
            settings: swap,
            journal,
            spool,
            queue,
            warm,
            rotation,
            logins,
            counting: counting.clone(),
            verbosity,
            path,
            started,
            read,
            reloads,
        };
        let incidents = Incidents::open(&config.data_dir, &reloader.journal)?;
        let (stop, drain, Found { messages, uncompared, unread, .. }) = (watch::Sender::new(false), config.run.drain, found);
        Ok(Self {
            reloader,
            alarms,
            intake,
            outbound,
            returns,
            counting,
            figures,
            recalled: Recalled::default(),
            syncs,
            incidents,
            channels,
            lockout,
            engine,
            recorder,
            recorder_ended,
            stop,
            drain,
            messages,
            uncompared,
            unread,
        })
    }

    /// Starts to accept clients, and starts the maintenance tasks.
    fn serve(&self, sockets: Sockets, decoys: Decoys, front: Front) -> Serving {
        let Reloader { settings, journal, spool, queue, rotation, path, .. } = &self.reloader;
        look_up_keys(settings.load().signing.clone());
        let introduction = introduction(&settings.load().config, &sockets.smtp, &sockets.http, path.as_deref());
        let pages = sockets.pages(settings.load().config.http.tls.on);
        let inboxes = Inboxes { submitted: self.intake.clone(), returned: self.returns.clone() };
        let (view, passwords) = (settings.view(|settings| &settings.submission), Arc::new(Passwords::new(decoys)));
        let listeners = Listeners::new(view, journal.clone(), self.lockout.clone(), inboxes, passwords.clone(), self.stop.subscribe());
        let mut servers: Vec<_> = sockets.smtp.into_iter().map(|(name, l)| tokio::spawn(listeners.clone().serve(name, l))).collect();
        let mut chores = JoinSet::new();
        let (reload, reloads) = mpsc::channel(RELOADS_MAX);
        let (intake, outbound, alarms) = (self.intake.clone(), self.outbound.clone(), self.alarms.clone());
        let (figures, incidents) = (self.figures.clone(), self.incidents.clone());
        let daily = figures.clone().map(|figures| {
            let (incidents, journal, settings) = (incidents.clone(), journal.clone(), settings.clone());
            Daily { figures, incidents, journal, settings }
        });
        if let Some(daily) = daily.clone() {
            chores.spawn(daily.run());
        }
        let desk = Arc::new(Desk {
            on_disk: OnDisk::new(self.recorder.clone(), intake.spool.clone()),
            intake,
            outbound,
            alarms,
            figures,
            daily,
            incidents,
            channels: self.channels.clone(),
            settings: settings.clone(),
            rotation: rotation.clone(),
            lockout: self.lockout.clone(),
            passwords,
            pages,
            reloads: self.reloader.reloads.clone(),
            read: self.reloader.read.clone(),
            searches: Searches::default(),
            recalled: self.recalled.clone(),
            reload,
        });
        if !sockets.http.is_empty() {
            let api = Api::new(settings.view(|settings| &settings.api), self.intake.clone(), self.lockout.clone(), self.monitored());
            let app = posthaste_api::router(&api).merge(front(desk.clone()));
            let server = Server::new(settings.view(|settings| &settings.http), journal.clone(), app, self.stop.subscribe());
            chores.spawn(api.tidy(self.stop.subscribe()));
            servers.extend(sockets.http.into_iter().map(|l| tokio::spawn(server.clone().serve(l))));
        }
        servers.push(tokio::spawn(self.channels.clone().run(self.stop.subscribe())));
        let intake = self.intake.clone();
        let flows = move || intake.closed().is_none();
        chores.spawn(heartbeat::run(settings.view(|settings| &settings.channels), journal.clone(), flows));
        chores.spawn(Admin::new(desk).serve(sockets.admin, self.stop.subscribe()));

        let (view, notices) = (settings.view(|settings| &settings.maildrop), settings.view(|settings| &settings.notify));
        let readings = Readings::open(&settings.load().config.data_dir.join("maildrop.reading"));
        let pickup = Pickup::new(self.intake.clone(), view, notices, self.alarms.clone(), readings);
        servers.push(tokio::spawn(pickup.run(self.stop.subscribe())));
        chores.spawn(self.returns.clone().chores());
        chores.spawn(posthaste_returns::watch(self.returns.clone()));
        chores.spawn(turn_keys(rotation.clone(), queue.clone(), journal.clone()));
        chores.spawn(posthaste_certificates::watch(settings.view(|settings| &settings.certificates), journal.clone()));
        chores.spawn(posthaste_certificates::acme::keep(settings.view(|settings| &settings.certificates), journal.clone()));
        chores.spawn(self.outbound.sources.clone().run());
        if let Some(figures) = self.figures.clone() {
            chores.spawn(self.watcher(figures).run());
        }
        chores.spawn(self.intake.guard.clone().keep());
        chores.spawn(self.intake.allowances.clone().watch_clock(journal.clone()));
        if self.uncompared {
            chores.spawn(self.comparison().run());
        }
        if self.unread {
            chores.spawn(verify_bodies(spool.clone()));
        }
        chores.spawn(index_for_searches(settings.clone(), journal.clone()));
        chores.spawn(watch_trouble(spool.clone(), journal.clone(), self.alarms.clone()));
        let messages = if self.messages == 1 { "message" } else { "messages" };
        journal.say(None, State::Started, format!("posthaste {} with {} {messages} waiting", env!("CARGO_PKG_VERSION"), self.messages));
        introduction.iter().for_each(|line| tracing::info!("{line}"));
        systemd::ready();
        Serving { servers, chores, reloads }
    }

    fn monitored(&self) -> Monitored {
        Monitored {
            figures: self.figures.clone(),
            incidents: self.incidents.clone(),
            reloads: self.reloader.reloads.clone(),
            commits: self.syncs.times(),
        }
    }

    fn watcher(&self, figures: Figures) -> Watcher {
        let Reloader { settings, journal, spool, queue, .. } = &self.reloader;
        let (spool, journal, alarms, syncs) = (spool.clone(), journal.clone(), self.alarms.clone(), self.syncs.clone());
        Watcher {
            incidents: self.incidents.clone(),
            queue: queue.clone(),
            sources: self.outbound.sources.clone(),
            channels: self.channels.clone(),
            guard: self.intake.guard.clone(),
            settings: settings.clone(),
            recalled: self.recalled.clone(),
            parts: Parts { spool, journal, alarms, figures, syncs },
        }
    }

    fn comparison(&self) -> Comparison {
        let Reloader { settings, journal, spool, .. } = &self.reloader;
        let log = settings.load().config.log.dir.clone();
        Comparison { spool: spool.clone(), journal: journal.clone(), alarms: self.alarms.clone(), log }
    }

    /// Runs until told to stop, then lets running sessions end, and closes everything.
    async fn until_stopped(mut self, signals: Signals, serving: Serving) -> Result<(), RunError> {
        let Serving { servers, mut chores, reloads } = serving;
        // A relay that can neither send nor log must not accept mail: the service manager has to restart it.
        tokio::select! {
            () = signals.stop_or_reload(&self.reloader, reloads) => {}
            ended = &mut self.engine => return Err(RunError::DispatcherEnded(ended)),
            _ = &mut self.recorder_ended => return Err(RunError::RecorderEnded),
        }
        systemd::stopping();
        self.reloader.journal.say(None, State::Stopping, format!("running sessions have up to {:?} to end", self.drain));
        self.stop.send_replace(true);
        let by = Instant::from_std(clock::instant()) + self.drain;
        self.drain(servers, by).await;
        self.returns.stop();
        drop(self.recorder.send(Note::Stop));
        let last_lines = Instant::from_std(clock::instant()) + LAST_LINES;
        if timeout_at(by.max(last_lines), &mut self.recorder_ended).await.is_err() {
            tracing::warn!("some log lines could not be written in time; the next start writes them");
        }
        // Nothing judges log and spool any more: that the relay closes them is no trouble.
        chores.shutdown().await;
        self.engine.abort();
        drop((&mut self.engine).await);
        tokio::task::spawn_blocking(move || self.close()).await.map_err(RunError::Close)?
    }

    /// Lets sessions end by this time, clients' sessions first. Mail that is not delivered in time stays in the spool.
    async fn drain(&self, servers: Vec<JoinHandle<()>>, by: Instant) {
        let queue = &self.reloader.queue;
        let quiet = async {
            for server in servers {
                drop(server.await);
            }
            queue.drain().await;
            queue.no_sessions().await;
        };
        if timeout_at(by, quiet).await.is_err() {
            return tracing::warn!("some connections did not end in time and are cut; their mail stays in the spool");
        }
        // No permit is in use any more: the ledger can record what was really used.
        drop(timeout_at(by, queue.return_leases()).await);
    }

    /// Writes the last log lines and closes log and spool. A log that cannot be written does not spoil the stop: what it lacks is made up for at
    /// the next start, and an alarm tells of it. Blocks.
    fn close(&self) -> Result<(), RunError> {
        let Reloader { journal, spool, .. } = &self.reloader;
        journal.say(None, State::Stopped, if journal.trouble().is_none() { "everything is on disk" } else { "all mail is on disk" });
        let closed = journal.close();
        if let Some(counting) = &self.counting {
            // What is not counted now is counted by the next start.
            let _ = counting.catch_up(LAST_LINES);
            counting.stop();
        }
        take_log_alarms(journal, &self.alarms);
        self.alarms.save();
        match closed {
            Ok(()) => {}
            Err(LogError::Unwritten(why)) => {
                let unwritten = unwritten(&why, clock::now());
                tracing::error!("{}. {}", unwritten.what, unwritten.remedy);
                self.alarms.raise(vec![unwritten], clock::now());
            }
            Err(error) => return Err(RunError::CloseLog(error)),
        }
        note_alarms(&self.alarms, spool);
        note_log_list(journal, spool);
        spool.close().map_err(RunError::CloseSpool)
    }
}

/// The finding that the last stop could not write its lines.
fn unwritten(why: &str, now: Timestamp) -> Finding {
    Finding {
        rule: "log_unwritten",
        key: now.to_string(),
        part: Some(Part::Log),
        what: format!("the relay stopped while the delivery log could not be written ({why}), and its last lines are missing"),
        remedy:
            "No mail is lost: the next start writes that messages were accepted, and sends again what has no ending in the log, so that \
                 a recipient may get a message twice. Make room on the log's disk before that start"
                .into(),
    }
}

#[cfg(test)]
mod panics;
