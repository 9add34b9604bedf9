//! Letters that tell of no incident: the report of a day.

use jiff::Timestamp;
use posthaste_mail::Domain;
use posthaste_smtp::client::TlsConfigs;
use tokio::time::timeout;

use super::{
    error::SendError,
    mail::{By, post},
};
use crate::{
    DailyReport,
    body::{Letter, plain},
};

/// Sends letters of plain text, by a session of its own with a server that is not this relay.
#[derive(Debug, Clone, Copy)]
pub struct Post<'p> {
    /// From whom, to whom and by which server.
    pub by: &'p DailyReport,
    /// The certificates that are trusted.
    pub tls: &'p TlsConfigs,
    /// The relay's name towards mail servers.
    pub hostname: &'p Domain,
}

impl Post<'_> {
    /// Sends a letter; `now` is for its Date. A letter that is sent again has the same `id`, by which its receiver may know it.
    ///
    /// # Errors
    /// The server did not take it, or nobody knows whether it did.
    pub async fn send(&self, subject: &str, text: String, id: &str, now: Timestamp) -> Result<(), SendError> {
        let (mail, limit) = (&self.by.mail, self.by.timeout);
        let letter = plain(subject, text, Letter { mail, hostname: self.hostname, now, id });
        let by = By { hostname: self.hostname, tls: self.tls, limit };
        timeout(limit, post(mail, by, letter)).await.unwrap_or(Err(SendError::Late(limit)))
    }
}
