//! The message under way: what MAIL and RCPT have said so far.

use std::collections::HashSet;

use posthaste_mail::{Address, Envelope};

use super::MailRequest;

/// From an accepted MAIL to the answer to its final dot, or RSET.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) mail: MailRequest,
    recipients: Vec<Address>,
    known: HashSet<Address>,
    /// RCPT commands that were refused.
    pub(super) refused: u32,
}

impl Transaction {
    pub(super) fn new(mail: MailRequest) -> Self {
        Self { mail, recipients: Vec::new(), known: HashSet::new(), refused: 0 }
    }

    pub(super) fn has(&self, recipient: &Address) -> bool {
        self.known.contains(recipient)
    }

    pub(super) fn add(&mut self, recipient: Address) {
        if self.known.insert(recipient.clone()) {
            self.recipients.push(recipient);
        }
    }

    /// How many recipients were accepted.
    pub(super) fn len(&self) -> usize {
        self.recipients.len()
    }

    pub(super) fn into_envelope(self) -> Envelope {
        Envelope { reverse_path: self.mail.reverse_path, recipients: self.recipients, body: self.mail.body }
    }
}
