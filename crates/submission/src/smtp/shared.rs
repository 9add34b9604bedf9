//! State shared by all sessions.

use std::{net::IpAddr, sync::Arc};

use posthaste_access::{
    Guess, Lockout,
    users::{Passwords, User},
};
use posthaste_host::{InForce, clock, descriptors::Gate};
use posthaste_journal::Journal;
use posthaste_mail::{Name, What};
use posthaste_smtp::server::{Session, SessionRefusal};
use tokio::sync::watch;

use super::{connection_counts::ConnectionCounts, pressure::Pressure};
use crate::{
    inbox::Inbox,
    settings::{Listener, Role, Settings},
};

/// State shared by all sessions.
pub(super) struct Shared {
    pub(super) settings: InForce<Settings>,
    pub(super) journal: Journal,
    pub(super) lockout: Arc<Lockout>,
    pub(super) inboxes: Inboxes,
    pub(super) connections: Arc<ConnectionCounts>,
    pub(super) pressure: Arc<Pressure>,
    pub(super) gate: Arc<Gate>,
    pub(super) passwords: Arc<Passwords>,
    pub(super) stopping: watch::Receiver<bool>,
}

/// The inboxes that receive the listeners' mail, by role.
pub struct Inboxes {
    /// Receives submitted mail.
    pub submitted: Arc<dyn Inbox>,
    /// Receives returned mail: bounces and reports.
    pub returned: Arc<dyn Inbox>,
}

/// A login that the client was told the SCRAM salt for, until it proves that it knows the password. Asking costs what guessing does.
pub(super) struct Asked {
    pub(super) name: String,
    /// The user whose salt it was; None: a decoy's.
    pub(super) user: Option<Arc<User>>,
    pub(super) guess: Guess,
}

/// The reason of refusals that are not logged, because the same refusal has been logged often enough.
pub(super) const UNLOGGED: &str = "";

/// What the log has in place of a name that no user has. Users' names have no blanks.
const NO_USER: &str = "no such user";

impl Shared {
    /// The inbox of listeners with this role.
    pub(super) fn inbox(&self, role: Role) -> &dyn Inbox {
        match role {
            Role::Submission => &*self.inboxes.submitted,
            Role::Returns => &*self.inboxes.returned,
        }
    }

    /// Logs a refusal. Users and clients that a listener allows get a line each; strangers share so many lines a minute.
    ///
    /// A name that is no user's is not written down: people type their password where the name belongs, and programs send both in one.
    pub(super) fn rejected(&self, listener: &Name, client_ip: IpAddr, session: &Session, refusal: &SessionRefusal) {
        let settings = self.settings.get();
        let name = |name: &String| if name.is_empty() || settings.users.get(name).is_some() { name.clone() } else { NO_USER.to_owned() };
        let what = What::Rejected {
            client_ip,
            client_ehlo: session.hello().map(|h| h.name.to_string()),
            command: refusal.command.into(),
            from: refusal.from.clone(),
            rcpt: refusal.rcpt.clone(),
            user: refusal.user.as_ref().map(name).or_else(|| session.user().map(ToString::to_string)),
            reply: refusal.answer.to_reply(),
            reason: refusal.reason.into(),
        };
        let allowed = |listener: &Listener| listener.role == Role::Submission && listener.allows(client_ip);
        let known = session.user().is_some() || settings.listeners.get(listener).is_some_and(allowed);
        match known {
            true => self.journal.append(clock::now(), what),
            false => self.journal.refuse_stranger(clock::now(), client_ip, refusal.reason, what),
        }
    }
}

/// Returns when the relay stops.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: the relay stops then too.
    drop(stopping.wait_for(|stop| *stop).await.map(drop));
}
