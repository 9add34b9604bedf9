//! A message's id in an address.

use posthaste_mail::MessageId;

use crate::trouble::Trouble;

/// The message with this id.
pub(super) fn id_of(text: &str) -> Result<MessageId, Trouble> {
    text.parse().map_err(|_| Trouble::NotFound(format!("{text:?} is no message's id: an id has 26 letters and digits")))
}
