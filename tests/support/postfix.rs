//! Postfix as another relay, in a folder of its own, that forwards its mail to ours.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::{
    relay::{free_port, text},
    wait,
};

/// The services that handle mail; none in a chroot.
const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n - 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// A running Postfix; stopped when dropped.
pub struct Postfix {
    dir: TempDir,
    port: u16,
}

impl Postfix {
    /// Starts a Postfix that accepts all mail from loopback and relays it by `more`, lines of its main.cf. `files` are put beside main.cf, and
    /// `$dir` in the lines stands for their folder. Needs root, as Postfix does.
    pub fn start(more: &str, files: &[(&str, &str)]) -> Self {
        let (dir, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let path = dir.path();
        // Its processes drop root and must still reach their queue.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        for (name, content) in files {
            fs::write(path.join(name), content).expect("the folder is ours");
        }
        for folder in ["queue", "data"] {
            fs::create_dir(path.join(folder)).expect("the folder is ours");
        }
        done(Command::new("chown").arg("postfix").arg(path.join("data")));
        let dir_name = path.display().to_string();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = $dir/queue\ndata_directory = $dir/data\nmaillog_file = $dir/log\nmaillog_file_prefixes = $dir\n\
             myhostname = app.test\nmydestination =\nlocal_recipient_maps =\nalias_maps =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n{more}"
        );
        fs::write(path.join("main.cf"), main.replace("$dir", &dir_name)).expect("the folder is ours");
        fs::write(path.join("master.cf"), format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}")).expect("the folder is ours");
        done(Command::new("/usr/sbin/postfix").arg("-c").arg(path).arg("start"));
        wait::until("Postfix to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        Self { dir, port }
    }

    /// The port that it accepts mail on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let stopped = Command::new("/usr/sbin/postfix").arg("-c").arg(self.dir()).arg("stop").output();
        if !stopped.is_ok_and(|out| out.status.success()) {
            eprintln!("Postfix in {} did not stop", self.dir().display());
        }
    }
}

fn done(command: &mut Command) {
    let out = command.output().expect("the program is there");
    assert!(out.status.success(), "{command:?}: {}{}", text(&out.stdout), text(&out.stderr));
}
