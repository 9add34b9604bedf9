//! What a message requires of its receiver.

use jiff::Timestamp;
use posthaste_mail::{Envelope, Otherwise};
use posthaste_message::MessageRecord;
use posthaste_smtp::client::Needs;

/// What a receiver must support to get the message, whoever the recipient is. An extension that the client asked for but the message does
/// not need is left out.
pub(crate) fn needs(message: &MessageRecord, now: Timestamp) -> Needs {
    let Envelope { reverse_path, parameters, .. } = &message.envelope;
    let utf8 = parameters.smtputf8 && (message.utf8_header || !reverse_path.as_str().is_ascii());
    let within = parameters.deliver_by.filter(|by| by.otherwise == Otherwise::Return).map(|by| by.left(message.arrived, now).seconds);
    Needs { utf8, binary: message.binary, require_tls: parameters.require_tls, within }
}
