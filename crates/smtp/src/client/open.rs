//! Opens a session: 220, EHLO, STARTTLS by policy, EHLO again, AUTH.

use std::{io, sync::Arc, time::Instant};

use mail_send::{Credentials as Sasl, SmtpClient};
use posthaste_mail::{Failure, LocalCause, Reply, Stage, TlsFacts};
use smtp_proto::{AUTH_LOGIN, AUTH_PLAIN};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls_error;

use super::{
    Connection, Credentials, Extensions, Hello, PasswordNeeds, Timings, TlsPolicy, channel::Channel, connection::millis, stream::Stream,
    watch::Watch,
};

/// Why a session could not be opened.
#[derive(Debug)]
pub struct OpenFailure {
    /// What went wrong, and at which stage.
    pub failure: Failure,
    /// Set if only TLS failed and the policy allows plain text: connect again with this value in [`Hello::tls_fallback`].
    pub tls: Option<Arc<str>>,
}

impl From<Failure> for OpenFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, tls: None }
    }
}

/// Opens a session over a connected socket.
pub async fn open(stream: TcpStream, hello: &Hello) -> Result<Connection, OpenFailure> {
    open_watched(stream, hello, None).await
}

/// Like [`open`]; `watch` sees what the session waits for, from now to its end.
pub async fn open_watched(stream: TcpStream, hello: &Hello, watch: Option<Arc<Watch>>) -> Result<Connection, OpenFailure> {
    // Every write is a whole group of commands or a block, so Nagle's algorithm would only add delay. A socket that refuses the option
    // still works.
    let _ = stream.set_nodelay(true);
    let mut channel = Channel::new(Stream::Plain(stream)).watched(watch);
    let mut timings = Timings::default();
    let began = (hello.clock)();
    let greeting = channel.reply(Stage::Banner, hello.timeouts.banner).await?;
    positive(greeting, Stage::Banner)?;
    timings.banner_ms = millis(began, (hello.clock)());

    let mut extensions = say_hello(&mut channel, hello, &mut timings).await?;
    let mut tls = TlsFacts { tls_policy: Some(hello.tls.as_str()), ..TlsFacts::default() };
    match wants_tls(hello, &extensions)? {
        Start::Plain => tls.tls_fallback.clone_from(&hello.tls_fallback),
        Start::Tls => {
            let began = (hello.clock)();
            match start_tls(channel, hello).await? {
                Upgrade::Done(secured, facts) => {
                    (channel, tls) = (*secured, facts);
                    timings.tls_ms = Some(millis(began, (hello.clock)()));
                    // RFC 3207 §4.2: the extensions announced before TLS no longer count.
                    extensions = say_hello(&mut channel, hello, &mut timings).await?;
                }
                Upgrade::Declined(plain, why) => {
                    channel = *plain;
                    tls.tls_fallback = Some(why);
                }
            }
        }
    }
    if let Some(credentials) = &hello.auth {
        may_hear(credentials, hello, &tls)?;
        log_in(&mut channel, hello, &extensions, credentials).await?;
    }
    Ok(Connection::new(channel, hello, extensions, tls, timings))
}

async fn say_hello(channel: &mut Channel, hello: &Hello, timings: &mut Timings) -> Result<Extensions, Failure> {
    let began: Instant = (hello.clock)();
    let limit = hello.timeouts.ehlo;
    let answer = channel.ask(format!("EHLO {}\r\n", hello.ehlo).as_bytes(), Stage::Ehlo, limit).await?;
    let extensions = if answer.is_permanent() && channel.is_open() {
        // RFC 5321 §3.2: an old server may know only HELO. A server that answered EHLO and does not go on has said why in that answer.
        match channel.ask(format!("HELO {}\r\n", hello.ehlo).as_bytes(), Stage::Ehlo, limit).await {
            Ok(again) if again.code != 421 => drop(positive(again, Stage::Ehlo)?),
            _ => return Err(Failure::Refused { stage: Stage::Ehlo, reply: answer }),
        }
        Extensions::default()
    } else {
        Extensions::read(&positive(answer, Stage::Ehlo)?).await
    };
    timings.ehlo_ms += millis(began, (hello.clock)());
    Ok(extensions)
}

enum Start {
    Plain,
    Tls,
}

fn wants_tls(hello: &Hello, extensions: &Extensions) -> Result<Start, Failure> {
    match hello.tls {
        TlsPolicy::None => Ok(Start::Plain),
        TlsPolicy::Opportunistic if hello.tls_fallback.is_some() || !extensions.starttls => Ok(Start::Plain),
        TlsPolicy::Require | TlsPolicy::Verify if !extensions.starttls => {
            Err(local(Stage::Starttls, LocalCause::TlsRequired, "the receiver does not offer STARTTLS"))
        }
        _ => Ok(Start::Tls),
    }
}

enum Upgrade {
    Done(Box<Channel>, TlsFacts),
    /// STARTTLS was refused and the policy allows plain text; the session continues.
    Declined(Box<Channel>, Arc<str>),
}

async fn start_tls(mut channel: Channel, hello: &Hello) -> Result<Upgrade, OpenFailure> {
    let limit = hello.timeouts.starttls;
    let answer = channel.ask(b"STARTTLS\r\n", Stage::Starttls, limit).await?;
    if answer.code == 421 {
        return Err(Failure::Refused { stage: Stage::Starttls, reply: answer }.into());
    }
    if !answer.is_positive() {
        let why = format!("STARTTLS was answered {answer}");
        return if hello.tls.demands_tls() {
            Err(local(Stage::Starttls, LocalCause::TlsRequired, why).into())
        } else {
            Ok(Upgrade::Declined(Box::new(channel), why.into()))
        };
    }
    if channel.has_leftovers() {
        // Bytes after the 220 arrived in plain text and would be taken as part of the TLS session (CVE-2011-0411). No fallback to plain
        // text: that is what an attacker on the path wants.
        return Err(local(Stage::Starttls, LocalCause::TlsFailed, "plain text followed the reply to STARTTLS").into());
    }
    handshake(channel, hello).await
}

