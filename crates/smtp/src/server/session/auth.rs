//! AUTH (RFC 4954) and STARTTLS (RFC 3207).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::Session;
use crate::server::{
    Answer, Bindings, Step, answer,
    fault::{Fault, Weight},
    phase::{Phase, Question},
    sasl::{self, Exchange, Mechanism, Nonce, ScramKeys, Turn},
};

impl Session {
    /// TLS is on, from the start or after [`Step::StartTls`]. The session discards all state from before (RFC 3207 §4.2).
    pub fn secured(&mut self, bindings: Bindings) {
        if matches!(self.phase, Phase::Asked(Question::Tls)) {
            self.phase = Phase::Command;
        }
        (self.hello, self.transaction, self.user) = (None, None, None);
        self.tls = Some(bindings);
    }

    /// `behind`: whether bytes followed the command. They were sent before TLS, so they may not come from the client that will speak under
    /// it (RFC 3207 §5; CVE-2011-0411).
    pub(super) fn start_tls(&mut self, behind: bool, out: &mut Vec<u8>) -> Step {
        let fault = if self.tls.is_some() {
            Fault::sequence("starttls", "TLS is on already")
        } else if !self.settings.offers.starttls {
            Fault::junk("starttls", "not_offered", Answer::new(502, 5, 1, "STARTTLS is not offered here"))
        } else if self.transaction.is_some() {
            Fault::sequence("starttls", "a message is under way: DATA or RSET first")
        } else if behind {
            Fault::fatal("starttls", "behind_starttls", Answer::new(554, 5, 1, "nothing may be sent behind STARTTLS before TLS is on"))
        } else {
            Answer::new(220, 0, 0, "begin TLS").write(out);
            self.phase = Phase::Asked(Question::Tls);
            return Step::StartTls;
        };
        self.fault(fault, out)
    }

