//! Mail by a session of its own with the operator's server: no queue, no lane, no look-up of ours is on its way.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_host::clock;
use posthaste_mail::{BodyKind, Domain, EsmtpParameters, Failure, ReversePath};
use posthaste_smtp::client::{
    Credentials, Hello, Needs, PasswordNeeds, RecipientResult, Timeouts, TlsConfigs, TlsPolicy, Transaction, open,
};
use tokio::net::TcpStream;

use super::error::SendError;
use crate::{
    Mail, Message,
    body::{self, Letter},
};

/// By what a session is opened.
#[derive(Clone, Copy)]
pub(super) struct By<'s> {
    /// The relay's name.
    pub(super) hostname: &'s Domain,
    /// The certificates that are trusted.
    pub(super) tls: &'s TlsConfigs,
    /// How long the whole may take.
    pub(super) limit: Duration,
}

pub(super) async fn send(mail: &Mail, by: By<'_>, message: &Message, now: Timestamp) -> Result<(), SendError> {
    let id = format!("{}.{:016x}", now.as_second(), rand::random::<u64>());
    post(mail, by, body::mail(message, Letter { mail, hostname: by.hostname, now, id: &id })).await
}

/// Hands a mail, as it is, to its server.
pub(super) async fn post(mail: &Mail, by: By<'_>, letter: Vec<u8>) -> Result<(), SendError> {
    let fails = |why: String| SendError::Mail { server: mail.server.to_string(), why };
    let body = [Bytes::from(letter)];
    let server = &mail.server;
    let connected = match server.host.literal() {
        Some(ip) => TcpStream::connect((ip, server.port)).await,
        None => TcpStream::connect((server.host.as_str(), server.port)).await,
    };
    let stream = connected.map_err(|error| fails(format!("no connection: {error}")))?;
    let mut session = open(stream, &hello(mail, by)).await.map_err(|error| fails(failed(&error.failure)))?;
    let to: Vec<_> = mail.to.iter().collect();
    let utf8 = !mail.from.is_ascii() || !mail.to.iter().all(posthaste_mail::Address::is_ascii);
    let needs = Needs { utf8, ..Needs::default() };
    if let Some(lacks) = session.lacks(needs, to[0]) {
        session.quit().await;
        return Err(fails(failed(&lacks)));
    }
    let report = session
        .transact(Transaction {
            reverse_path: &ReversePath::Mailbox(mail.from.clone()),
            recipients: &to,
            body_kind: BodyKind::SevenBit,
            has_8bit: !body[0].is_ascii(),
            needs,
            parameters: &EsmtpParameters::default(),
            size: body[0].len() as u64,
            body: &body,
        })
        .await;
    session.quit().await;
    judge(&report.recipients).map_err(fails)
}

/// It was taken if one of the recipients gets it: to send it again would tell that one twice.
fn judge(results: &[RecipientResult]) -> Result<(), String> {
    let mut why = String::from("it names no recipient");
    for result in results {
        match result {
            RecipientResult::Delivered(_) => return Ok(()),
            RecipientResult::Failed(failure) | RecipientResult::Unknown(failure) | RecipientResult::NotOffered(failure) => {
                why = failed(failure)
            }
        }
    }
    Err(why)
}

fn failed(failure: &Failure) -> String {
    match failure {
        Failure::Refused { stage, reply } => format!("at {}: {}", stage.as_str(), posthaste_mail::Foreign::new(&reply.to_string())),
        Failure::Local { stage, detail, .. } => format!("at {}: {}", stage.as_str(), posthaste_mail::Foreign::new(detail)),
    }
}

pub(super) fn hello(mail: &Mail, by: By<'_>) -> Hello {
    let limit = by.limit;
    let loopback = mail.server.is_loopback();
    let credentials = |login: &posthaste_mail::Login| Credentials {
        user: login.user.clone(),
        password: login.password.reveal().into(),
        needs: PasswordNeeds::Certificate,
    };
    Hello {
        ehlo: by.hostname.to_string(),
        mx_host: mail.server.host.to_string(),
        // On this machine nobody listens, and few have a certificate for "localhost".
        tls: if loopback { TlsPolicy::Opportunistic } else { TlsPolicy::Verify },
        tls_fallback: None,
        tls_config: by.tls.clone(),
        // The whole has a limit, so no step needs one of its own.
        timeouts: Timeouts {
            connect: limit,
            banner: limit,
            ehlo: limit,
            starttls: limit,
            mail: limit,
            rcpt: limit,
            data: limit,
            block: limit,
            dot: limit,
            ..Timeouts::default()
        },
        clock: clock::instant,
        auth: mail.auth.as_ref().map(credentials),
        loopback,
    }
}