async fn handshake(channel: Channel, hello: &Hello) -> Result<Upgrade, OpenFailure> {
    let watch = channel.watch();
    let Stream::Plain(stream) = channel.stream else { unreachable!("STARTTLS is said once a session") };
    let config = if hello.tls == TlsPolicy::Verify { &hello.tls_config.strict } else { &hello.tls_config.lax };
    let host = tls_name(&hello.mx_host);
    let client = SmtpClient { stream, timeout: hello.timeouts.starttls };
    match client.into_tls(&TlsConnector::from(Arc::clone(config)), host).await {
        Ok(client) => {
            let facts = hello.tls_config.facts(hello.tls, host, client.tls_connection());
            Ok(Upgrade::Done(Box::new(Channel::silent(Stream::Tls(Box::new(client.stream))).watched(watch)), facts))
        }
        Err(e) => {
            let why = format!("the TLS handshake failed: {}", explain(&e, host));
            let tls = (!hello.tls.demands_tls()).then(|| Arc::from(why.as_str()));
            Err(OpenFailure { failure: local(Stage::Starttls, LocalCause::TlsFailed, why), tls })
        }
    }
}

fn explain(error: &mail_send::Error, host: &str) -> String {
    match error {
        mail_send::Error::Tls(e) => tls_error::of_receiver(e, host),
        mail_send::Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof && tls_error::inside(e).is_none() => HUNG_UP.into(),
        mail_send::Error::Io(e) => tls_error::inside(e).map_or_else(|| e.to_string(), |inner| tls_error::of_receiver(inner, host)),
        mail_send::Error::Timeout => "no reply in time".into(),
        other => other.to_string(),
    }
}

/// What it usually means that a host closes the connection in place of its part of a handshake.
const HUNG_UP: &str =
    "the receiver hung up in the middle of it; most such hosts know neither TLS 1.2 nor 1.3, or none of the ciphers that are safe";

/// A host name in the form used in certificates: without a trailing dot and without the brackets of an address literal.
fn tls_name(host: &str) -> &str {
    let host = host.strip_suffix('.').unwrap_or(host);
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    inner.strip_prefix("IPv6:").unwrap_or(inner)
}

/// Whether the receiver may hear the password over this connection.
fn may_hear(credentials: &Credentials, hello: &Hello, tls: &TlsFacts) -> Result<(), Failure> {
    let (encrypted, verified) = (tls.tls_version.is_some(), tls.tls_verified == Some(true));
    let enough = match credentials.needs {
        PasswordNeeds::Certificate => verified,
        PasswordNeeds::Encryption => encrypted,
        PasswordNeeds::Nothing => true,
    };
    if enough || hello.loopback {
        return Ok(());
    }
    let (cause, what) = match encrypted {
        true => (LocalCause::TlsFailed, format!("the certificate is not valid for {}", hello.mx_host)),
        false => (LocalCause::TlsRequired, "the connection is not encrypted".to_owned()),
    };
    let detail =
        format!("the password was not sent, because {what}; the route's password_needs = {:?} asks for it", credentials.needs.as_str());
    Err(local(Stage::Auth, cause, detail))
}

/// RFC 4954, with PLAIN (RFC 4616) or LOGIN.
async fn log_in(channel: &mut Channel, hello: &Hello, extensions: &Extensions, credentials: &Credentials) -> Result<(), Failure> {
    let sasl = Sasl::new(credentials.user.as_str(), credentials.password.as_str());
    let encode = |mechanism, challenge: &str| {
        sasl.encode(mechanism, challenge).map_err(|e| local(Stage::Auth, LocalCause::NotSmtp, format!("the login cannot continue: {e}")))
    };
    let limit = hello.timeouts.ehlo;
    let mut answer = if extensions.auth & AUTH_PLAIN != 0 {
        channel.ask(format!("AUTH PLAIN {}\r\n", encode(AUTH_PLAIN, "")?).as_bytes(), Stage::Auth, limit).await?
    } else if extensions.auth & AUTH_LOGIN != 0 {
        channel.ask(b"AUTH LOGIN\r\n", Stage::Auth, limit).await?
    } else {
        return Err(local(Stage::Auth, LocalCause::LocalError, "the smart host offers neither AUTH PLAIN nor AUTH LOGIN"));
    };
    // LOGIN prompts for the user name, then for the password.
    for _ in 0..2 {
        if answer.code == 334 && extensions.auth & AUTH_PLAIN == 0 {
            answer = channel.ask(format!("{}\r\n", encode(AUTH_LOGIN, &answer.text)?).as_bytes(), Stage::Auth, limit).await?;
        }
    }
    positive(answer, Stage::Auth).map(drop)
}

fn positive(reply: Reply, stage: Stage) -> Result<Reply, Failure> {
    match reply.code {
        200..300 => Ok(reply),
        400.. => Err(Failure::Refused { stage, reply }),
        _ => Err(local(stage, LocalCause::NotSmtp, format!("an unexpected reply: {reply}"))),
    }
}

fn local(stage: Stage, cause: LocalCause, detail: impl Into<String>) -> Failure {
    Failure::Local { stage, cause, detail: detail.into() }
}
