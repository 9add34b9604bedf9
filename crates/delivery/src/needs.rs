//! What a message requires of its receiver.

use jiff::Timestamp;
use posthaste_mail::{Envelope, Otherwise};
use posthaste_message::{
    Message,
    recode::{has_long_line, hindrance},
};
use posthaste_smtp::client::Needs;

use crate::settings::Unfit;

/// What a receiver must support to get the message, whoever the recipient is. An extension that the client asked for but the message does
/// not need is left out.
pub(crate) fn needs(message: &Message, unfit: Unfit, now: Timestamp) -> Needs {
    let (body, message) = (&message.body, &message.record);
    let Envelope { reverse_path, parameters, .. } = &message.envelope;
    let utf8 = parameters.smtputf8 && (message.utf8_header || !reverse_path.as_str().is_ascii());
    let within = parameters.deliver_by.filter(|by| by.otherwise == Otherwise::Return).map(|by| by.left(message.arrived, now).seconds);
    // A notice that bounces is lost: the receiver decides about it.
    let as_it_is = unfit == Unfit::IsSent || reverse_path.as_str().is_empty();
    let eight_bit = message.has_8bit && !as_it_is;
    let long_lines = !as_it_is && !message.binary && has_long_line(body);
    // Rare, because what can be encoded is.
    let is_left = unfit == Unfit::IsEncoded && !message.binary && (eight_bit || long_lines);
    Needs {
        utf8,
        eight_bit,
        long_lines,
        not_encoded: is_left.then(|| hindrance(&body.concat()).reason()),
        binary: message.binary,
        require_tls: parameters.require_tls,
        within,
    }
}
