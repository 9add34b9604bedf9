//! A login holds for as long as what proved it: the user, and the password, certificate or token.

use std::sync::Arc;

use super::{Right, TokenHash, User, Users};

/// A user who has logged in, and by which credential.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user as it was when it logged in.
    user: Arc<User>,
    by: Credential,
}

/// What proved who the client is.
#[derive(Debug, Clone, PartialEq)]
pub enum Credential {
    /// Its password, by PLAIN or LOGIN.
    Password,
    /// Its password, by SCRAM.
    Scram,
    /// A verified certificate with this name, in lower case.
    Certificate(String),
    /// One of its own tokens.
    Token(TokenHash),
    /// A token that the introspection endpoint knows.
    Introspected,
}

impl Login {
    /// A login of this user.
    pub fn new(user: Arc<User>, by: Credential) -> Self {
        Self { user, by }
    }

    /// The user's name.
    pub fn name(&self) -> &Arc<str> {
        &self.user.name
    }
}

impl Users {
    /// The login by one of these names in a certificate. The certificate must have been verified.
    pub fn by_certificate<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Option<Login> {
        let login = |name: String| self.by_certificate.get(&name).map(|user| Login::new(user.clone(), Credential::Certificate(name)));
        names.into_iter().find_map(|name| login(name.to_ascii_lowercase()))
    }

    /// The user of a login as it is now. None: it no longer exists, or no longer has the credential that it logged in by. Whoever began as
    /// a user is that user or nobody.
    pub fn still(&self, login: &Login) -> Option<&Arc<User>> {
        let then = &login.user;
        let holds = |now: &&Arc<User>| match &login.by {
            Credential::Password => now.password.is_some() && now.password == then.password,
            Credential::Scram => now.scram.is_some() && now.scram == then.scram,
            Credential::Certificate(name) => now.certificates.contains(name),
            Credential::Token(token) => now.tokens.contains(token),
            Credential::Introspected => true,
        };
        self.get(&then.name).filter(holds)
    }

    /// The user of a login, if it holds and its credential may submit mail. A password and a certificate serve nothing else; a token needs
    /// the right to "send" at every door.
    pub fn may_submit(&self, login: &Login) -> Option<&Arc<User>> {
        let is_token = matches!(login.by, Credential::Token(_) | Credential::Introspected);
        self.still(login).filter(|user| !is_token || user.has(Right::Send))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::{
        PasswordHash,
        testing::{user, users},
        token,
    };

    fn cheap(password: &str) -> Option<PasswordHash> {
        Some(PasswordHash::cheap(password))
    }

    #[test]
    fn a_token_without_the_right_to_send_submits_nothing_whichever_token_it_is() {
        let (_, hash) = token::generate();
        let reader = User { tokens: vec![hash.clone()], password: cheap("pw"), rights: vec![Right::Read], ..user("reader") };
        let all = users([reader, user("other")]);
        let login = |by| Login::new(all.get("reader").unwrap().clone(), by);
        let may = |by| all.may_submit(&login(by)).is_some();
        assert!(!may(Credential::Token(hash)) && !may(Credential::Introspected));
        assert!(may(Credential::Password), "rights are those of the tokens; a password is for sending");
    }

    #[test]
    fn a_login_ends_with_its_user_and_with_its_credential() {
        let (_, hash) = token::generate();
        let app = User { password: cheap("one"), tokens: vec![hash.clone()], certificates: vec!["app.test".into()], ..user("app") };
        let before = users([app.clone()]);
        let login = |by| Login::new(before.get("app").unwrap().clone(), by);
        let ways = [Credential::Password, Credential::Token(hash), Credential::Certificate("app.test".into()), Credential::Introspected];
        let hold = |now: &Users| ways.clone().map(|by| now.still(&login(by)).is_some());
        assert_eq!(hold(&before), [true; 4]);
        assert_eq!(hold(&users([user("another")])), [false; 4]);
        assert_eq!(hold(&users([User { password: cheap("two"), ..app.clone() }])), [false, true, true, true]);
        assert_eq!(hold(&users([User { tokens: Vec::new(), ..app.clone() }])), [true, false, true, true]);
        assert_eq!(hold(&users([User { certificates: Vec::new(), ..app.clone() }])), [true, true, false, true]);
        assert_eq!(hold(&users([User { password: None, ..app }])), [false, true, true, true]);
    }
}
