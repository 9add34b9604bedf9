//! Who a client says it is, held against the users; and what a wrong answer costs it.

use std::{sync::Arc, time::Duration};

use posthaste_access::{
    introspection::{News, Whose},
    users::{Check, User},
};
use posthaste_host::clock;
use posthaste_mail::What;
use posthaste_smtp::server::{Answer, Credentials, Refusal};

use super::Conversation;
use crate::{intake::Price, live::Live, scribe::event};

impl Conversation {
    /// Answers [`posthaste_smtp::server::Step::Authenticate`]. Comes back late after a wrong answer.
    pub(super) async fn authenticate(&mut self, credentials: Credentials) {
        let live = self.of.intake.live.load_full();
        let name = credentials.user().to_owned();
        let user = match credentials {
            Credentials::Keys { user } => {
                let (keys, _) = self.of.passwords.scram(&live.users, &user);
                return self.session.scram_keys(&keys, &rand::random(), &mut self.out);
            }
            Credentials::Password { user, password } => {
                match self.of.passwords.check(&live.users, &user, password.reveal(), clock::instant()).await {
                    Check::Right(user) => Some(user),
                    Check::Wrong => None,
                    Check::Busy => return self.session.authenticated(Err(Answer::auth_trouble()), &mut self.out),
                }
            }
            Credentials::Proven { user } => live.users.get(&user).filter(|user| user.scram.is_some()).cloned(),
            Credentials::Bearer { user, token } => match self.owner(&live, token.reveal()).await {
                // A name given with a token must be its owner's.
                Check::Right(owner) => Some(owner).filter(|owner| user.is_empty() || *owner.name == *user),
                Check::Wrong => None,
                Check::Busy => return self.session.authenticated(Err(Answer::auth_trouble()), &mut self.out),
            },
        };
        drop(live);
        match user {
            Some(user) => self.session.authenticated(Ok(user.name.clone()), &mut self.out),
            None => {
                let answer = Answer::auth_failed();
                let refusal =
                    Refusal { command: "auth", from: None, rcpt: None, user: Some(name), answer: answer.clone(), reason: "auth_failed" };
                self.of.rejected(self.ip, &self.session, &refusal);
                self.login_failed().await;
                self.session.authenticated(Err(answer), &mut self.out);
            }
        }
    }

    /// Whose a token is: one of those of the HTTP interface, or one that the introspection endpoint knows.
    async fn owner(&self, live: &Live, token: &str) -> Check {
        if let Some(owner) = live.users.by_token(token) {
            return Check::Right(owner.clone());
        }
        let Some(introspection) = &live.introspection else { return Check::Wrong };
        let (whose, news) = introspection.whose(token, || (clock::instant(), clock::now())).await;
        if let Some(news) = news {
            self.tell_of_introspection(&live.config.node, news);
        }
        match whose {
            Whose::Named(name) => live.users.get(&name).cloned().map_or(Check::Wrong, Check::Right),
            Whose::Nobody => Check::Wrong,
            Whose::Trouble => Check::Busy,
        }
    }

    /// Whoever it is for now: logged in, or known by its certificate. One who was taken away meanwhile is nobody.
    pub(super) fn user(&self) -> Option<Arc<User>> {
        let name = self.session.user().or(self.certified.as_ref())?;
        self.of.intake.live.load().users.get(name).cloned()
    }

    /// Counts a wrong password, and waits before the client hears of it.
    pub(super) async fn login_failed(&mut self) {
        let Price { wait, shut_out } = self.of.intake.login_failed(self.ip);
        self.is_over |= shut_out;
        self.pause(wait).await;
    }

    fn tell_of_introspection(&self, node: &posthaste_mail::Name, News { state, detail }: News) {
        tracing::warn!("{detail}");
        let what = What::Relay { state: state.into(), part: Some("introspection".into()), detail };
        self.of.intake.log.append(event(node, clock::now(), what), None);
    }

    /// Waits, unless it is time to stop.
    pub(super) async fn pause(&self, wait: Duration) {
        let mut stopping = self.of.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = super::told(&mut stopping) => {}
        }
    }
}
