//! The interface of what receives a listener's mail: it judges senders and recipients, and takes the messages.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use posthaste_access::users::User;
use posthaste_mail::{Address, ReversePath};
use posthaste_smtp::server::{Answer, Refused, Submission};

use crate::settings::Listener;

/// A client connected to a listener.
pub struct ConnectedClient<'a> {
    /// The listener, with the settings in force.
    pub listener: &'a Listener,
    /// The client's address.
    pub ip: IpAddr,
    /// The authenticated user; None: the client has not authenticated.
    pub user: Option<Arc<User>>,
}

/// A message being taken; resolves to the answer for the client.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = Result<Answer, Refused>> + Send + 'a>>;

/// Receives the mail of listeners: submitted mail, or returned mail.
pub trait Inbox: Send + Sync {
    /// Why no mail is accepted at present; None: mail is accepted.
    fn closed(&self) -> Option<Refused>;
    /// Whether this client may begin a message from this sender, of this size in bytes if it declared one.
    fn may_send(&self, client: &ConnectedClient<'_>, from: &ReversePath, size: Option<u64>) -> Result<(), Refused>;
    /// Whether mail to `rcpt` is accepted here. `recipients`: the message's number of recipients, this one included.
    fn wants(&self, client: &ConnectedClient<'_>, rcpt: &Address, recipients: u64) -> Result<(), Refused>;
    /// Takes a message. `Ok` means that it is on disk.
    fn take<'a>(&'a self, submission: Submission, client: &ConnectedClient<'_>) -> Accepting<'a>;
}
