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
    /// What stands before the '@' of its Message-ID.
    pub id: &'l str,
}

/// The message as a mail (RFC 5322) with CRLF line ends. It asks for no automatic reply (RFC 3834 §5).
pub fn mail(message: &Message, letter: Letter<'_>) -> Vec<u8> {
    let node = message.news.first().map_or("", |news| news.node.as_str());
    let mut text = format!("{}\n\n", headline(message));
    for line in lines(message) {
        text += &format!("{line}\n");
    }
    plain(&format!("[posthaste {node}] {}", headline(message)), text, letter)
}

/// Plain text as a mail, in the same way.
pub fn plain(subject: &str, text: String, letter: Letter<'_>) -> Vec<u8> {
    let mailbox = |address: &posthaste_mail::Address| Mailbox::new_address(None::<String>, address.as_str().to_owned());
    let id = format!("{}@{}", letter.id, letter.hostname);
    MessageBuilder::new()
        .from(mailbox(&letter.mail.from))
        .to(Mailbox::new_list(letter.mail.to.iter().map(mailbox).collect()))
        .subject(fit(subject.to_owned(), SUBJECT_MAX))
        .date(letter.now.as_second())
        .message_id(id)
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .text_body(text)
        .write_to_vec()
        .expect("a Vec can be written")
}

/// As much as mail clients show.
const SUBJECT_MAX: usize = 200;
