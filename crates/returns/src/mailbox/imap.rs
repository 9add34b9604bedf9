//! A folder at an IMAP server (RFC 3501, RFC 9051), over TLS from the start (RFC 8314 §3.2). Mail that was read is marked as seen.

use std::{io, sync::Arc};

use async_imap::{Client, Session, error::Error};
use bytes::Bytes;
use futures_util::TryStreamExt;
use posthaste_mail::NextHop;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::common::{AT_ONCE, MAIL_MAX, MailboxError, ROUND_MAX, all_or, take};
use crate::handler::ReturnHandler;
use crate::settings::{Imap, Settings};

type Stream = TlsStream<TcpStream>;

pub(super) async fn read(handler: &Arc<ReturnHandler>, settings: &Settings, imap: &Imap) -> Result<(), MailboxError> {
    let stream = connect(settings, &imap.server).await.map_err(|e| MailboxError::Connect(imap.server.clone(), e))?;
    let mut client = Client::new(stream);
    client.read_response().await.map_err(Error::from)?.ok_or(Error::ConnectionLost)?;
    let login = client.login(&imap.auth.user, imap.auth.password.reveal()).await;
    let mut session = login.map_err(|(error, _)| error)?;
    session.select(&imap.folder).await?;
    let mut unseen: Vec<u32> = session.uid_search("UNSEEN").await?.into_iter().collect();
    unseen.sort_unstable();
    unseen.truncate(ROUND_MAX);
    let mut left = 0;
    for some in unseen.chunks(AT_ONCE) {
        left += read_some(handler, &mut session, some).await?;
    }
    session.logout().await?;
    all_or(left)
}

/// Reads these mails. Returns how many could not be handled.
async fn read_some(handler: &Arc<ReturnHandler>, session: &mut Session<Stream>, uids: &[u32]) -> Result<usize, MailboxError> {
    let wanted = format!("(UID BODY.PEEK[]<0.{MAIL_MAX}>)");
    let fetched: Vec<_> = session.uid_fetch(set(uids), wanted).await?.try_collect().await?;
    let mails = fetched.iter().filter_map(|mail| Some((mail.uid?, Bytes::copy_from_slice(mail.body()?))));
    let (uids, mails): (Vec<u32>, Vec<Bytes>) = mails.unzip();
    let taken = take(handler, mails).await;
    let seen: Vec<u32> = uids.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(uid, _)| *uid).collect();
    if !seen.is_empty() {
        let _: Vec<_> = session.uid_store(set(&seen), "+FLAGS.SILENT (\\Seen)").await?.try_collect().await?;
    }
    Ok(uids.len() - seen.len())
}

fn set(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

async fn connect(settings: &Settings, server: &NextHop) -> io::Result<Stream> {
    let (stream, name) = match server.host.literal() {
        Some(ip) => (TcpStream::connect((ip, server.port)).await?, ServerName::from(ip)),
        None => {
            let name = server.host.to_string();
            (TcpStream::connect((name.as_str(), server.port)).await?, ServerName::try_from(name).map_err(io::Error::other)?)
        }
    };
    TlsConnector::from(settings.tls.clone()).connect(name, stream).await
}
