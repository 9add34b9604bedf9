//! A receiver that does what a test wants: accepts mail, refuses it at any step, hangs, disconnects, speaks TLS well or badly.
//!
//! It runs on plain threads, one per connection, and records everything it gets before it answers.

mod session;
mod wire;

use std::{
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::ServerConfig;

use crate::{gate::Gate, wait::PATIENCE};

/// The receiver; it stops, and refuses connections, when dropped.
pub struct FakeMx {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

/// The step of a dialogue, with what the client just sent.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A connection.
    Connect,
    /// EHLO or HELO, and the name.
    Ehlo(&'a str),
    /// STARTTLS.
    StartTls,
    /// AUTH, and what follows it. (It is announced only if a test does so.)
    Auth(&'a str),
    /// MAIL, and the address without its brackets.
    Mail(&'a str),
    /// RCPT, and the address without its brackets.
    Rcpt(&'a str),
    /// DATA, after at least one accepted recipient.
    Data,
    /// The end of a message.
    Dot(&'a Transaction),
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
}

/// What the receiver does at a step.
#[derive(Clone, Debug)]
pub enum Act {
    /// The usual positive reply.
    Usual,
    /// Reply with this; for a reply of several lines, all of them.
    Say(String),
    /// Reply with this and close the connection.
    SayAndClose(String),
    /// Close the connection without a reply. After the final dot: with the message accepted.
    Close,
    /// Wait for the gate, then do the usual.
    Wait(Gate),
    /// Send nothing more until the other side disconnects.
    Hang,
}

/// One message that was received up to its final dot.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// The number of the connection, 1 for the first.
    pub session: usize,
    /// The sender's address.
    pub peer: Option<SocketAddr>,
    /// The name that the sender gave in EHLO.
    pub ehlo: String,
    /// Whether it arrived over TLS.
    pub tls: bool,
    /// The reverse-path without its brackets.
    pub from: String,
    /// The parameters after it.
    pub parameters: String,
    /// The recipients that were accepted.
    pub rcpts: Vec<String>,
    /// The message, with dots unstuffed and every other byte as received.
    pub data: Vec<u8>,
    /// Whether it was accepted: answered 2xx, or the connection closed without a reply.
    pub taken: bool,
}

/// What happens after STARTTLS.
#[derive(Clone, Debug)]
pub enum Tls {
    /// It is not offered.
    None,
    /// TLS.
    Good(Arc<ServerConfig>),
    /// 220, and then something that is not TLS.
    Broken,
}

type Script = Arc<dyn Fn(usize, Step<'_>) -> Act + Send + Sync>;

struct Shared {
    stopped: AtomicBool,
    script: Mutex<Script>,
    tls: Mutex<Tls>,
    /// The lines of the EHLO reply besides STARTTLS.
    extensions: Mutex<Vec<String>>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// Everything that happened.
#[derive(Default)]
struct Seen {
    sessions: usize,
    open: Vec<(usize, TcpStream)>,
    peers: Vec<SocketAddr>,
    commands: Vec<String>,
    transactions: Vec<Transaction>,
}

impl FakeMx {
    /// Accepts everything, on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on 127.0.0.1"))
    }

    /// One receiver for each address, all on the same port.
    pub fn group<const N: usize>(ips: [&str; N]) -> [Self; N] {
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            let mut port = 0;
            let bind = |ip: &str| {
                let listener = TcpListener::bind((ip, port)).ok()?;
                port = listener.local_addr().ok()?.port();
                Some(listener)
            };
            let bound: Vec<_> = ips.iter().copied().map_while(bind).collect();
            if let Ok(bound) = <[TcpListener; N]>::try_from(bound) {
                return bound.map(Self::serve);
            }
        }
        panic!("no port is free on all of {ips:?}")
    }

    fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("the socket is bound");
        let extensions = ["PIPELINING", "8BITMIME", "SIZE 104857600", "ENHANCEDSTATUSCODES"].map(str::to_owned).to_vec();
        let shared = Arc::new(Shared {
            stopped: AtomicBool::new(false),
            script: Mutex::new(Arc::new(|_, _| Act::Usual)),
            tls: Mutex::new(Tls::None),
            extensions: Mutex::new(extensions),
            seen: Mutex::default(),
            changed: Condvar::new(),
        });
        let of = shared.clone();
        let thread = thread::Builder::new().name("mx".into()).spawn(move || accept(&of, &listener)).expect("a thread for the receiver");
        Self { address, shared, thread: Some(thread) }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`Self::address`].
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on this function answers each step; the number is the connection's, 1 for the first.
    pub fn script(&self, script: impl Fn(usize, Step<'_>) -> Act + Send + Sync + 'static) -> &Self {
        *lock(&self.shared.script) = Arc::new(script);
        self
    }

    /// From now on everything is accepted.
    pub fn behave(&self) -> &Self {
        self.script(|_, _| Act::Usual)
    }

    /// What happens after STARTTLS from now on.
    pub fn tls(&self, tls: Tls) -> &Self {
        *lock(&self.shared.tls) = tls;
        self
    }

    /// The lines of the EHLO reply from now on, besides STARTTLS.
    pub fn extensions(&self, lines: &[&str]) -> &Self {
        *lock(&self.shared.extensions) = lines.iter().map(|l| (*l).to_owned()).collect();
        self
    }

    /// Every message that was received up to its final dot, in that order.
    pub fn transactions(&self) -> Vec<Transaction> {
        lock(&self.shared.seen).transactions.clone()
    }

    /// Looks at them without copying.
    pub fn look<T>(&self, at: impl FnOnce(&[Transaction]) -> T) -> T {
        at(&lock(&self.shared.seen).transactions)
    }

    /// Every message that was accepted.
    pub fn messages(&self) -> Vec<Transaction> {
        lock(&self.shared.seen).transactions.iter().filter(|t| t.taken).cloned().collect()
    }

    /// Waits until this many messages were accepted; returns all of them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Transaction> {
        let got = |seen: &Seen| seen.transactions.iter().filter(|t| t.taken).count();
        self.wait(&format!("{count} messages at {}", self.address), |seen| got(seen) >= count);
        self.messages()
    }

    /// Waits for a command line with this beginning.
    #[track_caller]
    pub fn wait_for_command(&self, start: &str) {
        self.wait(&format!("{start:?} at {}", self.address), |seen| seen.commands.iter().any(|c| c.starts_with(start)));
    }

    /// Waits until there is no connection.
    #[track_caller]
    pub fn wait_until_alone(&self) {
        self.wait(&format!("everybody to leave {}", self.address), |seen| seen.open.is_empty());
    }

    #[track_caller]
    fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        let (seen, waited) = self
            .shared
            .changed
            .wait_timeout_while(lock(&self.shared.seen), PATIENCE, |seen| !done(seen))
            .unwrap_or_else(PoisonError::into_inner);
        let commands = seen.commands.join("\n  ");
        drop(seen);
        assert!(!waited.timed_out(), "waited {PATIENCE:?} in vain for {what}; what it was told:\n  {commands}");
    }

    /// Connections so far.
    pub fn sessions(&self) -> usize {
        lock(&self.shared.seen).sessions
    }

    /// The addresses that they came from.
    pub fn peers(&self) -> Vec<SocketAddr> {
        lock(&self.shared.seen).peers.clone()
    }

    /// Every command line of every connection, as received.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.shared.seen).commands.clone()
    }

    /// Closes all connections abruptly.
    pub fn hang_up(&self) {
        for (_, stream) in &lock(&self.shared.seen).open {
            // It may be closed already, which is fine.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for FakeMx {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then drops the listener.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.hang_up();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    while let Ok((stream, peer)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(twin) = stream.try_clone() else { continue };
        let mut seen = lock(&shared.seen);
        seen.sessions += 1;
        let session = seen.sessions;
        seen.open.push((session, twin));
        seen.peers.push(peer);
        drop(seen);
        let shared = shared.clone();
        let talk = move || {
            // Broken connections are part of many tests.
            let _ = session::talk(&shared, session, stream, peer);
            lock(&shared.seen).open.retain(|(open, _)| *open != session);
            shared.changed.notify_all();
        };
        thread::Builder::new().name("mx session".into()).spawn(talk).expect("a thread for a session");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
