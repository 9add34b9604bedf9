//! A receiver that follows each test's script.

use std::{future::Future, net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use posthaste_mail::{Address, BodyKind, EsmtpParameters, ReversePath};
use posthaste_smtp::client::{Connection, Hello, Needs, RecipientResult, Report, Timeouts, TlsConfigs, TlsPolicy, Transaction, open};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The time limit of a step that is expected to time out.
pub(crate) const SOON: Duration = Duration::from_millis(300);

pub(crate) enum Peer {
    Plain(BufStream<TcpStream>),
    Tls(Box<BufStream<TlsStream<TcpStream>>>),
}

macro_rules! on {
    ($peer:expr, $s:ident => $what:expr) => {
        match $peer {
            Peer::Plain($s) => $what,
            Peer::Tls($s) => $what,
        }
    };
}

impl Peer {
    pub(crate) async fn say(&mut self, text: &str) {
        on!(self, s => { s.write_all(text.as_bytes()).await.unwrap(); s.flush().await.unwrap() });
    }

    /// Says it unless the connection has ended.
    pub(crate) async fn may_say(&mut self, text: &str) -> bool {
        on!(self, s => s.write_all(text.as_bytes()).await.is_ok() && s.flush().await.is_ok())
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        on!(self, s => { s.write_all(bytes).await.unwrap(); s.flush().await.unwrap() });
    }

    /// One line without its CRLF, which is checked.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        on!(self, s => timeout(PATIENCE, s.read_line(&mut line)).await.expect("a line in time").unwrap());
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("a whole line, not {line:?}")).to_owned()
    }

    pub(crate) async fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line().await, *line);
        }
    }

    /// A message up to the final dot, without stuffed dots.
    pub(crate) async fn message(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            on!(self, s => timeout(PATIENCE, s.read_until(b'\n', &mut line)).await.expect("a line in time").unwrap());
            assert!(line.ends_with(b"\r\n"), "the message broke off: {line:?}");
            match line.as_slice() {
                b".\r\n" => return body,
                [b'.', rest @ ..] => body.extend_from_slice(rest),
                rest => body.extend_from_slice(rest),
            }
        }
    }

    /// Sends nothing until the client closes the connection; returns what the client sent meanwhile.
    pub(crate) async fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset closes the connection too.
        let _ = on!(self, s => timeout(PATIENCE, s.read_to_end(&mut rest)).await.expect("an end in time"));
        rest
    }

    /// Sends the 220 and the reply to EHLO.
    pub(crate) async fn greet(&mut self, extensions: &str) {
        self.say("220 fake\r\n").await;
        self.hello(extensions).await;
    }

    pub(crate) async fn hello(&mut self, extensions: &str) {
        self.expect(&["EHLO relay.test"]).await;
        let lines: String = extensions.split_whitespace().map(|word| format!("250-{}\r\n", word.replace('=', " "))).collect();
        self.say(&format!("250-fake\r\n{lines}250 HELP\r\n")).await;
    }

    pub(crate) async fn into_tls(self, acceptor: &TlsAcceptor) -> std::io::Result<Self> {
        let Self::Plain(stream) = self else { panic!("already under TLS") };
        Ok(Self::Tls(Box::new(BufStream::new(acceptor.accept(stream.into_inner()).await?))))
    }
}

/// Starts a receiver; joining the handle propagates its panics.
pub(crate) async fn receiver<F, T>(script: impl FnOnce(Peer) -> F + Send + 'static) -> (TcpStream, JoinHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, tokio::spawn(script(Peer::Plain(BufStream::with_capacity(64 * 1024, 4096, server)))))
}

pub(crate) fn hello() -> Hello {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(crate::tls::authority().der.clone()).unwrap();
    let whole = PATIENCE;
    Hello {
        ehlo: "relay.test".into(),
        mx_host: "mx.example.org".into(),
        tls: TlsPolicy::None,
        tls_fallback: None,
        tls_config: TlsConfigs::new(roots).unwrap(),
        timeouts: Timeouts {
            connect: whole,
            banner: whole,
            ehlo: whole,
            starttls: whole,
            mail: whole,
            rcpt: whole,
            data: whole,
            block: whole,
            dot: whole,
            rset: whole,
            quit: whole,
        },
        clock,
        auth: None,
        loopback: false,
    }
}

// The program's clock is in the relay; a test with real sockets needs its own.
#[allow(clippy::disallowed_methods)]
pub(crate) fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// A session with a receiver that greets, announces `extensions` and continues with `script`.
pub(crate) async fn session<F, T>(extensions: &'static str, script: impl FnOnce(Peer) -> F + Send + 'static) -> (Connection, JoinHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    session_with(&hello(), extensions, script).await
}

pub(crate) async fn session_with<F, T>(
    hello: &Hello,
    extensions: &'static str,
    script: impl FnOnce(Peer) -> F + Send + 'static,
) -> (Connection, JoinHandle<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (socket, fake) = receiver(move |mut peer| async move {
        peer.greet(extensions).await;
        script(peer).await
    })
    .await;
    (open(socket, hello).await.expect("a session"), fake)
}

/// Sends `body` from a@x.org to the given users at y.org.
pub(crate) async fn send(connection: &mut Connection, users: &[&str], body: &[u8]) -> Report {
    let parts = [Bytes::copy_from_slice(body)];
    let reverse_path = ReversePath::Mailbox(Address::new("a@x.org").unwrap());
    let recipients: Vec<_> = users.iter().map(|user| Address::new(&format!("{user}@y.org")).unwrap()).collect();
    let recipients: Vec<_> = recipients.iter().collect();
    let message = Transaction {
        reverse_path: &reverse_path,
        recipients: &recipients,
        body_kind: BodyKind::SevenBit,
        has_8bit: !body.is_ascii(),
        needs: Needs::default(),
        parameters: &EsmtpParameters { envid: Some("01K3ENVELOPE".into()), ..EsmtpParameters::default() },
        size: body.len() as u64,
        body: &parts,
    };
    timeout(3 * PATIENCE, connection.transact(message)).await.expect("an end in time")
}

/// The results, one line each: the variant, the stage, and the reply or the cause.
pub(crate) fn tell(report: &Report) -> Vec<String> {
    let failure = |f: &posthaste_mail::Failure| match f {
        posthaste_mail::Failure::Refused { stage, reply } => format!("{stage} {reply}"),
        posthaste_mail::Failure::Local { stage, cause, .. } => format!("{stage} {cause}"),
    };
    let one = |result: &RecipientResult| match result {
        RecipientResult::Delivered(reply) => format!("delivered {reply}"),
        RecipientResult::Failed(f) => format!("failed {}", failure(f)),
        RecipientResult::Unknown(f) => format!("unknown {}", failure(f)),
        RecipientResult::NotOffered(f) => format!("not_offered {}", failure(f)),
    };
    report.recipients.iter().map(one).collect()
}
