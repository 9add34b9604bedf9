//! The built program, started in a folder of its own, as an operator would.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use tempfile::TempDir;
use toml::{Table, Value};

use crate::{
    client::{Answer, Client, Mail},
    log::DeliveryLog,
    wait,
};

/// A relay that may be killed and started again. When dropped, it is stopped, checked and cleaned up. If the test failed and
/// `POSTHASTE_TEST_KEEP` is set, its folder stays.
pub struct Relay {
    dir: TempDir,
    port: u16,
    /// The configuration at the start, which a later, invalid one does not change.
    good: Table,
    child: Option<Child>,
    /// How many times as fast its time passes.
    rehearse: Option<u32>,
    /// What its process has in its environment besides what all commands have.
    environment: Vec<(&'static str, PathBuf)>,
    /// Whether the whole log must be valid at the end.
    looked_at: bool,
    /// How many files it may have open, if that is limited.
    files: Option<u32>,
}

impl Relay {
    /// Starts a relay with this TOML on top of the defaults below; it listens when this returns.
    pub fn start(extra: &str) -> Self {
        let mut relay = Self::prepare(extra);
        relay.run();
        relay
    }

    /// Makes its folder and configuration without starting it.
    pub fn prepare(extra: &str) -> Self {
        let dir = TempDir::with_prefix("posthaste-").expect("a folder for the relay");
        let port = free_port();
        let mut good = defaults(dir.path(), port);
        merge(&mut good, extra.parse().expect("the test's configuration is TOML"));
        let relay = Self { dir, port, good, child: None, rehearse: None, environment: Vec::new(), files: None, looked_at: true };
        relay.write_config(&relay.good.to_string());
        relay
    }

    /// Makes its time pass this many times as fast from its next start on.
    pub fn rehearse(&mut self, times: u32) {
        self.rehearse = Some(times);
    }

    /// Lets it have so many files open, from its next start on.
    pub fn files(&mut self, most: u32) {
        self.files = Some(most);
    }

    /// Adds to the environment of the relay itself, from its next start on.
    pub fn environment(&mut self, more: impl IntoIterator<Item = (&'static str, PathBuf)>) {
        self.environment.extend(more);
    }

    /// Adds this TOML to its configuration before it starts.
    pub fn configure(&mut self, extra: &str) {
        merge(&mut self.good, extra.parse().expect("the test's configuration is TOML"));
        self.write_config(&self.good.to_string());
    }

    /// Takes a key or a table at the top out of its configuration before it starts, so that the default applies.
    pub fn leave_out(&mut self, key: &str) {
        self.good.remove(key).expect("the configuration has it");
        self.write_config(&self.good.to_string());
    }

    /// Starts it and does not wait for anything.
    pub fn spawn(&mut self) {
        let stderr = OpenOptions::new().create(true).append(true).open(self.stderr_path()).expect("a file for what the relay says");
        let mut command = self.command(["run"]);
        if let Some(times) = self.rehearse {
            command.args(["--rehearse", &times.to_string()]);
        }
        command.envs(self.environment.iter().cloned());
        if let Some(most) = self.files {
            command = limited(most, &command);
        }
        command.stdout(Stdio::null()).stderr(stderr);
        self.child = Some(command.spawn().expect("the relay starts"));
    }

    /// Starts it (again) and waits until it has said where it listens: from then on every listener takes connections.
    pub fn run(&mut self) {
        let said = self.stderr().len();
        self.spawn();
        wait::until("the relay to listen", || {
            if let Some(status) = self.ended() {
                panic!("the relay ended with {status}:\n{}", self.stderr());
            }
            self.stderr()[said..].contains("; delivery log: ").then_some(())
        });
    }

    /// `posthaste` with these arguments and this relay's configuration, not started yet.
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.dir.path()).env("POSTHASTE_CONFIG", self.config_path());
        command.env_remove("RUST_LOG").env("NO_COLOR", "1").env("USER", "tester").env_remove("SUDO_USER").stdin(Stdio::null());
        command
    }

    /// Runs `posthaste` with these arguments to its end.
    pub fn cli<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Output {
        self.command(arguments).output().expect("posthaste runs")
    }

    /// The same; it must succeed. Returns its output.
    #[track_caller]
    pub fn ok<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> String {
        let out = self.cli(arguments);
        assert!(out.status.success(), "{}: {}{}", out.status, text(&out.stdout), text(&out.stderr));
        text(&out.stdout)
    }

    /// Submits one message over a connection of its own.
    pub fn submit(&self, mail: &Mail) -> Answer {
        Client::hello(self.port).and_then(|mut client| client.submit(mail)).expect("the relay answers")
    }

    /// Submits one message; returns its id.
    #[track_caller]
    pub fn send(&self, mail: &Mail) -> String {
        let answer = self.submit(mail);
        answer.id().unwrap_or_else(|| panic!("not taken: {answer:?}")).to_owned()
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its configuration.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("posthaste.toml")
    }

