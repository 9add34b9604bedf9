//! Sends a message to a channel: the thin part that does I/O.

mod command;
mod error;
mod http;
mod letter;
mod mail;

use hyper::header::HeaderValue;
use jiff::Timestamp;
use posthaste_mail::{Domain, Secret};
use posthaste_smtp::client::TlsConfigs;
use serde_json::Value;
use tokio::time::timeout;

use self::mail::By;
use crate::{Channel, Message, SecretUrl, Way, body};

pub use error::SendError;
pub(crate) use http::call;
pub use letter::Post;

/// Sends messages to one channel.
#[derive(Debug, Clone)]
pub struct Sender {
    /// The channel.
    pub channel: Channel,
    /// The certificates that it trusts.
    pub tls: TlsConfigs,
    /// The relay's name towards mail servers.
    pub hostname: Domain,
}

impl Sender {
    /// Sends the message; `now` is for its Date.
    ///
    /// # Errors
    /// The channel did not take it, or nobody knows whether it did.
    pub async fn send(&self, message: &Message, now: Timestamp) -> Result<(), SendError> {
        let limit = self.channel.timeout;
        timeout(limit, self.send_at_leisure(message, now)).await.unwrap_or(Err(SendError::Late(limit)))
    }

    async fn send_at_leisure(&self, message: &Message, now: Timestamp) -> Result<(), SendError> {
        match &self.channel.way {
            Way::Webhook { url, authorization } => self.post(url, authorization.as_ref().and_then(as_it_is), body::json(message)).await,
            Way::Slack(url) => self.post(url, None, body::slack(message)).await,
            Way::Teams(url) => self.post(url, None, body::teams(message)).await,
            Way::Discord(url) => self.post(url, None, body::discord(message)).await,
            Way::Ntfy(topic) => {
                let token = topic.token.as_ref().and_then(|token| as_it_is(&Secret::new(format!("Bearer {}", token.reveal()))));
                self.post(&topic.server, token, body::ntfy(message, topic)).await
            }
            Way::PagerDuty(integration) => {
                for event in body::pagerduty(message, integration) {
                    self.post(&integration.url, None, event).await?;
                }
                Ok(())
            }
            Way::Command(command) => command::run(command, &body::json(message)).await,
            Way::Mail(mail) => {
                mail::send(mail, By { hostname: &self.hostname, tls: &self.tls, limit: self.channel.timeout }, message, now).await
            }
        }
    }
}

impl Sender {
    async fn post(&self, url: &SecretUrl, authorization: Option<HeaderValue>, body: Value) -> Result<(), SendError> {
        http::post(&self.tls, url, authorization, body.to_string()).await
    }
}

/// The configuration takes no secret that is no value of a header field.
fn as_it_is(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(secret.reveal()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
