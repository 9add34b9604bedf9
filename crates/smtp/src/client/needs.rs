//! Compares what a message requires with what a receiver offers, before any command is sent.

use posthaste_mail::{Address, Failure, Reply, Stage};

use super::Connection;

/// What a message requires of its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// SMTPUTF8 (RFC 6531), because its sender or its header holds UTF-8, whatever the recipient.
    pub utf8: bool,
    /// 8BITMIME (RFC 6152), because it holds bytes above 127 and nobody wants it sent all the same.
    pub eight_bit: bool,
    /// Longer lines than SMTP has (RFC 5321 §4.5.3.1.6), which is refused here unless somebody wants it sent all the same.
    pub long_lines: bool,
    /// Mail of the last two kinds is encoded when it comes: why this one was not.
    pub not_encoded: Option<&'static str>,
    /// BDAT and BINARYMIME (RFC 3030), because its body is not made of lines.
    pub binary: bool,
    /// REQUIRETLS: verified TLS here and on every later hop (RFC 8689).
    pub require_tls: bool,
    /// DELIVERBY in return mode (RFC 2852, `R`): how many seconds are left.
    pub within: Option<i32>,
}

impl Connection {
    /// Why this receiver cannot get such a message for this recipient: a refusal generated here, at [`Stage::Mail`]. None if it can.
    pub fn lacks(&self, needs: Needs, recipient: &Address) -> Option<Failure> {
        let (can, tls) = (self.extensions(), self.tls());
        let reply = if needs.require_tls && tls.tls_verified != Some(true) {
            // RFC 8689 §4.2.1 and §8.
            Reply::new(
                550,
                "5.7.10 the message requires TLS, and the receiver has no certificate that proves its name (REQUIRETLS; not sent)",
            )
        } else if needs.require_tls && !can.require_tls {
            Reply::new(550, "5.7.30 the message requires TLS on its whole way, which the receiver does not promise (REQUIRETLS; not sent)")
        } else if (needs.utf8 || !recipient.is_ascii()) && !can.smtp_utf8 {
            // RFC 6531 §3.5.
            Reply::new(
                550,
                "5.6.7 the message has addresses or header fields in UTF-8, which the receiver does not take (SMTPUTF8; not sent)",
            )
        } else if needs.binary && !(can.chunking && can.binary_mime) {
            // RFC 3030 §3: a relay that cannot convert the message returns it.
            Reply::new(554, "5.6.1 the message holds bytes that are no lines, which the receiver does not take (BINARYMIME; not sent)")
        } else if needs.eight_bit && !needs.binary && !can.eight_bit_mime {
            // RFC 6152 §3: a client that does not convert the message returns it.
            let what = "the message holds 8-bit text, which the receiver does not take (8BITMIME; not sent)";
            Reply::new(554, format!("5.6.3 {what}. {}", remedy(needs, "in 7 bits")))
        } else if needs.long_lines && !needs.binary {
            let what = "the message holds a line of more than 998 bytes, which SMTP does not have (not sent)";
            Reply::new(554, format!("5.6.3 {what}. {}", remedy(needs, "in shorter lines")))
        } else if let Some(left) = needs.within {
            // RFC 2852 §4.1.4.
            return too_late(left, can.deliver_by).map(|reply| Failure::Refused { stage: Stage::Mail, reply });
        } else {
            return None;
        };
        Some(Failure::Refused { stage: Stage::Mail, reply })
    }
}

/// What would help a message that a receiver cannot take as it is.
fn remedy(needs: Needs, how: &str) -> String {
    if let Some(why) = needs.not_encoded {
        return format!("It cannot be encoded (limits.unfit_text = \"encode\"): {why}. Its sender can send it {how}");
    }
    format!("limits.unfit_text = \"encode\" sends such mail {how}, unless it is signed already")
}

/// The refusal for a message in DELIVERBY's return mode with `left` seconds left; `least` is the least by-time that the receiver accepts
/// (None: it does not offer DELIVERBY). With less than a second left no receiver may be given the message, whatever it offers: that ends no
/// recipient here, because whoever keeps the queue returns the message at its time.
fn too_late(left: i32, least: Option<u64>) -> Option<Reply> {
    if left < 1 {
        return Some(Reply::new(451, "4.4.7 the time within which it was to be delivered is over (DELIVERBY; not sent)"));
    }
    let text = match least {
        None => "5.4.7 it is to be delivered within a time, which the receiver does not promise (DELIVERBY; not sent)".to_owned(),
        Some(least) if u64::from(left.unsigned_abs()) < least => {
            format!("5.4.7 it is to be delivered within {left} s, and the receiver wants {least} s (DELIVERBY; not sent)")
        }
        Some(_) => return None,
    };
    Some(Reply::new(554, text))
}