    /// `AUTH mechanism [initial-response]`.
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&[u8]>, out: &mut Vec<u8>) -> Option<Step> {
        let offers = &self.settings.offers;
        let chosen = Mechanism::named(mechanism);
        let announced: Vec<_> = offers.mechanisms(self.tls.as_ref()).collect();
        let fault = if offers.auth.is_empty() {
            Fault::junk("auth", "not_offered", Answer::new(502, 5, 1, "AUTH is not offered here"))
        } else if !self.hello.as_ref().is_some_and(|hello| hello.esmtp) {
            Fault::sequence("auth", "say EHLO first")
        } else if self.user.is_some() {
            Fault::sequence("auth", "you are logged in already")
        } else if self.transaction.is_some() {
            Fault::sequence("auth", "a message is under way: DATA or RSET first")
        } else if self.tls.is_none() && !offers.auth_in_clear {
            Fault::refusal("auth", "tls_required", Answer::new(538, 7, 11, "AUTH is taken under TLS only: STARTTLS first"))
        } else if let Some(chosen) = chosen.filter(|chosen| announced.contains(chosen)) {
            let plus = announced.contains(&Mechanism::ScramSha256Plus);
            return self.begin(Exchange::new(chosen, plus), initial, out);
        } else {
            Fault::refusal("auth", "no_such_mechanism", Answer::new(504, 5, 4, "no such mechanism here: EHLO lists them"))
        };
        Some(self.fault(fault, out))
    }

    fn begin(&mut self, exchange: Exchange, initial: Option<&[u8]>, out: &mut Vec<u8>) -> Option<Step> {
        if let Some(message) = initial {
            return self.hear(exchange, message, out);
        }
        challenge(exchange.first_challenge(), out);
        self.phase = Phase::Auth(Box::new(exchange));
        None
    }

    /// A line of a SASL exchange, without its CRLF.
    pub(super) fn auth_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        let Phase::Auth(exchange) = std::mem::replace(&mut self.phase, Phase::Command) else { return None };
        if line == b"*" {
            let cancelled = Fault::junk("auth", "cancelled", Answer::new(501, 7, 0, "authentication cancelled"));
            return Some(self.fault(cancelled, out));
        }
        match STANDARD.decode(line) {
            Ok(message) => self.hear(*exchange, &message, out),
            Err(_) => Some(self.fault(Fault::not_base64(), out)),
        }
    }

    fn hear(&mut self, exchange: Exchange, message: &[u8], out: &mut Vec<u8>) -> Option<Step> {
        let (exchange, turn) = exchange.hear(message, self.tls.as_ref());
        self.take_turn(exchange, turn, out)
    }

    fn take_turn(&mut self, exchange: Exchange, turn: Turn, out: &mut Vec<u8>) -> Option<Step> {
        self.phase = Phase::Command;
        match turn {
            Turn::Challenge(message) => {
                challenge(&message, out);
                self.phase = Phase::Auth(Box::new(exchange));
                None
            }
            Turn::Ask(credentials) => {
                self.phase = Phase::Asked(Question::Auth(Box::new(exchange)));
                Some(Step::Authenticate(credentials))
            }
            Turn::Done(user) => {
                self.log_in(user.into(), out);
                None
            }
            Turn::Refused(answer) => {
                self.refuse_login(&answer, out);
                None
            }
            Turn::Malformed(why) => Some(self.fault(Fault::junk("auth", "syntax", Answer::new(501, 5, 2, why)), out)),
            Turn::Wrong { user } => Some(self.fault(Fault::login(&user), out)),
        }
    }

    /// Answers [`Step::Authenticate`] with the name under which the user is known, or with [`Answer::auth_failed`],
    /// [`Answer::auth_trouble`] or another refusal. A 421 ends the session; a session that is over writes nothing.
    ///
    /// # Panics
    /// If no credentials were handed out, or if SCRAM keys were asked for and `verdict` is Ok.
    pub fn authenticated(&mut self, verdict: Result<Arc<str>, Answer>, out: &mut Vec<u8>) {
        let Some(exchange) = self.asked_auth() else { return };
        match (exchange, verdict) {
            (Exchange::ScramWantsKeys(_), Ok(_)) => panic!("SCRAM's keys are handed over by scram_keys()"),
            (Exchange::ScramProven { signature, .. }, Ok(user)) => {
                challenge(&signature, out);
                self.phase = Phase::Auth(Box::new(Exchange::ScramHeard { user: user.to_string() }));
            }
            // RFC 7628 §3.2.3: send the reason first, and the refusal after the client has responded.
            (Exchange::CheckingToken, Err(answer)) if answer.code == 535 => {
                challenge(sasl::TOKEN_REFUSED, out);
                self.phase = Phase::Auth(Box::new(Exchange::BearerRefused(answer)));
            }
            (_, Ok(user)) => self.log_in(user, out),
            (_, Err(answer)) => self.refuse_login(&answer, out),
        }
    }

    /// Answers [`Credentials::Keys`](crate::server::Credentials::Keys). For an unknown user, pass [`ScramKeys::decoy`].
    ///
    /// # Panics
    /// If they were not asked for.
    pub fn scram_keys(&mut self, keys: &ScramKeys, nonce: &Nonce, out: &mut Vec<u8>) {
        let Some(exchange) = self.asked_auth() else { return };
        let (exchange, turn) = exchange.keys(keys, nonce);
        let step = self.take_turn(exchange, turn, out);
        debug_assert!(step.is_none(), "keys lead to a challenge");
    }

    /// The user who is logged in, by the name given to [`Self::authenticated`].
    pub fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    fn asked_auth(&mut self) -> Option<Exchange> {
        if self.is_closed() {
            return None;
        }
        match std::mem::replace(&mut self.phase, Phase::Command) {
            Phase::Asked(Question::Auth(exchange)) => Some(*exchange),
            _ => panic!("nobody asked who the client is"),
        }
    }

    fn log_in(&mut self, user: Arc<str>, out: &mut Vec<u8>) {
        self.user = Some(user);
        self.logins = 0;
        Answer::new(235, 7, 0, "logged in").write(out);
    }

    fn refuse_login(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        answer.write(out);
        self.weigh(if answer.code == 535 { Weight::Login } else { Weight::Refusal }, answer.code, out);
    }
}

