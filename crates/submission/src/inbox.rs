//! What a listener is for: who judges and takes the mail that comes in there.

use std::{future::Future, net::IpAddr, pin::Pin, sync::Arc};

use posthaste_access::users::User;
use posthaste_mail::{Address, ReversePath};
use posthaste_smtp::server::{Answer, Refused, Submission};

use crate::settings::Listener;

/// Somebody at a listener.
pub struct Guest<'a> {
    /// The listener, as it is in force.
    pub listener: &'a Listener,
    /// The client's address.
    pub ip: IpAddr,
    /// Who it is, where that was proved.
    pub user: Option<Arc<User>>,
}

/// A message that is being taken: what the client is told in the end.
pub type Taking<'a> = Pin<Box<dyn Future<Output = Result<Answer, Refused>> + Send + 'a>>;

/// Takes mail from listeners: submitted mail, or mail that comes back.
pub trait Inbox: Send + Sync {
    /// Why nothing is taken at present; None while it is.
    fn closed(&self) -> Option<Refused>;
    /// Whether this client may begin a message with this sender and, where it said so, of this size.
    fn may_send(&self, guest: &Guest<'_>, from: &ReversePath, size: Option<u64>) -> Result<(), Refused>;
    /// Whether mail to `rcpt` is taken here. `recipients`: how many the message has with this one.
    fn wants(&self, guest: &Guest<'_>, rcpt: &Address, recipients: u64) -> Result<(), Refused>;
    /// Takes a message. A good answer means that it is on disk.
    fn take<'a>(&'a self, submission: Submission, guest: &Guest<'_>) -> Taking<'a>;
}