    /// Replaces its configuration file, without a reload.
    pub fn write_config(&self, toml: &str) {
        fs::write(self.config_path(), toml).expect("the configuration can be written");
    }

    /// Writes the configuration with this TOML on top, without a reload.
    pub fn change_config(&self, extra: &str) {
        let mut changed = self.good.clone();
        merge(&mut changed, extra.parse().expect("the test's configuration is TOML"));
        self.write_config(&changed.to_string());
    }

    /// Its delivery log.
    pub fn log(&self) -> DeliveryLog {
        DeliveryLog::new(&self.dir.path().join("data/log"))
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        text(&fs::read(self.stderr_path()).unwrap_or_default())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the relay runs").id()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the relay can be killed");
            child.wait().expect("the relay can be waited for");
        }
    }

    /// Sends a signal and does not wait.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().expect("the relay runs");
        rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).expect("the relay can be signalled");
    }

    /// SIGSTOP, and waits until it stands still: the signal alone lets threads run on, for milliseconds on a busy machine.
    pub fn halt(&self) {
        use rustix::process::{Pid, Signal, WaitOptions, waitpid};
        let pid = Pid::from_child(self.child.as_ref().expect("the relay runs"));
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).expect("the relay can be waited for").expect("this waits");
        assert!(status.stopped(), "the relay has ended instead: {status:?}");
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("the relay can be asked"))
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the relay runs");
        let status = wait::within(wait::PATIENCE, || child.try_wait().expect("the relay can be waited for"));
        status.unwrap_or_else(|| {
            self.child = Some(child);
            panic!("the relay did not end")
        })
    }

    /// `posthaste audit` must succeed and report a balance.
    #[track_caller]
    pub fn assert_balanced(&self) -> String {
        let out = self.cli(["audit"]);
        let said = text(&out.stdout);
        assert!(out.status.success() && said.contains("balanced: accepted = ended + queued"), "audit:\n{said}{}", text(&out.stderr));
        said
    }

    /// The test has damaged the log or the spool on purpose: they are not checked at the end.
    pub fn spoilt(&mut self) {
        self.looked_at = false;
    }

    fn stderr_path(&self) -> PathBuf {
        self.dir.path().join("stderr")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            if std::env::var_os("POSTHASTE_TEST_KEEP").is_some() {
                self.dir.disable_cleanup(true);
                eprintln!("--- the relay's folder is kept: {}", self.dir.path().display());
            }
            eprintln!("--- the relay's standard error\n{}\n--- its log's last lines\n{}---", self.stderr(), self.log().tail());
            return;
        }
        if !self.looked_at {
            return;
        }
        let violations = self.log().violations();
        assert!(violations.is_empty(), "events that the schema does not allow:\n{violations}");
        if self.dir.path().join("data/spool").exists() {
            self.write_config(&self.good.to_string());
            self.assert_balanced();
        }
    }
}

/// The configuration of every test relay unless the test changes it: quick retries, independent of the machine.
fn defaults(dir: &Path, port: u16) -> Table {
    let text = format!(
        r#"
        node = "test"
        hostname = "relay.test"
        data_dir = {data:?}
        listen.default.address = "127.0.0.1:{port}"
        http.address = []
        spool.min_free = "1 MiB"
        retry.schedule = ["1s"]
        retry.jitter = 0
        dns.timeout = "1s"
        dns.attempts = 1
        dns.min_ttl = "0s"
        delivery.host_down = "0s"
        "#,
        data = dir.join("data"),
    );
    text.parse().expect("the tests' configuration is TOML")
}

/// Merges `more` into `table`, recursively.
fn merge(table: &mut Table, more: Table) {
    for (key, value) in more {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            (_, value) => drop(table.insert(key, value)),
        }
    }
}

/// The same command with at most so many open files.
fn limited(files: u32, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.current_dir(command.get_current_dir().expect("the relay's folder")).stdin(Stdio::null());
    shell
}

/// A port outside the system's ephemeral range, so that no other process gets it while a relay is down. A process gets each port once.
pub fn free_port() -> u16 {
    const RANGE: std::ops::Range<u16> = 12_000..32_000;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    // Who binds a port to try it could be taken for the relay that it was given to: each is tried once.
    let is_new = |port: &u16| GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(*port);
    let is_free = |port: &u16| is_new(port) && TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok();
    std::iter::repeat_with(|| rand::random_range(RANGE)).take(1000).find(is_free).expect("a free port")
}

/// The program, built with the same profile as the test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    // target/PROFILE/deps/TEST
    let binary = test.ancestors().nth(2).expect("tests are built into target").join("posthaste");
    assert!(binary.is_file(), "{} is not there: run `cargo build -p posthaste` first", binary.display());
    binary
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
