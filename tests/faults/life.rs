//! One relay's life: rounds of faults, then a quiet time, and the account of everything.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::PathBuf,
    thread,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use serde_json::Value;
use support::{Client, Mail, Relay, dns::DnsServer, relay::free_port, shim::Shim, wait};
use tempfile::TempDir;

use crate::{
    load::{FROM, Load, Returns},
    plan::{End, Fault, Round, draw},
    receiver::{Kind, Receiver, address, is_unwanted, kind, mood, serial},
    stories::{self, Story},
};

/// How long a fault lasts if it does not strike earlier as often as it can.
const FAULT: Duration = Duration::from_millis(150);
/// Clients by SMTP.
const CLIENTS: usize = 3;
/// The daily budget of the source that warms up.
pub(crate) const CAP: usize = 12;
/// delivery.unlogged_max.
const UNLOGGED: usize = 40;
const TOKEN: &str = "a-token-that-may-send";

/// What one life came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rounds: usize,
    pub(crate) acknowledged: usize,
    pub(crate) kills: usize,
    pub(crate) duplicates: usize,
    /// What could have been doubled at most: had arrived at a kill and was not in the log.
    pub(crate) in_flight: usize,
    pub(crate) gaps: usize,
    pub(crate) returned: usize,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.rounds += more.rounds;
        self.acknowledged += more.acknowledged;
        self.kills += more.kills;
        self.duplicates += more.duplicates;
        self.in_flight += more.in_flight;
        self.gaps += more.gaps;
        self.returned += more.returned;
    }
}

/// A relay, everything around it, and what must be true of it.
pub(crate) struct Life {
    pub(crate) relay: Relay,
    pub(crate) receiver: Receiver,
    dns: DnsServer,
    shim: Shim,
    _folder: TempDir,
    returns_port: Option<u16>,
    pub(crate) returns: Returns,
    random: StdRng,
    /// Recipients whose ending was in lines that others took away.
    pub(crate) forgotten: HashSet<usize>,
    /// How many of the gaps are a damaged line, which may be one that nothing depends on.
    pub(crate) overwritten: usize,
    /// Whether a power cut may have left damaged lines in the log.
    pub(crate) power_cut: bool,
    /// How often each recipient's mail may arrive beyond once.
    pub(crate) allowed: HashMap<usize, usize>,
    probes: usize,
    /// How far the clock was set, the least and the most.
    pub(crate) clock: (i64, i64),
    pub(crate) figures: Figures,
}

/// Lives through this many rounds. Everything random comes from the seed.
pub(crate) fn live(seed: u64, rounds: usize) -> Figures {
    let mut random = StdRng::seed_from_u64(seed);
    let plan: Vec<Round> = (0..rounds).map(|_| draw(&mut random)).collect();
    let http = free_port();
    let mut life = Life::begin(random, seed.is_multiple_of(2), http);
    let load = Load::new(life.relay.port(), http, TOKEN);
    let at_the_end = thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| scope.spawn(|| load.by_smtp())).chain([scope.spawn(|| load.by_http())]);
        let clients: Vec<_> = clients.collect();
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for (n, round) in plan.iter().enumerate() {
                eprintln!("seed {seed}, round {n}: {round:?}");
                life.round(round, &load);
            }
            life.quiet();
        }));
        load.end();
        let clients: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        lived.and_then(|()| clients.into_iter().collect::<Result<Vec<()>, _>>().map(drop))
    });
    if let Err(panic) = at_the_end {
        std::panic::resume_unwind(panic);
    }
    life.account(&load.acknowledged())
}

