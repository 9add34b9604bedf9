//! Clients that submit mail as fast as it is accepted, reconnect as needed, and record what was acknowledged.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Client, FakeMx, Mail, wait};

/// The reverse-path of all messages.
pub const FROM: &str = "writer@sender.test";

/// The load; every message has its own number.
pub struct Load {
    port: u16,
    wanted: usize,
    serial: AtomicUsize,
    acknowledged: Mutex<HashSet<usize>>,
    done: AtomicBool,
}

impl Load {
    /// A load for the relay on this port, until this many messages were answered 250.
    pub fn new(port: u16, wanted: usize) -> Self {
        Self { port, wanted, serial: AtomicUsize::new(0), acknowledged: Mutex::default(), done: AtomicBool::new(false) }
    }

    /// Runs this many clients; meanwhile `disturb` is called for each part from 0, at a random place within it. Panics if a
    /// client gets anything but 250, 421 or the end of its connection.
    pub fn run(&self, clients: usize, parts: usize, mut disturb: impl FnMut(usize)) {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..clients).map(|_| scope.spawn(|| self.feed())).collect();
            // Without it a failure would wait for clients that never end.
            let _ended = EndedByPanic(&self.done);
            for part in 0..parts {
                let at = rand::random_range(part * self.wanted / (parts + 1)..(part + 1) * self.wanted / (parts + 1));
                wait::until("more messages to be acknowledged", || (self.acknowledged().len() > at).then_some(()));
                disturb(part);
            }
            clients.into_iter().for_each(|client| client.join().expect("a client hears nothing odd"));
        });
    }

    /// The numbers of the messages that were answered 250.
    pub fn acknowledged(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self) {
        while !self.done.load(Ordering::SeqCst) {
            // Refused and broken connections are expected here.
            let _ = Client::hello(self.port).and_then(|mut client| self.talk(&mut client));
            thread::yield_now();
        }
    }

    fn talk(&self, client: &mut Client) -> io::Result<()> {
        while !self.done.load(Ordering::SeqCst) {
            let serial = self.serial.fetch_add(1, Ordering::SeqCst);
            let answer = client.submit(&message(serial))?;
            if answer.code == 421 {
                return Ok(());
            }
            assert_eq!(answer.code, 250, "{answer:?}");
            let mut acknowledged = self.acknowledged();
            acknowledged.insert(serial);
            if acknowledged.len() >= self.wanted {
                self.done.store(true, Ordering::SeqCst);
            }
        }
        Ok(())
    }
}

/// The recipient of a message.
pub fn rcpt(serial: usize) -> String {
    format!("r{serial}@example.test")
}

/// The number of a recipient's message; None for other addresses.
pub fn serial(rcpt: &str) -> Option<usize> {
    rcpt.strip_prefix('r')?.strip_suffix("@example.test")?.parse().ok()
}

/// How often each message was accepted.
pub fn arrived(mx: &FakeMx) -> HashMap<usize, usize> {
    mx.look(|all| {
        let mut counts = HashMap::new();
        for serial in all.iter().filter(|t| t.taken).flat_map(|t| &t.rcpts).filter_map(|rcpt| serial(rcpt)) {
            *counts.entry(serial).or_default() += 1;
        }
        counts
    })
}

fn message(serial: usize) -> Mail {
    let pad = "0123456789\r\n".repeat(serial % 400);
    let text = format!("Message-ID: <{serial}@sender.test>\r\nFrom: <{FROM}>\r\nSubject: load\r\n\r\n{pad}end\r\n");
    Mail::raw(FROM, &[&rcpt(serial)], text.as_bytes())
}

/// Ends the load if the test that disturbs it fails.
struct EndedByPanic<'a>(&'a AtomicBool);

impl Drop for EndedByPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}
