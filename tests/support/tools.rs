//! Other programs, for independent checks.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::{
    relay::{free_port, text},
    wait,
};

/// Whether a tool is installed. Without it a test may end early, unless `tests/run` has made sure that all tools are installed.
pub fn have(path: &str) -> bool {
    let there = Path::new(path).exists();
    assert!(there || std::env::var_os("POSTHASTE_TESTS_STRICT").is_none(), "{path} is missing: tests/run installs it");
    if !there {
        eprintln!("SKIPPED: {path} is missing; tests/run installs it");
    }
    there
}

/// Whether the test runs as root: like [`have`], for tests that need root.
pub fn have_root(why: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: not root; {why}");
    }
    root
}

/// Whether OpenDKIM verifies all signatures of a message; `records` are names and texts in DNS.
pub fn opendkim_says(dir: &Path, message: &[u8], records: &[(&str, &str)]) -> bool {
    let write = |name: &str, content: &[u8]| {
        fs::write(dir.join(name), content).expect("the folder is ours");
        dir.join(name)
    };
    let lines: String = records.iter().map(|(name, record)| format!("{name} {record}\n")).collect();
    let keys = write("opendkim.keys", lines.as_bytes());
    let config = write("opendkim.conf", format!("Mode v\nSyslog no\nTestPublicKeys {}\n", keys.display()).as_bytes());
    let message = write("opendkim.eml", message);
    let out = Command::new("/usr/sbin/opendkim").arg("-x").arg(config).arg("-v").arg("-t").arg(message).output().expect("opendkim runs");
    let said = text(&out.stdout) + &text(&out.stderr);
    assert!(said.contains(" succeeded\n") != said.contains(" failed: "), "opendkim said neither yes nor no: {said}");
    said.contains(" succeeded\n")
}

/// The prefix of the sink's file name.
const PREFIX: &str = "dump";

/// Postfix's smtp-sink; it ends when dropped.
pub struct Sink {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Sink {
    /// The program.
    pub const PROGRAM: &str = "/usr/sbin/smtp-sink";

    /// Starts it on a free port; it writes received mail to a file in `dir`.
    pub fn start(dir: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new(Self::PROGRAM);
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root, and creates its file as the other user.
            command.args(["-u", "nobody"]);
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).expect("the folder is ours");
        }
        command.arg("-D").arg(dir.join(PREFIX)).arg(format!("127.0.0.1:{port}")).arg("256").stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("smtp-sink starts");
        let sink = Self { child, port, dir: dir.to_owned() };
        wait::until("smtp-sink to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        sink
    }

    /// The address that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The messages so far, with their envelopes in X-Rcpt-Args and similar fields.
    pub fn dump(&self) -> String {
        let files = fs::read_dir(&self.dir).expect("the folder is there").map(|file| file.expect("the folder can be read").path());
        // It adds a number to the name.
        let dumps = files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)));
        dumps.map(|path| text(&fs::read(path).expect("the dump can be read"))).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
