//! The parameters of MAIL and RCPT.

use std::{fmt::Write as _, io::Write as _};

use posthaste_mail::RcptParameters;

use super::{Extensions, Transaction};

/// Appends the parameters that the receiver understands. Writing to a Vec cannot fail.
pub(super) fn mail_parameters(out: &mut Vec<u8>, message: &Transaction<'_>, can: &Extensions) {
    let parameters = message.parameters;
    let utf8 = message.needs.utf8 || message.recipients.iter().any(|recipient| !recipient.is_ascii());
    if utf8 && can.smtp_utf8 {
        out.extend_from_slice(b" SMTPUTF8");
    }
    if message.needs.require_tls {
        out.extend_from_slice(b" REQUIRETLS");
    }
    if let Some(priority) = parameters.priority.filter(|_| can.priority) {
        let _ = write!(out, " MT-PRIORITY={priority}");
    }
    if let Some(by) = parameters.deliver_by.filter(|_| can.deliver_by.is_some()) {
        let _ = write!(out, " BY={by}");
    }
    if can.dsn {
        if let Some(ret) = parameters.ret {
            let _ = write!(out, " RET={}", ret.as_str());
        }
        if let Some(envid) = &parameters.envid {
            let _ = write!(out, " ENVID={}", xtext(envid));
        }
    }
}

pub(super) fn rcpt_parameters(out: &mut Vec<u8>, parameters: &RcptParameters) {
    if let Some(notify) = parameters.notify {
        let _ = write!(out, " NOTIFY={notify}");
    }
    if let Some((kind, address)) = parameters.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
        // RFC 6533 §3: a utf-8 address arrives encoded and is passed on as it is.
        let address = if kind.eq_ignore_ascii_case("utf-8") { address.to_owned() } else { xtext(address) };
        let _ = write!(out, " ORCPT={kind};{address}");
    }
}

/// RFC 3461 §4.
fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b'!'..=b'~') && !b"+=".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "+{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_ascii_without_blanks_plus_and_equals() {
        assert_eq!(xtext("QQ+314=1 a"), "QQ+2B314+3D1+20a");
        let mut out = Vec::new();
        rcpt_parameters(&mut out, &RcptParameters { notify: Some(Default::default()), orcpt: Some("rfc822;a+b@c.d".into()) });
        assert_eq!(out, b" NOTIFY=NEVER ORCPT=rfc822;a+2Bb@c.d");
    }
}
