//! A receiver that does what a test wants: takes mail, refuses it at any step, hangs, breaks off, speaks TLS well or badly.
//!
//! It runs on plain threads, one for each connection, and writes down everything that it was given before it answers.

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

/// Where a dialogue is, and what was just said.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A connection.
    Connect,
    /// EHLO or HELO, and the name.
    Ehlo(&'a str),
    /// STARTTLS.
    StartTls,
    /// AUTH, and what follows it. (It is announced only where a test does so.)
    Auth(&'a str),
    /// MAIL, and the address without its brackets.
    Mail(&'a str),
    /// RCPT, and the address without its brackets.
    Rcpt(&'a str),
    /// DATA, with somebody to send to.
    Data,
    /// The end of a message.
    Dot(&'a Transaction),
    /// RSET.
    Rset,
    /// QUIT.
    Quit,
}

/// What to do about it.
#[derive(Clone, Debug)]
pub enum Act {
    /// What a receiver does that has nothing against it.
    Usual,
    /// Say this; for more than one line, all of them.
    Say(String),
    /// Say this and close the connection.
    SayAndClose(String),
    /// Close the connection without a word. Behind the final dot: with the message taken.
    Close,
    /// Wait for the gate, then do the usual.
    Wait(Gate),
    /// Say nothing any more until the other side goes away.
    Hang,
}

/// One message that came as far as its final dot.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Which connection, 1 for the first.
    pub session: usize,
    /// From where.
    pub peer: Option<SocketAddr>,
    /// What the sender called itself.
    pub ehlo: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The reverse-path without its brackets.
    pub from: String,
    /// What stood behind it.
    pub parameters: String,
    /// The recipients that were taken.
    pub rcpts: Vec<String>,
    /// The message, dots unstuffed, every other byte as it came.
    pub data: Vec<u8>,
    /// Whether it was taken: answered 2xx, or swallowed without a word.
    pub taken: bool,
}

/// What STARTTLS leads to.
#[derive(Clone, Debug)]
pub enum Tls {
    /// It is not offered.
    None,
    /// TLS.
    Good(Arc<ServerConfig>),
    /// 220, and then something that is no TLS.
    Broken,
}

type Script = Arc<dyn Fn(usize, Step<'_>) -> Act + Send + Sync>;

struct Shared {
    stopped: AtomicBool,
    script: Mutex<Script>,
    tls: Mutex<Tls>,
    /// EHLO's lines besides STARTTLS.
    extensions: Mutex<Vec<String>>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// All that happened.
#[derive(Default)]
struct Seen {
    sessions: usize,
    open: Vec<(usize, TcpStream)>,
    peers: Vec<SocketAddr>,
    commands: Vec<String>,
    transactions: Vec<Transaction>,
}

impl FakeMx {
    /// Takes everything, on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on 127.0.0.1"))
    }

    /// One for each address, all on the same port.
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

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`Self::address`].
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on each step is answered by this; the number is the connection's, 1 for the first.
    pub fn script(&self, script: impl Fn(usize, Step<'_>) -> Act + Send + Sync + 'static) -> &Self {
        *lock(&self.shared.script) = Arc::new(script);
        self
    }

    /// From now on everything is taken.
    pub fn behave(&self) -> &Self {
        self.script(|_, _| Act::Usual)
    }

    /// What STARTTLS leads to from now on.
    pub fn tls(&self, tls: Tls) -> &Self {
        *lock(&self.shared.tls) = tls;
        self
    }

    /// What EHLO is answered from now on, besides STARTTLS.
    pub fn extensions(&self, lines: &[&str]) -> &Self {
        *lock(&self.shared.extensions) = lines.iter().map(|l| (*l).to_owned()).collect();
        self
    }

    /// Every message that came to its final dot, in that order.
    pub fn transactions(&self) -> Vec<Transaction> {
        lock(&self.shared.seen).transactions.clone()
    }

    /// Looks at them without copying.
    pub fn look<T>(&self, at: impl FnOnce(&[Transaction]) -> T) -> T {
        at(&lock(&self.shared.seen).transactions)
    }

    /// Every message that was taken.
    pub fn messages(&self) -> Vec<Transaction> {
        lock(&self.shared.seen).transactions.iter().filter(|t| t.taken).cloned().collect()
    }

    /// Waits for so many messages to be taken; all of them.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Transaction> {
        let got = |seen: &Seen| seen.transactions.iter().filter(|t| t.taken).count();
        self.wait(&format!("{count} messages at {}", self.address), |seen| got(seen) >= count);
        self.messages()
    }

    /// Waits for somebody to say a line that begins so.
    #[track_caller]
    pub fn wait_for_command(&self, start: &str) {
        self.wait(&format!("{start:?} at {}", self.address), |seen| seen.commands.iter().any(|c| c.starts_with(start)));
    }

    /// Waits until nobody is connected.
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

    /// Where they came from.
    pub fn peers(&self) -> Vec<SocketAddr> {
        lock(&self.shared.seen).peers.clone()
    }

    /// Every command line of every connection, as it came.
    pub fn commands(&self) -> Vec<String> {
        lock(&self.shared.seen).commands.clone()
    }

    /// Breaks off all connections.
    pub fn hang_up(&self) {
        for (_, stream) in &lock(&self.shared.seen).open {
            // It may be gone already, which is as good.
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
            // A connection that breaks off is what many tests are about.
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
