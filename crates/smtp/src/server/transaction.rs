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
    /// The memory of the envelope, in bytes.
    envelope: usize,
}

/// What a text on the heap takes beyond its bytes: the allocator's header, and rounding up.
const HEAP: usize = 24;
/// What a recipient takes beyond its texts: its places in the two lists and among the known ones, which double when they are full.
const RECIPIENT: usize = 2 * (2 * size_of::<Address>() + size_of::<RcptParameters>()) + 2 * HEAP;

impl OpenTransaction {
    pub(super) fn new(mail: MailRequest) -> Self {
        let texts = mail.reverse_path.as_str().len() + mail.parameters.envid.as_ref().map_or(0, |envid| envid.len());
        let envelope = size_of::<Self>() + texts + 2 * HEAP;
        Self { mail, recipients: Vec::new(), parameters: Vec::new(), known: HashSet::new(), chunks: None, refused: 0, envelope }
    }

    /// The memory that it takes, in bytes, as much as the allocator lets one know.
    pub(super) fn memory(&self) -> u64 {
        self.envelope as u64 + self.chunks.as_ref().map_or(0, |chunks| chunks.memory())
    }

    pub(super) fn has(&self, recipient: &Address) -> bool {
        self.known.contains(recipient)
    }

    pub(super) fn add(&mut self, recipient: Address, parameters: RcptParameters) {
        if self.known.insert(recipient.clone()) {
            let orcpt = parameters.orcpt.as_ref().map_or(0, |orcpt| orcpt.len() + HEAP);
            self.envelope += RECIPIENT + 2 * recipient.as_str().len() + orcpt;
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
