//! Clients that submit mail while everything around them fails, and remember what was acknowledged.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use support::{Client, Mail, http::Api, wait};

use crate::receiver::{Kind, address, kind};

/// The reverse-path of all messages; its mailbox gets the notices.
pub(crate) const FROM: &str = "writer@sender.test";
/// How long a client that was turned away waits.
const PAUSE: Duration = Duration::from_millis(10);

/// The load. Each recipient has a number of its own.
pub(crate) struct Load {
    smtp: u16,
    api: Api,
    serial: AtomicUsize,
    /// How many messages may still be begun.
    budget: Mutex<usize>,
    changed: Condvar,
    over: AtomicBool,
    acknowledged: Mutex<HashSet<usize>>,
}

impl Load {
    pub(crate) fn new(smtp: u16, http: u16, token: &str) -> Self {
        Self {
            smtp,
            api: Api::new(http, token),
            serial: AtomicUsize::new(0),
            budget: Mutex::new(0),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
            acknowledged: Mutex::default(),
        }
    }

    /// Lets this many more messages go.
    pub(crate) fn grant(&self, messages: usize) {
        *lock(&self.budget) += messages;
        self.changed.notify_all();
    }

    /// How many may still be begun.
    pub(crate) fn left(&self) -> usize {
        *lock(&self.budget)
    }

    /// No more.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// The recipients whose message was answered 250 or 202.
    pub(crate) fn acknowledged(&self) -> HashSet<usize> {
        lock(&self.acknowledged).clone()
    }

    /// A client by SMTP, until the end.
    pub(crate) fn by_smtp(&self) {
        while !self.over.load(Ordering::SeqCst) {
            // Refused and broken connections are expected here.
            if Client::hello(self.smtp).and_then(|mut client| self.talk(&mut client)).is_err() {
                pause();
            }
        }
    }

    fn talk(&self, client: &mut Client) -> io::Result<()> {
        while let Some(serials) = self.next() {
            let to: Vec<String> = serials.iter().map(|s| address(*s)).collect();
            let to: Vec<&str> = to.iter().map(String::as_str).collect();
            let answer = client.submit(&Mail::raw(FROM, &to, text(&serials).as_bytes()))?;
            match answer.code {
                250 => lock(&self.acknowledged).extend(serials),
                400..500 => return Err(io::Error::other("turned away")),
                _ => panic!("a client heard {answer:?}"),
            }
        }
        Ok(())
    }

    /// A client by HTTP, until the end: it says everything again with the same key until it has an answer.
    pub(crate) fn by_http(&self) {
        while let Some(serials) = self.next() {
            let to: Vec<String> = serials.iter().map(|s| address(*s)).collect();
            let stream = if is_warm(&serials) { "warm" } else { "default" };
            let draft = json!({"from": FROM, "to": to, "subject": "load", "text": "Hello.\n", "stream": stream}).to_string();
            let key = format!("key-{}", serials[0]);
            let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key.as_str())];
            while !self.over.load(Ordering::SeqCst) {
                match self.api.try_call("POST", "/v1/messages", &headers, draft.as_bytes()).map(|reply| (reply.status, reply)) {
                    Ok((202, _)) => {
                        lock(&self.acknowledged).extend(serials);
                        break;
                    }
                    Ok((409 | 429 | 500..600, _)) | Err(_) => pause(),
                    Ok((_, reply)) => panic!("a client heard {} {}", reply.status, reply.text()),
                }
            }
        }
    }

    /// The recipients of the next message; None at the end.
    fn next(&self) -> Option<Vec<usize>> {
        let mut budget = lock(&self.budget);
        while *budget == 0 && !self.over.load(Ordering::SeqCst) {
            budget = self.changed.wait(budget).unwrap_or_else(PoisonError::into_inner);
        }
        if self.over.load(Ordering::SeqCst) {
            return None;
        }
        *budget -= 1;
        // Recipients of the stream that warms up travel alone.
        let first = self.serial.fetch_add(4, Ordering::SeqCst);
        let (warm, others): (Vec<usize>, Vec<usize>) = (first..first + 4).partition(|s| kind(*s) == Kind::Warm);
        let many = [1, 1, 3, 1, 4][first / 4 % 5];
        Some(if warm.is_empty() { others.into_iter().take(many).collect() } else { warm })
    }
}

fn is_warm(serials: &[usize]) -> bool {
    serials.iter().any(|s| kind(*s) == Kind::Warm)
}

fn text(serials: &[usize]) -> String {
    // Some are large, so that segments fill up and are compacted.
    let lines = if serials[0].is_multiple_of(64) { 10_000 } else { serials[0] % 400 };
    let stream = if is_warm(serials) { "X-Posthaste-Stream: warm\r\n" } else { "" };
    format!(
        "Message-ID: <{}@sender.test>\r\nFrom: <{FROM}>\r\n{stream}Subject: load\r\n\r\n{}end\r\n",
        serials[0],
        "0123456789\r\n".repeat(lines)
    )
}

fn pause() {
    let _: Option<()> = wait::within(PAUSE, || None);
}

/// Bounces of mail that was delivered, by the reverse-paths that the receiver saw.
#[derive(Default)]
pub(crate) struct Returns {
    /// By recipient: where to, and whether it was answered 250.
    sent: HashMap<usize, bool>,
}

impl Returns {
    /// Sends back what is due: one in twenty of what arrived. What was not taken is sent again the next time.
    pub(crate) fn send(&mut self, port: u16, arrived: &[(usize, String)]) {
        for (serial, path) in arrived.iter().filter(|(serial, _)| serial % 20 == 17) {
            let taken = self.sent.entry(*serial).or_default();
            if !*taken {
                let report = Mail::raw("", &[path], report(&address(*serial)).as_bytes());
                *taken = Client::hello(port).and_then(|mut client| client.submit(&report)).is_ok_and(|answer| answer.code == 250);
            }
        }
    }

    /// The recipients whose bounce was taken.
    pub(crate) fn taken(&self) -> impl Iterator<Item = usize> + '_ {
        self.sent.iter().filter(|(_, taken)| **taken).map(|(serial, _)| *serial)
    }
}

/// A report in the format of RFC 3464.
fn report(rcpt: &str) -> String {
    format!(
        "From: Mail Delivery System <MAILER-DAEMON@mx.good.test>\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.good.test\r\n\r\n\
         Final-Recipient: rfc822; {rcpt}\r\nAction: failed\r\nStatus: 5.2.2\r\nDiagnostic-Code: smtp; 552 5.2.2 mailbox full\r\n\r\n--b--\r\n"
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
