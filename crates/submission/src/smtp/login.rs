//! Checks a client's credentials against the users, and delays clients that fail.

use std::{sync::Arc, time::Duration};

use posthaste_access::{
    Guess, Price, ShutOut,
    introspection::TokenOwner,
    users::{Credential, Login, LoginCheck, TokenHash, User},
};
use posthaste_host::clock;
use posthaste_smtp::server::{Answer, Credentials, Refused, SessionRefusal};

use super::{
    conversation::Conversation,
    shared::{Asked, UNLOGGED},
};
use crate::settings::Settings;

impl Conversation {
    /// Answers [`posthaste_smtp::server::Step::Authenticate`]. Returns with a delay if the credentials are wrong.
    pub(super) async fn authenticate(&mut self, credentials: Credentials) {
        let name = credentials.user().to_owned();
        let asked = self.asked.take();
        let (guess, user) = match asked {
            // The turn was taken when the salt was told.
            Some(Asked { user, guess, .. }) => (guess, user),
            None => match self.turn_to_guess().await {
                Some(Ok(guess)) => (guess, None),
                // Right or wrong, it was not looked at.
                Some(Err(ShutOut { answer, tell })) => return self.login_refused(name, answer, if tell { "banned" } else { UNLOGGED }),
                None => return self.session.authenticated(Err(Answer::auth_trouble()), &mut self.out),
            },
        };
        let settings = self.of.settings.get();
        let login = match credentials {
            Credentials::Keys { user: name } => {
                let (keys, user) = self.of.passwords.scram(&settings.users, &name);
                self.asked = Some(Asked { name, user, guess });
                return self.session.scram_keys(&keys, &rand::random(), &mut self.out);
            }
            Credentials::Password { user, password } => {
                match self.of.passwords.check(&settings.users, &user, password.reveal(), clock::instant()).await {
                    LoginCheck::Right(user) => Some(Login::new(user, Credential::Password)),
                    LoginCheck::Wrong => None,
                    LoginCheck::Busy => return self.session.authenticated(Err(Answer::auth_trouble()), &mut self.out),
                }
            }
            Credentials::Proven { .. } => user.map(|user| Login::new(user, Credential::Scram)),
            Credentials::Bearer { user, token } => match self.owner(&settings, token.reveal()).await {
                // A user name given with a token must be the token's owner.
                Ok(login) => login.filter(|login| user.is_empty() || **login.name() == *user),
                Err(busy) => return self.session.authenticated(Err(busy), &mut self.out),
            },
        };
        // A reload may have come while the credentials were checked.
        let users = self.of.settings.get().users.clone();
        match login.filter(|login| users.still(login).is_some()) {
            Some(login) if users.may_submit(&login).is_none() => {
                let text = format!("this token of user {} does not have the right to \"send\"", login.name());
                self.login_refused(name, Answer::new(535, 7, 8, text), "not_allowed");
            }
            Some(login) => {
                self.place.known();
                self.session.authenticated(Ok(login.name().clone()), &mut self.out);
                self.login = Some(login);
            }
            None => {
                let answer = Answer::auth_failed();
                self.log_login_refused(name, answer.clone(), "auth_failed");
                self.login_failed(guess).await;
                self.session.authenticated(Err(answer), &mut self.out);
            }
        }
    }

    /// Waits for a turn to have a password or token checked. None: the relay stops.
    async fn turn_to_guess(&self) -> Option<Result<Guess, ShutOut>> {
        let mut stopping = self.of.stopping.clone();
        tokio::select! {
            turn = self.of.lockout.guess(self.ip) => Some(turn),
            () = super::shared::stopped(&mut stopping) => None,
        }
    }

    /// Refuses a login for another reason than a wrong guess.
    fn login_refused(&mut self, name: String, answer: Answer, reason: &'static str) {
        if reason != UNLOGGED {
            self.log_login_refused(name, answer.clone(), reason);
        }
        self.is_over |= answer.code == 421;
        self.session.authenticated(Err(answer), &mut self.out);
    }

    fn log_login_refused(&self, name: String, answer: Answer, reason: &'static str) {
        let refusal = SessionRefusal { command: "auth", from: None, rcpt: None, user: Some(name), answer, reason };
        self.of.rejected(&self.listener, self.ip, &self.session, &refusal);
    }

    /// The login by a token: of the user whose token it is, or whom the introspection endpoint names. None: it is wrong. An error: it cannot
    /// be checked at present.
    async fn owner(&self, settings: &Settings, token: &str) -> Result<Option<Login>, Answer> {
        if let Some(owner) = settings.users.by_token(token) {
            return Ok(Some(Login::new(owner.clone(), Credential::Token(TokenHash::of(token)))));
        }
        let Some(introspection) = &settings.introspection else { return Ok(None) };
        let (whose, news) = introspection.owner(token, || (clock::instant(), clock::now())).await;
        if let Some(news) = news {
            news.write(&self.of.journal);
        }
        match whose {
            TokenOwner::Named(name) => Ok(settings.users.get(&name).map(|user| Login::new(user.clone(), Credential::Introspected))),
            TokenOwner::Nobody => Ok(None),
            TokenOwner::Trouble => Err(Answer::auth_trouble()),
        }
    }

    /// The user that has logged in or is known by the client's certificate; None: the client is anonymous. A session ends as the user it
    /// began as: if that one is gone, or no longer has the credential, nothing more is taken from it.
    pub(super) fn user(&self) -> Result<Option<Arc<User>>, Refused> {
        let by_auth = self.session.user().and(self.login.as_ref());
        let Some(login) = by_auth.or(self.certified.as_ref()) else { return Ok(None) };
        let users = self.of.settings.get().users.clone();
        match users.may_submit(login) {
            Some(user) => Ok(Some(user.clone())),
            None => {
                let text = format!("user {} was taken away or has other credentials now, log in again", login.name());
                Err(Refused::new(Answer::new(421, 7, 0, text), "login_over"))
            }
        }
    }

    /// Counts a login that ended without a proof after the salt was told: asking costs what guessing does, whether or not there is such a
    /// user. The line is written by the caller if there is a refusal, and here if the client just went away.
    pub(super) fn login_abandoned(&mut self) {
        let Some(asked) = self.asked.take().filter(|_| !*self.of.stopping.borrow()) else { return };
        self.log_login_refused(asked.name, Answer::auth_failed(), "auth_abandoned");
        // The client is gone: nobody is left to wait.
        asked.guess.wrong();
    }

    /// Counts a failed login, and waits before the client is answered.
    async fn login_failed(&mut self, guess: Guess) {
        let Price { wait, shut_out } = guess.wrong();
        self.is_over |= shut_out;
        self.pause(wait).await;
    }

    /// Logs and delays what the session refused by itself. A login that the client cancelled, or broke off by nonsense, after it was told the
    /// salt counts as a wrong password.
    pub(super) async fn step_refused(&mut self, mut refusal: SessionRefusal) {
        let asked = if refusal.command == "auth" { self.asked.take() } else { None };
        let (name, mut guess) = asked.map(|asked| (asked.name, asked.guess)).unzip();
        refusal.user = refusal.user.or(name);
        if guess.is_none() && refusal.reason == "auth_failed" {
            guess = self.of.lockout.guess(self.ip).await.ok();
        }
        self.of.rejected(&self.listener, self.ip, &self.session, &refusal);
        self.slow_down().await;
        if let Some(guess) = guess {
            self.login_failed(guess).await;
        }
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
