//! The mail of channels of the kind "mail".

use jiff::Timestamp;
use mail_builder::{
    MessageBuilder,
    headers::{address::Address as Mailbox, raw::Raw},
};
use posthaste_mail::Domain;

use super::words::{fit, headline, lines};
use crate::{Mail, Message};

/// What a mail has besides its message.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'l> {
    /// Sender and recipients.
    pub mail: &'l Mail,
    /// The relay's name, for the Message-ID.
    pub hostname: &'l Domain,
    /// The time of writing.
    pub now: Timestamp,
    /// Makes the Message-ID unlike any other of this second.
    pub random: u64,
}

/// The message as a mail (RFC 5322) with CRLF line ends. It asks for no automatic reply (RFC 3834 §5).
pub fn mail(message: &Message, letter: Letter<'_>) -> Vec<u8> {
    let node = message.news.first().map_or("", |news| news.node.as_str());
    let mailbox = |address: &posthaste_mail::Address| Mailbox::new_address(None::<String>, address.as_str().to_owned());
    let id = format!("{}.{:016x}@{}", letter.now.as_second(), letter.random, letter.hostname);
    let mut text = format!("{}\n\n", headline(message));
    for line in lines(message) {
        text += &format!("{line}\n");
    }
    MessageBuilder::new()
        .from(mailbox(&letter.mail.from))
        .to(Mailbox::new_list(letter.mail.to.iter().map(mailbox).collect()))
        .subject(fit(format!("[posthaste {node}] {}", headline(message)), SUBJECT_MAX))
        .date(letter.now.as_second())
        .message_id(id)
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .text_body(text)
        .write_to_vec()
        .expect("a Vec can be written")
}

/// As much as mail clients show.
const SUBJECT_MAX: usize = 200;