impl Life {
    fn begin(random: StdRng, with_returns: bool, http: u16) -> Self {
        let (dns, receiver) = (DnsServer::start(), Receiver::start());
        for domain in ["good.test", "other.test", "warm.test", "probe.test", "sender.test"] {
            dns.mx(domain, 10, &format!("mx.{domain}")).a(&format!("mx.{domain}"), "127.0.0.1");
        }
        let returns_port = with_returns.then(free_port);
        let mut relay = Relay::prepare(&config(&dns, receiver.mx.port(), http, returns_port));
        let folder = TempDir::with_prefix("posthaste-faults-").expect("a folder for the shim");
        let shim = Shim::new(folder.path());
        relay.environment(shim.environment());
        relay.run();
        let list: String = (0..20_000).filter(|s| is_unwanted(*s)).map(|s| address(s) + "\n").collect();
        fs::write(relay.dir().join("unwanted.csv"), list).expect("a list can be written");
        relay.ok(["suppress", "import", "unwanted.csv"]);
        Self {
            relay,
            receiver,
            dns,
            shim,
            _folder: folder,
            returns_port,
            returns: Returns::default(),
            random,
            forgotten: HashSet::new(),
            overwritten: 0,
            power_cut: false,
            allowed: HashMap::new(),
            probes: 0,
            clock: (0, 0),
            figures: Figures::default(),
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.relay.dir().join("data/log")
    }

    fn round(&mut self, round: &Round, load: &Load) {
        load.grant(round.messages);
        let rest = round.messages - round.before;
        wait::within(FAULT, || (load.left() <= rest).then_some(()));
        self.strike(&round.fault);
        let count = if let Fault::System(fault) = &round.fault { fault.count } else { u64::MAX };
        wait::within(FAULT, || (self.shim.hits() >= count).then_some(()));
        if round.end == End::RunsOn {
            self.lift(&round.fault);
            assert_eq!(self.relay.ended(), None, "the relay ended by itself:\n{}", self.relay.stderr());
        } else {
            self.restart(round);
        }
        self.probe();
        if let Some(port) = self.returns_port {
            self.returns.send(port, &self.arrived());
        }
        self.figures.rounds += 1;
    }

    /// Recipients with the reverse-path under which their mail arrived.
    fn arrived(&self) -> Vec<(usize, String)> {
        self.receiver.mx.look(|all| {
            let taken = all.iter().filter(|t| t.taken && t.from.starts_with("b+"));
            taken.filter_map(|t| Some((serial(t.rcpts.first()?)?, t.from.clone()))).collect()
        })
    }

    fn strike(&mut self, fault: &Fault) {
        match fault {
            Fault::None => {}
            Fault::System(fault) => self.shim.begin(fault),
            Fault::Receiver(mood) => {
                self.receiver.is(*mood);
                // It hung up, and may have taken messages without being able to say so.
                self.may_arrive_again();
            }
            Fault::Dns { silent } => {
                use support::dns::Fault::{ServFail, Silent};
                self.dns.fault("other.test", if *silent { Silent } else { ServFail });
            }
            Fault::Clock(seconds) => {
                self.clock = (self.clock.0.min(*seconds), self.clock.1.max(*seconds));
                self.shim.set_clock(*seconds);
            }
            Fault::Log(meddling) => self.meddle(*meddling),
            Fault::Pause => self.relay.signal(Signal::STOP),
            Fault::Reload => {
                self.relay.change_config("retry.schedule = [\"1s\", \"2s\"]");
                self.relay.signal(Signal::HUP);
            }
            Fault::RetryAll => drop(self.relay.cli(["queue", "retry", "--all"])),
        }
    }

    fn lift(&mut self, fault: &Fault) {
        match fault {
            Fault::System(_) => self.shim.lift(),
            Fault::Receiver(_) => {
                self.receiver.is(mood::FINE);
                // A message may have been on its way when it hung up.
                self.may_arrive_again();
            }
            Fault::Dns { .. } => drop(self.dns.heal("other.test")),
            // Every other time the clock stays wrong until the next round that sets it.
            Fault::Clock(seconds) if seconds % 2 == 0 => self.shim.set_clock(0),
            Fault::Pause => self.relay.signal(Signal::CONT),
            _ => {}
        }
    }

    /// A process that is dead is not continued.
    fn lift_after_kill(&mut self, fault: &Fault) {
        if !matches!(fault, Fault::Pause) {
            self.lift(fault);
        }
    }

    /// Ends the process as the round says and starts it again.
    fn restart(&mut self, round: &Round) {
        if round.end == End::Restart {
            self.lift(&round.fault);
            let status = self.relay.stop();
            assert!(status.success(), "SIGTERM: {status}\n{}", self.relay.stderr());
            return self.relay.run();
        }
        self.kill(round.end == End::PowerCut);
        if round.end == End::KillTwice {
            self.relay.spawn();
            wait::within(FAULT / 3, || self.relay.ended());
            self.kill(false);
        }
        if round.starts_under_fault {
            // It may start or say why it does not.
            self.relay.spawn();
            wait::within(FAULT, || self.relay.ended());
            self.lift_after_kill(&round.fault);
            // Its ports are open before its spool is: only a greeting shows that it is up.
            let port = self.relay.port();
            let is_up = || match self.relay.ended() {
                Some(_) => Some(false),
                None => Client::connect(port).is_ok().then_some(true),
            };
            if wait::until("the relay to start or to end", is_up) {
                return;
            }
        }
        self.lift_after_kill(&round.fault);
        self.relay.run();
    }

    fn kill(&mut self, power: bool) {
        self.relay.kill();
        self.figures.kills += 1;
        self.receiver.mx.wait_until_alone();
        if power {
            self.power_cut = true;
            self.shim.cut_power(&self.relay.dir().join("data"), &mut self.random);
        }
        let in_flight = self.may_arrive_again();
        self.figures.in_flight += in_flight.len();
        let unanswered = self.receiver.unanswered();
        let unlogged = in_flight.iter().filter(|serial| !unanswered.contains(serial)).count();
        assert!(unlogged <= 4 * UNLOGGED, "{unlogged} had arrived and were not in the log, of at most {UNLOGGED}");
    }

    /// Only mail that the receiver has and that the log has no line for can arrive once more.
    fn may_arrive_again(&mut self) -> Vec<usize> {
        let stories = stories::read(&self.log());
        let known: HashSet<usize> = stories::delivered(&stories).chain(self.forgotten.iter().copied()).collect();
        let in_flight: Vec<usize> = self.receiver.taken().into_keys().filter(|serial| !known.contains(serial)).collect();
        in_flight.iter().for_each(|serial| *self.allowed.entry(*serial).or_default() += 1);
        in_flight
    }

    /// The relay takes mail, delivers it, and writes it down.
    fn probe(&mut self) {
        self.probes += 1;
        let rcpt = format!("p{}@probe.test", self.probes);
        let mail = Mail::new(FROM, &[&rcpt], "probe");
        let (port, pid) = (self.relay.port(), self.relay.pid());
        let seen = |what: &str, done: Option<()>| {
            done.unwrap_or_else(|| panic!("the relay ({pid}) does not recover: {what}\n{}", self.relay.stderr()))
        };
        let submit = || Client::hello(port).and_then(|mut client| client.submit(&mail)).is_ok_and(|a| a.code == 250).then_some(());
        seen("mail is not taken", wait::within(wait::PATIENCE, submit));
        let told = || stories::ends_with(&self.log(), "delivered", &rcpt).then_some(());
        seen("a delivery is not in the log", wait::within(wait::PATIENCE, told));
        assert!(!self.relay.stderr().contains("panicked"), "{}", self.relay.stderr());
    }

    /// The faults are over: everything that can go out does.
    fn quiet(&mut self) {
        self.shim.lift();
        self.receiver.is(mood::FINE);
        self.dns.heal("other.test");
        self.relay.ok(["queue", "retry", "--all"]);
        let left = || -> Vec<usize> {
            let waits = |(serial, story): (usize, Story)| {
                let is_over = kind(serial) == Kind::Warm || !story.endings.is_empty() || self.forgotten.contains(&serial);
                (!is_over).then_some(serial)
            };
            stories::read(&self.log()).into_iter().filter_map(waits).collect()
        };
        // A campaign runs beside other things.
        if wait::within(5 * wait::PATIENCE, || left().is_empty().then_some(())).is_none() {
            let left = left();
            let why = left.first().map(|s| self.relay.ok(["why", &address(*s)]));
            panic!("{} recipients wait for no reason: {left:?}\n{}\n{}", left.len(), why.unwrap_or_default(), self.relay.stderr());
        }
        // What waits for its budget goes on some other day. The last notices are still on their way.
        self.relay.cli(["queue", "drop", "--domain", "warm.test", "--reason", "the campaign is over"]);
        wait::until("the queue to be empty", || {
            let queue: Value = serde_json::from_str(&self.relay.ok(["queue", "--json"])).expect("JSON");
            (queue["counts"]["messages"] == 0).then_some(())
        });
    }

    /// Does to the log's current file what others do, while the process stands still.
    fn meddle(&mut self, meddling: crate::plan::Meddling) {
        use crate::plan::Meddling as M;
        let log = self.log();
        let (current, size) = (log.join("delivery.log"), |path: &PathBuf| fs::metadata(path).map_or(0, |m| m.len()));
        self.relay.halt();
        let stories = stories::read(&log);
        if meddling.loses_lines() && size(&current) > 0 {
            self.figures.gaps += 1;
            self.overwritten += usize::from(meddling == M::Overwrite);
            self.forgotten.extend(stories.iter().filter(|(_, s)| !s.endings.is_empty()).map(|(serial, _)| *serial));
        }
        match meddling {
            M::Delete => fs::remove_file(&current),
            M::Empty => fs::OpenOptions::new().write(true).truncate(true).open(&current).map(drop),
            M::CutInHalf => fs::OpenOptions::new().write(true).open(&current).and_then(|f| f.set_len(size(&current) / 2)),
            M::RenameInside => fs::rename(&current, log.join("delivery.log.1")),
            M::MoveAway => fs::rename(&current, self.relay.dir().join("taken-away.log")),
            M::Overwrite => support::shim::overwrite_middle(&current),
        }
        .unwrap_or_else(|e| panic!("{meddling:?}: {e}"));
        self.relay.signal(Signal::CONT);
    }
}

fn config(dns: &DnsServer, port: u16, http: u16, returns: Option<u16>) -> String {
    let returns = returns.map_or(String::new(), |port| {
        format!("[returns]\ndomain = \"bounce.relay.test\"\n[listen.back]\naddress = \"127.0.0.1:{port}\"\nrole = \"returns\"\n")
    });
    format!(
        r#"
        {}
        listen.default.streams = ["*"]
        user.app.streams = ["*"]
        spool.segment_size = "1 MiB"
        log.rotate_size = "256 KiB"
        log.gather = "2ms"
        log.sync = "20ms"
        log.keep_files = 0
        tls.policy = "none"
        [dns]
        nameservers = ["{}"]
        private_addresses = true
        [delivery]
        port = {port}
        unlogged_max = {UNLOGGED}
        [source.default]
        [source.cold]
        address = "127.0.0.2"
        warmup = "mine"
        [pool.default]
        sources = ["default"]
        [pool.cold]
        sources = ["cold"]
        [stream.default]
        [stream.warm]
        pool = "cold"
        [curve.mine]
        caps = [{CAP}]
        after = "last"
        burst = {CAP}
        {returns}
        "#,
        support::http::config(http, &[("app", TOKEN, &["send"])]),
        dns.address(),
    )
}
