//! Executes commands (RFC 5321 §4.1.1) and checks their order (§4.1.4).

use posthaste_mail::{Address, BodyKind, RcptParameters};

use super::{Hello, Session};
use crate::server::{
    Answer, MailRequest, Step, answer,
    body::BodyReceiver,
    command::{Command, not_ascii},
    fault::Fault,
    phase::{Phase, Question},
};

impl Session {
    /// Executes a command; the step is what the caller has to do. `behind`: whether more input follows the command.
    pub(super) fn obey(&mut self, command: Command, behind: bool, out: &mut Vec<u8>) -> Option<Step> {
        if let Some(name) = hands_in_nothing(&command) {
            self.idle = self.idle.saturating_add(1);
            if self.idle > self.settings.limits.idle_commands {
                let answer = Answer::new(421, 7, 0, format!("{} too many commands without a message, closing", self.settings.hostname));
                return Some(self.fault(Fault::junk(name, "idle_commands", answer), out));
            }
        }
        match command {
            Command::Hello { name, extended } => self.be_greeted(Hello { name, esmtp: extended }, out),
            Command::Mail(request) => return Some(self.mail(request, out)),
            Command::Rcpt { recipient, parameters, needs_utf8 } => return self.rcpt(recipient, parameters, needs_utf8, out),
            Command::Data => return self.data(out),
            Command::Bdat { size, last } => return self.bdat(size, last, out),
            Command::StartTls => return Some(self.start_tls(behind, out)),
            Command::Auth { mechanism, initial } => return self.auth(&mechanism, initial.as_deref(), out),
            Command::Rset => {
                self.transaction = None;
                Answer::new(250, 0, 0, "Ok").write(out);
            }
            Command::Noop => Answer::new(250, 0, 0, "Ok").write(out),
            // RFC 5321 §7.3: neither confirms nor denies the address.
            Command::Vrfy => Answer::new(252, 5, 0, "not looked up; send the message and see").write(out),
            Command::Help => Answer::new(214, 0, 0, "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP").write(out),
            Command::Quit => {
                Answer::new(221, 0, 0, format!("{} goodbye", self.settings.hostname)).write(out);
                self.close();
            }
        }
        None
    }

    fn mail(&mut self, request: MailRequest, out: &mut Vec<u8>) -> Step {
        let limits = &self.settings.limits;
        let fault = if self.hello.is_none() {
            Fault::sequence("mail", "say EHLO first")
        } else if self.settings.offers.tls_required && self.tls.is_none() {
            // RFC 3207 §4
            Fault::refusal("mail", "tls_required", Answer::new(530, 7, 0, "say STARTTLS first"))
        } else if self.transaction.is_some() {
            Fault::sequence("mail", "a message is under way: DATA or RSET first")
        } else if limits.messages > 0 && self.messages >= limits.messages {
            Fault::refusal("mail", "too_many_messages", Answer::new(421, 7, 0, "enough for one connection: connect again"))
        } else if request.size.is_some_and(|size| size > limits.message_size) {
            // RFC 1870 §6.1
            Fault::refusal("mail", "too_large", self.too_large())
        } else {
            self.phase = Phase::Asked(Question::Mail(request.clone()));
            return Step::Mail(request);
        };
        // Log the refused reverse-path, not that of the transaction in progress.
        self.fault(fault.about(request.reverse_path.as_str()), out)
    }

    fn rcpt(&mut self, recipient: Address, parameters: RcptParameters, needs_utf8: bool, out: &mut Vec<u8>) -> Option<Step> {
        let limit = self.settings.limits.recipients;
        let fault = match &self.transaction {
            None => Fault::out_of_order("rcpt", "say MAIL first"),
            Some(transaction) if transaction.chunks.is_some() => Fault::sequence("rcpt", "the message has begun"),
            Some(transaction) if needs_utf8 && !transaction.mail.parameters.smtputf8 => not_ascii("rcpt", recipient.as_str()),
            Some(transaction) if transaction.has(&recipient) => {
                Answer::new(250, 1, 5, "recipient ok").write(out);
                return None;
            }
            // RFC 5321 §4.5.3.1.10: 452, so that the client sends to the rest in a second message.
            Some(transaction) if transaction.len() >= limit => {
                let answer = Answer::new(452, 5, 3, format!("a message has at most {limit} recipients here"));
                Fault::refusal("rcpt", "too_many_recipients", answer)
            }
            Some(_) => {
                self.phase = Phase::Asked(Question::Rcpt(recipient.clone(), parameters));
                return Some(Step::Rcpt(recipient));
            }
        };
        Some(self.fault(fault.about(recipient.as_str()), out))
    }

    fn data(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let fault = match &self.transaction {
            None => Fault::out_of_order("data", "say MAIL first"),
            // RFC 3030 §2 and §3: DATA cannot follow BDAT, and a dot cannot mark the end of a binary message.
            Some(transaction) if transaction.chunks.is_some() => Fault::sequence("data", "BDAT has begun the message"),
            Some(transaction) if transaction.mail.body == BodyKind::BinaryMime => Fault::sequence("data", "BINARYMIME goes with BDAT"),
            Some(transaction) if transaction.len() > 0 => {
                let receiver = BodyReceiver::new(&self.settings, transaction.mail.size, self.lf_only);
                self.phase = Phase::Body(Box::new(receiver));
                answer::write(out, 354, None, "go on; end with a line that is a dot");
                return None;
            }
            Some(transaction) if transaction.refused == 0 => Fault::out_of_order("data", "say RCPT first"),
            // RFC 2920 §3.1: a client that pipelines sends DATA before it knows the replies to RCPT.
            Some(_) => Fault::refusal("data", "no_recipients", Answer::new(554, 5, 1, "no recipient was accepted")),
        };
        Some(self.fault(fault, out))
    }
}

/// The name of a command that does not lead towards a message; such commands count as idle.
fn hands_in_nothing(command: &Command) -> Option<&'static str> {
    match command {
        Command::Hello { .. } => Some("ehlo"),
        Command::Rset => Some("rset"),
        Command::Noop => Some("noop"),
        Command::Vrfy => Some("vrfy"),
        Command::Help => Some("help"),
        _ => None,
    }
}
