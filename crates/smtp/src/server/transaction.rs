//! The transaction in progress: the accepted MAIL and RCPT commands.

use std::collections::HashSet;

use posthaste_mail::{Address, Envelope, EsmtpParameters, RcptParameters};

use super::{MailRequest, body::BodyReceiver};

/// Lasts from an accepted MAIL to the end of the message, or to RSET.
#[derive(Debug)]
pub(super) struct OpenTransaction {
    pub(super) mail: MailRequest,
    recipients: Vec<Address>,
    parameters: Vec<RcptParameters>,
    known: HashSet<Address>,
    /// The body received by BDAT so far.
    pub(super) chunks: Option<Box<BodyReceiver>>,
    /// How many RCPT commands were refused.
    pub(super) refused: u32,
}

impl OpenTransaction {
    pub(super) fn new(mail: MailRequest) -> Self {
        Self { mail, recipients: Vec::new(), parameters: Vec::new(), known: HashSet::new(), chunks: None, refused: 0 }
    }

    pub(super) fn has(&self, recipient: &Address) -> bool {
        self.known.contains(recipient)
    }

    pub(super) fn add(&mut self, recipient: Address, parameters: RcptParameters) {
        if self.known.insert(recipient.clone()) {
            self.recipients.push(recipient);
            self.parameters.push(parameters);
        }
    }

    /// How many recipients were accepted.
    pub(super) fn len(&self) -> usize {
        self.recipients.len()
    }

    pub(super) fn into_envelope(self) -> Envelope {
        let nothing = self.parameters.iter().all(|parameters| *parameters == RcptParameters::default());
        let rcpts = if nothing { Vec::new() } else { self.parameters };
        let MailRequest { reverse_path, body, parameters, .. } = self.mail;
        Envelope { reverse_path, recipients: self.recipients, body, parameters: EsmtpParameters { rcpts, ..parameters } }
    }
}
