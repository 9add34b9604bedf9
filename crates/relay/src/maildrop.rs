//! The maildrop: where `posthaste sendmail` keeps a message that the relay cannot take at the moment, and out of which the relay takes it.
//!
//! The folder is a [`posthaste_host::letterbox`]. Whatever stands in it was written by some user of this machine and is judged like what comes over
//! loopback. A file's name is the id of its message, so that one that was taken just before a crash is known by the log and not taken again.

mod letter;
mod pickup;

use std::path::Path;

use jiff::Timestamp;
use posthaste_host::letterbox;
use posthaste_mail::MessageId;

pub use self::letter::Letter;
pub(crate) use self::pickup::{MaildropSettings, Pickup};

/// Keeps a letter in the maildrop; returns the id that its message will have. The letter is on disk when this returns. Blocks.
///
/// # Errors
/// The folder is not there or may not be written, or the disk is full; then nothing is kept.
pub fn keep(dir: &Path, letter: &Letter, now: Timestamp) -> std::io::Result<MessageId> {
    let id = MessageId::new(now, rand::random());
    letterbox::put(dir, &id.to_string(), &letter.to_bytes())?;
    Ok(id)
}
