//! An OAuth 2.0 server's introspection endpoint (RFC 7662), over TLS. It checks each request against the RFC.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{ServerConnection, StreamOwned};

use crate::{certs::certified, mx::Tls, wait::PATIENCE};

/// What it does with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// Answers.
    #[default]
    Well,
    /// Answers with this status, as a redirect.
    Status(u16),
    /// Answers with something other than RFC 7662 describes.
    Junk,
    /// Answers with an excessively long body.
    Endless,
    /// Reads the request and gives no answer.
    Silent,
    /// Does not even speak TLS.
    Gone,
}

/// The endpoint; it runs as long as the test.
pub struct Endpoint {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    mood: Mood,
    answers: HashMap<String, String>,
    asked: Vec<String>,
    connections: usize,
    faults: Vec<String>,
}

impl Endpoint {
    /// The relay's client name, with as many special characters as allowed.
    pub const CLIENT: &str = "mail:relay one";
    /// Client name and secret as sent over the wire (RFC 6749 §2.3.1).
    const WIRE: &str = "mail%3Arelay+one:s%2Bc+r%25t%C3%A4";
    /// Its secret.
    pub const SECRET: &str = "s+c r%tä";

    /// Starts it on a free port of this machine, with a certificate for "localhost".
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::<Mutex<State>>::default();
        let Tls::Good(tls) = certified("localhost") else { unreachable!("it is certified") };
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, tls) = (shared.clone(), tls.clone());
                thread::spawn(move || serve(stream, ServerConnection::new(tls).expect("a server"), &state));
            }
        });
        Self { port, state }
    }

    /// Its URL.
    pub fn address(&self) -> String {
        format!("https://localhost:{}/oauth2/introspect?v=1", self.port)
    }

    /// Sets the answer for a token; all others are not active.
    pub fn knows(&self, token: &str, answer: &str) {
        self.state().answers.insert(token.into(), answer.into());
    }

    /// Sets what it does from now on.
    pub fn be(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// The tokens it was asked about so far.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// The violations of the RFC so far.
    pub fn faults(&self) -> Vec<String> {
        self.state().faults.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, tls: ServerConnection, state: &Mutex<State>) {
    lock(state).connections += 1;
    if lock(state).mood == Mood::Gone {
        return;
    }
    let mut stream = BufReader::new(StreamOwned::new(tls, stream));
    // It ends when the relay closes the connection.
    while answer(&mut stream, state).is_ok() {}
}

fn answer<S: Read + Write>(stream: &mut BufReader<S>, state: &Mutex<State>) -> io::Result<()> {
    let (head, body) = question(stream)?;
    let mood = lock(state).mood;
    let token = judge(&head, &body).unwrap_or_else(|fault| {
        lock(state).faults.push(fault);
        String::new()
    });
    let known = lock(state).answers.get(&token).cloned();
    lock(state).asked.push(token);
    let (status, body) = match mood {
        Mood::Well => (200, known.unwrap_or_else(|| r#"{"active":false}"#.into())),
        Mood::Status(status) => (status, r#"{"active":true,"username":"app","scope":"smtp.send"}"#.into()),
        Mood::Junk => (200, "<html>It works!</html>".into()),
        Mood::Endless => (200, format!(r#"{{"active":false,"x":"{}"}}"#, "x".repeat(1 << 20))),
        Mood::Silent | Mood::Gone => {
            thread::sleep(PATIENCE.min(Duration::from_secs(10)));
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nLocation: /oauth2/introspect\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.get_mut().write_all((head + &body).as_bytes())
}

/// A request's head, and its body.
fn question(stream: &mut impl BufRead) -> io::Result<(Vec<String>, String)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, String::from_utf8_lossy(&body).into_owned()))
}

/// The token asked about, or what is wrong with the request (RFC 7662 §2.1).
fn judge(head: &[String], body: &str) -> Result<String, String> {
    let is = |name: &str, wanted: &str| match header(head, name) {
        Some(value) if value == wanted => Ok(()),
        other => Err(format!("{name} is {other:?}")),
    };
    if head[0] != "POST /oauth2/introspect?v=1 HTTP/1.1" {
        return Err(head[0].clone());
    }
    is("content-type", "application/x-www-form-urlencoded")?;
    is("accept", "application/json")?;
    is("authorization", &format!("Basic {}", BASE64_STANDARD.encode(Endpoint::WIRE)))?;
    let token = body.strip_prefix("token=").and_then(|rest| rest.strip_suffix("&token_type_hint=access_token"));
    let token = token.ok_or_else(|| format!("the form is {body:?}"))?;
    Ok(token.replace("%2F", "/").replace("%2B", "+").replace("%3D", "=").replace("%7E", "~"))
}

fn header<'h>(head: &'h [String], name: &str) -> Option<&'h str> {
    let mut pairs = head.iter().filter_map(|line| line.split_once(": "));
    pairs.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
