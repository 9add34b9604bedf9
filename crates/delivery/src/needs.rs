//! What a message asks of its receiver.

use jiff::Timestamp;
use posthaste_mail::{Envelope, Otherwise};
use posthaste_message::MessageRecord;
use posthaste_smtp::client::Needs;

/// What a receiver must have to get the message, whoever the recipient is. What was asked for and turned out not to be needed is not in it.
pub(crate) fn needs(message: &MessageRecord, now: Timestamp) -> Needs {
    let Envelope { reverse_path, asks, .. } = &message.envelope;
    let utf8 = asks.smtputf8 && (message.utf8_header || !reverse_path.as_str().is_ascii());
    let within = asks.deliver_by.filter(|by| by.otherwise == Otherwise::Return).map(|by| by.left(message.arrived, now).seconds);
    Needs { utf8, binary: message.binary, require_tls: asks.require_tls, within }
}
