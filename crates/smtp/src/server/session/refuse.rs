//! Refusals: the reply, the count towards a limit, and the step that has the refusal logged.

use posthaste_mail::EnhancedCode;

use super::Session;
use crate::server::{
    Answer, SessionRefusal, Step, answer,
    body::Flaw,
    fault::{Fault, Weight},
};

impl Session {
    /// Refuses a message that has ended. `command`: `dot` or `bdat`.
    pub(super) fn flawed(&mut self, command: &'static str, flaw: Flaw, out: &mut Vec<u8>) -> Step {
        let limits = &self.settings.limits;
        let fault = match flaw {
            Flaw::BareLf => Fault::bare_unless(command, "bare_lf", &self.key("bare_line_ends")),
            Flaw::BareCr => Fault::bare_unless(command, "bare_cr", &self.key("bare_line_ends")),
            Flaw::Nul => Fault::refusal(command, "nul", Answer::new(550, 6, 0, "the message holds a NUL byte")),
            Flaw::LineTooLong => {
                let text = format!("the message holds a line longer than {} bytes", limits.text_line);
                Fault::refusal(command, "text_line_too_long", Answer::new(550, 6, 0, text))
            }
            Flaw::HeaderTooLarge => {
                let text = format!("the header is larger than {} bytes", limits.header_size);
                Fault::refusal(command, "header_too_large", Answer::new(552, 3, 4, text))
            }
            Flaw::TooLarge => Fault::refusal(command, "too_large", self.too_large()),
        };
        self.messages = self.messages.saturating_add(1);
        self.end_transaction(fault, out)
    }

    /// Refuses a message that is far too large, with a permanent code although the connection closes: after a 421 the client would send it
    /// all again.
    pub(super) fn endless(&mut self, out: &mut Vec<u8>) -> Step {
        let fault = Fault::fatal("dot", "too_large", self.too_large());
        self.end_transaction(fault, out)
    }

    /// A key of the listener's table, as the configuration has it; empty if the table has no name.
    pub(super) fn key(&self, name: &str) -> String {
        let table = &self.settings.offers.table;
        if table.is_empty() { String::new() } else { format!("{table}.{name}") }
    }

    fn end_transaction(&mut self, fault: Fault, out: &mut Vec<u8>) -> Step {
        let step = self.fault(fault, out);
        self.transaction = None;
        step
    }

    pub(super) fn too_large(&self) -> Answer {
        Answer::new(552, 3, 4, format!("a message has at most {} bytes here", self.settings.limits.message_size))
    }

    /// Writes the reply, counts the refusal, and returns the step that has it logged.
    pub(super) fn fault(&mut self, fault: Fault, out: &mut Vec<u8>) -> Step {
        let Fault { command, answer, reason, weight, given } = fault;
        if command == "ehlo" {
            answer.write_plain(out)
        } else {
            answer.write(out)
        }
        self.weigh(weight, answer.code, out);
        let known = self.transaction.as_mut().map(|transaction| {
            transaction.refused += u32::from(command == "rcpt");
            transaction.mail.reverse_path.as_str().to_owned()
        });
        let (from, rcpt, user) = match command {
            "mail" => (given.or(known), None, None),
            "auth" => (known, None, given),
            _ => (known, given, None),
        };
        Step::Refused(SessionRefusal { command, from, rcpt, user, answer, reason })
    }

    /// Counts a refusal; closes the session if the limit is reached or the fault is fatal.
    pub(super) fn weigh(&mut self, weight: Weight, code: u16, out: &mut Vec<u8>) {
        let limits = &self.settings.limits;
        let (count, limit) = match weight {
            Weight::Junk => (&mut self.junk, limits.bad_commands),
            Weight::Refusal => (&mut self.refusals, limits.refusals),
            Weight::Login => (&mut self.logins, limits.logins),
            Weight::Fatal => return self.goodbye((5, 0), "closing", out),
        };
        *count += 1;
        if code == 421 {
            self.close();
        } else if *count >= limit {
            self.goodbye((7, 0), "too many errors, closing", out);
        }
    }

    pub(super) fn goodbye(&mut self, (subject, detail): (u16, u16), text: &str, out: &mut Vec<u8>) {
        if !self.is_closed() {
            let text = format!("{} {text}", self.settings.hostname);
            answer::write(out, 421, Some(EnhancedCode::new(4, subject, detail)), &text);
            self.close();
        }
    }
}
