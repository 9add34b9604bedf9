//! What all pages share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use posthaste_access::{
    oidc::Provider,
    users::{Role, User, Users},
};
use posthaste_host::clock;
use posthaste_relay::desk::Desk;

use crate::{
    oidc::under_way::UnderWay,
    sealed::Seal,
    sessions::{Lasting, Session, Sessions, Who, hash, secret},
    snapshot::Snapshots,
};

/// What all pages share.
pub(crate) struct Site {
    /// Where the relay is asked.
    pub(crate) desk: Arc<Desk>,
    /// What the overview shows.
    pub(crate) snapshots: Snapshots,
    /// Logins by the OpenID provider.
    pub(crate) under_way: UnderWay,
    /// For what pages carry and nobody may read.
    pub(crate) seal: Seal,
    sessions: Mutex<Sessions>,
    /// The hash of the token in the link for relays without users; None: it was used.
    link: Mutex<Option<[u8; 32]>>,
}

impl Site {
    /// Pages about this relay. Without users that may open them, the link that does is logged.
    pub(crate) fn new(desk: Arc<Desk>) -> Arc<Self> {
        let site = Arc::new(Self {
            desk,
            snapshots: Snapshots::default(),
            under_way: UnderWay::default(),
            seal: Seal::new(),
            sessions: Mutex::default(),
            link: Mutex::default(),
        });
        if !site.has_users() {
            site.print_link();
        }
        site
    }

    /// Whether somebody may open the page: users of the configuration, or those whom the provider knows.
    pub(crate) fn has_users(&self) -> bool {
        self.has_passwords() || self.provider().is_some()
    }

    /// Whether there are users who may log in by a password.
    pub(crate) fn has_passwords(&self) -> bool {
        self.takes_passwords() && self.users().iter().any(|user| opens(user))
    }

    /// Whether users log in by their passwords.
    pub(crate) fn takes_passwords(&self) -> bool {
        self.desk.settings.load().config.page.password_login
    }

    /// The OpenID provider that people may log in by.
    pub(crate) fn provider(&self) -> Option<Arc<Provider>> {
        self.desk.settings.load().oidc.clone()
    }

    /// The users that there are.
    pub(crate) fn users(&self) -> Arc<Users> {
        self.desk.settings.load().api.users.clone()
    }

    fn lasting(&self) -> Lasting {
        let page = &self.desk.settings.load().config.page;
        Lasting { idle: page.session_idle, most: page.session_max }
    }

    /// Begins a session. Returns the cookie's value.
    pub(crate) fn begin(&self, who: Who) -> String {
        self.sessions().begin(who, clock::instant(), self.lasting())
    }

    /// The session of this cookie with the name and the role that it has now. `asks`: a person asks, not the page itself.
    pub(crate) fn session(&self, cookie: &str, asks: bool) -> Option<(Session, Arc<str>, Role)> {
        let session = self.sessions().find(cookie, asks, clock::instant(), self.lasting())?;
        let name = session.who.name();
        let role = match &session.who {
            Who::Link => (!self.has_users()).then_some(Role::Operator)?,
            Who::Known(identity, by) => self.provider().filter(|provider| provider.settings().vouches_as(by)).map(|_| identity.role)?,
            Who::User(_) if !self.takes_passwords() => return None,
            Who::User(login) => self.users().still(login).and_then(|user| user.role)?,
        };
        Some((session, name, role))
    }

    /// Ends the session of this cookie.
    pub(crate) fn end(&self, cookie: &str) {
        self.sessions().end(cookie);
    }

    /// Uses the link's token up. Whether it was the right one.
    pub(crate) fn use_link(&self, token: &str) -> bool {
        if self.has_users() {
            return false;
        }
        let fits = self.link().take_if(|kept| *kept == hash(token)).is_some();
        if fits {
            self.print_link();
        }
        fits
    }

    /// Sees to it that there is a link: the users may have gone since the start.
    pub(crate) fn keep_link(&self) {
        if !self.has_users() && self.link().is_none() {
            self.print_link();
        }
    }

    /// Makes a new link, and tells those who read the relay's diagnostics of it.
    fn print_link(&self) {
        let Some(door) = self.desk.pages.first() else { return };
        let token = secret();
        *self.link() = Some(hash(&token));
        let link = format!(
            "the page: {door}/once?token={token} logs in once, because no user has a role; make one with `posthaste user add NAME --role operator`"
        );
        // Without it nobody gets in, however little is told otherwise.
        match (tracing::enabled!(tracing::Level::INFO), tracing::enabled!(tracing::Level::WARN)) {
            (true, _) => tracing::info!("{link}"),
            (false, true) => tracing::warn!("{link}"),
            (false, false) => tracing::error!("{link}"),
        }
    }

    fn link(&self) -> MutexGuard<'_, Option<[u8; 32]>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this user may open the page.
fn opens(user: &User) -> bool {
    user.role.is_some() && user.password.is_some()
}
