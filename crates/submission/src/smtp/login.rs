//! Checks a client's credentials against the users, and delays clients that fail.

use std::{sync::Arc, time::Duration};

use posthaste_access::{
    Price,
    introspection::TokenOwner,
    users::{LoginCheck, User},
};
use posthaste_host::clock;
use posthaste_journal::Part;
use posthaste_smtp::server::{Answer, Credentials, SessionRefusal};

use super::conversation::Conversation;
use crate::settings::Settings;

impl Conversation {
    /// Answers [`posthaste_smtp::server::Step::Authenticate`]. Returns with a delay if the credentials are wrong.
    pub(super) async fn authenticate(&mut self, credentials: Credentials) {
        let settings = self.of.settings.get();
        let name = credentials.user().to_owned();
        let user = match credentials {
            Credentials::Keys { user } => {
                let (keys, _) = self.of.passwords.scram(&settings.users, &user);
                self.asked = Some(user);
                return self.session.scram_keys(&keys, &rand::random(), &mut self.out);
            }
            Credentials::Password { user, password } => {
                match self.of.passwords.check(&settings.users, &user, password.reveal(), clock::instant()).await {
                    LoginCheck::Right(user) => Some(user),
                    LoginCheck::Wrong => None,
                    LoginCheck::Busy => return self.session.authenticated(Err(Answer::auth_trouble()), &mut self.out),
                }
            }
            Credentials::Proven { user } => settings.users.get(&user).filter(|user| user.scram.is_some()).cloned(),
            Credentials::Bearer { user, token } => match self.owner(&settings, token.reveal()).await {
                // A user name given with a token must be the token's owner.
                LoginCheck::Right(owner) => Some(owner).filter(|owner| user.is_empty() || *owner.name == *user),
                LoginCheck::Wrong => None,
                LoginCheck::Busy => return self.session.authenticated(Err(Answer::auth_trouble()), &mut self.out),
            },
        };
        drop(settings);
        self.asked = None;
        match user {
            Some(user) => {
                self.place.known();
                self.session.authenticated(Ok(user.name.clone()), &mut self.out);
            }
            None => {
                let answer = Answer::auth_failed();
                let refusal = SessionRefusal {
                    command: "auth",
                    from: None,
                    rcpt: None,
                    user: Some(name),
                    answer: answer.clone(),
                    reason: "auth_failed",
                };
                self.of.rejected(&self.listener, self.ip, &self.session, &refusal);
                self.login_failed().await;
                self.session.authenticated(Err(answer), &mut self.out);
            }
        }
    }

    /// The owner of a token: the user with this HTTP API token, or the user that the introspection endpoint names.
    async fn owner(&self, settings: &Settings, token: &str) -> LoginCheck {
        if let Some(owner) = settings.users.by_token(token) {
            return LoginCheck::Right(owner.clone());
        }
        let Some(introspection) = &settings.introspection else { return LoginCheck::Wrong };
        let (whose, news) = introspection.owner(token, || (clock::instant(), clock::now())).await;
        if let Some(news) = news {
            self.of.journal.say(Part::Introspection, news.state, news.detail);
        }
        match whose {
            TokenOwner::Named(name) => settings.users.get(&name).cloned().map_or(LoginCheck::Wrong, LoginCheck::Right),
            TokenOwner::Nobody => LoginCheck::Wrong,
            TokenOwner::Trouble => LoginCheck::Busy,
        }
    }

    /// The user that has logged in or is known by the client's certificate; None also if a reload has removed the user.
    pub(super) fn user(&self) -> Option<Arc<User>> {
        let name = self.session.user().or(self.certified.as_ref())?;
        self.of.settings.get().users.get(name).cloned()
    }

    /// Counts a login that ended without a proof after the salt was told: asking costs what guessing does, whether or not there is such a
    /// user. The line is written by the caller if there is a refusal, and here if the client just went away.
    pub(super) fn login_abandoned(&mut self) {
        let Some(name) = self.asked.take().filter(|_| !*self.of.stopping.borrow()) else { return };
        let answer = Answer::auth_failed();
        let refusal = SessionRefusal { command: "auth", from: None, rcpt: None, user: Some(name), answer, reason: "auth_abandoned" };
        self.of.rejected(&self.listener, self.ip, &self.session, &refusal);
        // The client is gone: nobody is left to wait.
        self.of.lockout.failed(self.ip);
    }

    /// Counts a failed login, and waits before the client is answered.
    pub(super) async fn login_failed(&mut self) {
        let Price { wait, shut_out } = self.of.lockout.failed(self.ip);
        self.is_over |= shut_out;
        self.pause(wait).await;
    }

    /// Waits, but returns at once when the relay stops.
    pub(super) async fn pause(&self, wait: Duration) {
        let mut stopping = self.of.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = super::shared::stopped(&mut stopping) => {}
        }
    }
}