/// Writes `334 BASE64`: without an enhanced code, and with a space even if nothing follows (RFC 4954 §4).
fn challenge(message: &[u8], out: &mut Vec<u8>) {
    answer::write(out, 334, None, &STANDARD.encode(message));
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::server::{Credentials, Offers, SessionLimits, SessionSettings};

    fn session(offers: Offers) -> Session {
        let settings = SessionSettings { hostname: "mx.test".into(), banner: "ESMTP".into(), limits: SessionLimits::default(), offers };
        Session::new(Arc::new(settings), jiff::Timestamp::UNIX_EPOCH)
    }

    fn feed(session: &mut Session, text: &str) -> (Step, String) {
        let mut out = Vec::new();
        let step = session.feed(&mut BytesMut::from(text), &mut out);
        (step, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_pipelined_behind_starttls_ends_the_session() {
        let mut session = session(Offers { starttls: true, ..Offers::default() });
        let (step, out) = feed(&mut session, "EHLO c.test\r\nSTARTTLS\r\nMAIL FROM:<evil@x.test>\r\n");
        assert!(matches!(step, Step::Refused(refusal) if refusal.reason == "behind_starttls"));
        assert!(out.ends_with("554 5.5.1 nothing may be sent behind STARTTLS before TLS is on\r\n421 4.5.0 mx.test closing\r\n"), "{out}");
        assert!(session.is_closed());
    }

    #[test]
    fn tls_makes_the_session_forget_what_was_said_before_it() {
        let mut session = session(Offers { starttls: true, auth: vec![Mechanism::Plain], auth_in_clear: true, ..Offers::default() });
        let (step, _) = feed(&mut session, "EHLO c.test\r\nAUTH PLAIN AGEAYg==\r\n");
        assert!(matches!(step, Step::Authenticate(_)));
        session.authenticated(Ok("a".into()), &mut Vec::new());
        assert_eq!(session.user().map(|user| &**user), Some("a"));
        assert_eq!(feed(&mut session, "STARTTLS\r\n"), (Step::StartTls, "220 2.0.0 begin TLS\r\n".into()));
        session.secured(Bindings::default());
        assert!(session.tls.is_some() && session.user().is_none() && session.hello().is_none());
        let (_, out) = feed(&mut session, "MAIL FROM:<a@x.test>\r\n");
        assert_eq!(out, "503 5.5.1 say EHLO first\r\n");
        let (_, out) = feed(&mut session, "EHLO c.test\r\nSTARTTLS\r\n");
        assert!(out.contains("AUTH PLAIN") && !out.contains("-STARTTLS") && out.ends_with("503 5.5.1 TLS is on already\r\n"), "{out}");
    }

    #[test]
    fn scram_goes_through_the_session_to_its_end() {
        let mut session = session(Offers { auth: vec![Mechanism::ScramSha256], auth_in_clear: true, ..Offers::default() });
        let (step, _) = feed(&mut session, &format!("EHLO c.test\r\nAUTH SCRAM-SHA-256 {}\r\n", STANDARD.encode("n,,n=user,r=abc")));
        assert_eq!(step, Step::Authenticate(Credentials::Keys { user: "user".into() }));
        let mut out = Vec::new();
        session.scram_keys(&ScramKeys::decoy(b"s", "user", 4096, 16), &[1; 18], &mut out);
        assert!(out.starts_with(b"334 cj1hYm"), "r=abc...: {:?}", String::from_utf8_lossy(&out));
        let last = format!("c=biws,r=abc{},p={}", STANDARD.encode([1; 18]), STANDARD.encode([0; 32]));
        let (step, out) = feed(&mut session, &format!("{}\r\n", STANDARD.encode(last)));
        assert_eq!(out, "535 5.7.8 user name or password is wrong\r\n");
        assert!(matches!(step, Step::Refused(r) if (r.reason, r.user.as_deref()) == ("auth_failed", Some("user"))));
    }
}
