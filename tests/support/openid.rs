//! An OpenID provider that is not ours: node's oidc-provider, in a process of its own; and a browser without a screen that goes between it and the
//! relay. `tests/run` fetches it from npm, as `tests/oidc/package-lock.json` fixes it.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    browser::axe,
    http::{Connection, Reply},
    relay::free_port,
    tools,
    visitor::encoded,
    wait,
};

const NODE: &str = "/usr/bin/node";

/// A running provider; it ends when dropped.
pub struct OpenId {
    child: Option<Child>,
    asked: Value,
    port: u16,
}

impl OpenId {
    /// The relay's client name there, with as many special characters as allowed, and its secret.
    pub const CLIENT: (&str, &str) = ("mail:relay one", "s+c r%t&");
    /// A client without a secret.
    pub const PUBLIC: &str = "public";
    /// Its accounts, each in one group.
    pub const ACCOUNTS: [(&str, &str); 3] = [("ann", "mail-ops"), ("bob", "staff"), ("zoe", "sales")];

    fn library() -> PathBuf {
        let target = axe::path().ancestors().nth(4).expect("axe-core is in target").to_owned();
        target.join("oidc/node_modules/oidc-provider/lib/index.js")
    }

    /// Whether it can run here; if `tests/run` runs the tests, it must.
    pub fn have() -> bool {
        tools::have(NODE) && tools::have(&Self::library().display().to_string())
    }

    /// Starts one for the page at this port of 127.0.0.1; `more`: see `tests/oidc/server.mjs`.
    pub fn start(page: u16, more: &Value) -> Self {
        let mut provider = Self::absent(page, more);
        provider.come();
        provider
    }

    /// The same, which is not there yet.
    pub fn absent(page: u16, more: &Value) -> Self {
        let port = free_port();
        let scheme = if more["certificate"].is_string() { "https" } else { "http" };
        let account = |(name, group): &(&str, &str)| {
            let claims = json!({ "preferred_username": name, "email": format!("{name}@example.com"), "groups": ["all", group] });
            ((*name).to_owned(), claims)
        };
        let mut asked = json!({
            // Another site than the page, as browsers see it.
            "issuer": format!("{scheme}://localhost:{port}"),
            "port": port,
            "redirect": format!("http://127.0.0.1:{page}/login/oidc/back"),
            "accounts": Self::ACCOUNTS.iter().map(account).collect::<serde_json::Map<_, _>>(),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        Self { child: None, asked, port }
    }

    /// It is there from now on, with a new key for signatures.
    #[track_caller]
    pub fn come(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oidc/server.mjs");
        // Node was seen to stand still at its start.
        for _ in 0..3 {
            let mut command = Command::new(NODE);
            command.arg(&script).arg(Self::library()).arg(self.asked.to_string());
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("node starts");
            let child = self.child.insert(child);
            let listens = wait::within(wait::PATIENCE / 2, || {
                assert!(child.try_wait().expect("it can be asked").is_none(), "the provider ended");
                TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()
            });
            if listens.is_some() {
                return;
            }
            self.go();
        }
        panic!("the provider does not listen");
    }

    /// It is gone.
    pub fn go(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Its issuer identifier.
    pub fn issuer(&self) -> &str {
        self.asked["issuer"].as_str().expect("it is text")
    }
}

impl Drop for OpenId {
    fn drop(&mut self) {
        self.go();
    }
}

/// A browser without a screen: it keeps cookies, and goes where it is sent one step at a time.
#[derive(Default)]
pub struct Surfer {
    /// Port, path, name and value. What differs from a browser: cookies of one host belong to a port.
    cookies: RefCell<Vec<(u16, String, String, String)>>,
}

impl Surfer {
    /// Asks for an address of this machine.
    #[track_caller]
    pub fn get(&self, address: &str) -> Reply {
        self.ask("GET", address, "")
    }

    /// Sends a form to one.
    #[track_caller]
    pub fn post(&self, address: &str, fields: &[(&str, &str)]) -> Reply {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        self.ask("POST", address, &fields.join("&"))
    }

    /// Goes where an answer leads, until one leads nowhere or to an address with this part; returns the last address, and the answer of the one before
    /// or at it.
    #[track_caller]
    pub fn follow(&self, from: &str, mut answer: Reply, until: &str) -> (String, Reply) {
        const STEPS_MAX: usize = 12;
        let mut at = from.to_owned();
        for _ in 0..STEPS_MAX {
            if !(300..400).contains(&answer.status) {
                return (at, answer);
            }
            at = joined(&at, answer.header("location"));
            if !until.is_empty() && at.contains(until) {
                return (at, answer);
            }
            answer = self.get(&at);
        }
        panic!("sent in a circle: {at}");
    }

    /// The path and the value of a cookie's.
    pub fn cookie(&self, port: u16, name: &str) -> Option<String> {
        let cookies = self.cookies.borrow();
        cookies.iter().find(|(at, _, known, _)| (*at, &**known) == (port, name)).map(|(.., value)| value.clone())
    }

    /// Loses the cookies of a port.
    pub fn forget(&self, port: u16) {
        self.cookies.borrow_mut().retain(|(at, ..)| *at != port);
    }

    #[track_caller]
    fn ask(&self, method: &str, address: &str, body: &str) -> Reply {
        let rest = address.strip_prefix("http://").unwrap_or_else(|| panic!("not plain HTTP: {address}"));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let port: u16 = host.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port: {address}"));
        let path = if path.is_empty() { "/" } else { path };
        let fits = |(at, within, ..): &&(u16, String, String, String)| *at == port && path.starts_with(within.as_str());
        let cookies: Vec<String> = self.cookies.borrow().iter().filter(fits).map(|(_, _, name, value)| format!("{name}={value}")).collect();
        let cookies = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/x-www-form-urlencoded\r\n" };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n{kind}{cookies}\r\n", body.len());
        let mut connection = Connection::open(port).unwrap_or_else(|error| panic!("{address}: {error}"));
        connection.send((head + body).as_bytes()).unwrap_or_else(|error| panic!("{address}: {error}"));
        let answer = connection.hear().unwrap_or_else(|error| panic!("{address}: {error}"));
        for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            self.keep(port, cookie);
        }
        answer
    }

    fn keep(&self, port: u16, cookie: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a cookie has a name");
        let path =
            parts.find_map(|part| part.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("path"))).map_or("/", |(_, path)| path);
        let mut cookies = self.cookies.borrow_mut();
        cookies.retain(|(at, within, known, _)| (*at, &**within, &**known) != (port, path, name));
        if !value.is_empty() {
            cookies.push((port, path.to_owned(), name.to_owned(), value.to_owned()));
        }
    }
}

/// An address as seen from another.
fn joined(from: &str, to: &str) -> String {
    if !to.starts_with('/') {
        return to.to_owned();
    }
    let host = from.match_indices('/').nth(2).map_or(from, |(at, _)| &from[..at]);
    format!("{host}{to}")
}
