//! Users of a relay, and listeners with TLS for them.

use std::{fs, io::Write, process::Stdio};

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{certs::certified_pem, relay::Relay, relay::text};

/// The name in the certificates of these listeners.
pub const HOST: &str = "relay.test";

/// Adds a user with this password and these options of `posthaste user add`.
#[track_caller]
pub fn add_user(relay: &Relay, name: &str, password: &str, options: &[&str]) {
    let mut command = relay.command(["user", "add", name].iter().chain(options));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("posthaste runs");
    child.stdin.take().expect("a pipe").write_all(format!("{password}\n").as_bytes()).expect("it reads");
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}

/// Puts a certificate for [`HOST`] into the relay's folder; returns the lines for a listener that uses it.
pub fn certificate(relay: &Relay) -> &'static str {
    let (certificate, key) = certified_pem(HOST);
    fs::write(relay.dir().join("relay.pem"), certificate).expect("the folder is ours");
    fs::write(relay.dir().join("relay.key"), key).expect("the folder is ours");
    "certificate = \"relay.pem\"\nkey = \"relay.key\"\n"
}

/// AUTH PLAIN with its initial response (RFC 4616).
pub fn auth_plain(user: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", BASE64_STANDARD.encode(format!("\0{user}\0{password}")))
}

/// Gives a user another password.
#[track_caller]
pub fn change_password(relay: &Relay, name: &str, password: &str) {
    let mut command = relay.command(["user", "passwd", name]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("posthaste runs");
    child.stdin.take().expect("a pipe").write_all(format!("{password}\n").as_bytes()).expect("it reads");
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}
