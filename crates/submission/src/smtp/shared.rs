//! What all sessions share.

use std::{net::IpAddr, sync::Arc};

use posthaste_access::{Lockout, users::Passwords};
use posthaste_host::{InForce, clock};
use posthaste_journal::Journal;
use posthaste_mail::What;
use posthaste_smtp::server::{Session, SessionRefusal};
use tokio::sync::watch;

use super::{places::Places, pressure::Pressure};
use crate::{
    inbox::Inbox,
    settings::{Role, Settings},
};

/// What all sessions share.
pub(super) struct Shared {
    pub(super) settings: InForce<Settings>,
    pub(super) journal: Journal,
    pub(super) lockout: Arc<Lockout>,
    pub(super) inboxes: Inboxes,
    pub(super) places: Arc<Places>,
    pub(super) pressure: Arc<Pressure>,
    pub(super) passwords: Passwords,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Who takes what comes in, by what a listener is for.
pub struct Inboxes {
    /// Mail that applications hand in.
    pub submitted: Arc<dyn Inbox>,
    /// Mail that comes back.
    pub returned: Arc<dyn Inbox>,
}

impl Shared {
    /// Who takes what comes in at a listener of this role.
    pub(super) fn inbox(&self, role: Role) -> &dyn Inbox {
        match role {
            Role::Submission => &*self.inboxes.submitted,
            Role::Returns => &*self.inboxes.returned,
        }
    }

    /// One line in the log for each refusal.
    pub(super) fn rejected(&self, client_ip: IpAddr, session: &Session, refusal: &SessionRefusal) {
        let what = What::Rejected {
            client_ip,
            client_ehlo: session.hello().map(|h| h.name.to_string()),
            command: refusal.command.into(),
            from: refusal.from.clone(),
            rcpt: refusal.rcpt.clone(),
            user: refusal.user.clone().or_else(|| session.user().map(ToString::to_string)),
            reply: refusal.answer.to_reply(),
            reason: refusal.reason.into(),
        };
        self.journal.append(clock::now(), what);
    }
}

/// Comes back when it is time to stop.
pub(super) async fn told(stopping: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, which is as good.
    drop(stopping.wait_for(|stop| *stop).await.map(drop));
}
