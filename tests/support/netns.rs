//! Namespaces of a test's own: a network, in which it may add and remove addresses, and mounts, for disks of its own.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

/// The environment variable that marks the inner run.
const INSIDE: &str = "POSTHASTE_TEST_NETWORK";

/// Runs this same test again in namespaces of its own (network, mounts) and returns false; returns true inside it. `name` is the test's, as for `--exact`.
#[track_caller]
pub fn inside(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        ip(&["link", "set", "lo", "up"]);
        return true;
    }
    let this = env::current_exe().expect("a test knows its own program");
    let mut command = Command::new("unshare");
    // A user that is not root is root in there.
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount"]).arg(this).args(["--exact", name, "--nocapture"]).env(INSIDE, "1").stdin(Stdio::null());
    let out = command.output().expect("unshare, of util-linux, is there");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{}\n{said}\n{}", out.status, String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("1 passed"), "no test is called {name}:\n{said}");
    false
}

/// Mounts an empty disk of this size in bytes on a folder, for as long as the test runs.
#[track_caller]
pub fn disk(folder: &Path, size: u64) {
    let out = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder).output();
    let out = out.expect("mount, of util-linux, is there");
    assert!(out.status.success(), "mount: {}", String::from_utf8_lossy(&out.stderr));
}

/// Adds an address in this network.
#[track_caller]
pub fn give(address: &str) {
    ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]);
}

/// Removes the address.
#[track_caller]
pub fn take(address: &str) {
    ip(&["address", "del", &format!("{address}/32"), "dev", "lo"]);
}

#[track_caller]
fn ip(arguments: &[&str]) {
    let out = Command::new("ip").args(arguments).output().expect("ip, of iproute2, is there");
    assert!(out.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
}
