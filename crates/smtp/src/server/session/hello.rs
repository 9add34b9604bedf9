//! The reply to EHLO and HELO: the server's name and the extensions.

use super::{Hello, Session};
use crate::server::{SessionSettings, answer, sasl::Mechanism};

impl Session {
    /// RFC 5321 §4.1.4: EHLO also does what RSET does.
    pub(super) fn be_greeted(&mut self, hello: Hello, out: &mut Vec<u8>) {
        self.transaction = None;
        let text = if hello.esmtp { self.announcement() } else { self.settings.hostname.clone() };
        answer::write(out, 250, None, &text);
        self.hello = Some(hello);
    }

    /// The lines of the reply to EHLO, as they apply at this moment.
    fn announcement(&self) -> String {
        let SessionSettings { hostname, limits, offers, .. } = &*self.settings;
        let mut text =
            format!("{hostname}\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nCHUNKING\nBINARYMIME\nDSN\nDELIVERBY", limits.message_size);
        // RFC 9422 §4: announces the limits whose excess gets 452 or 421.
        text += "\nLIMITS";
        if limits.messages > 0 {
            text += &format!(" MAILMAX={}", limits.messages);
        }
        text += &format!(" RCPTMAX={}\nENHANCEDSTATUSCODES", limits.recipients);
        let offered = offers.at(self.tls.as_ref(), self.began);
        if let Some(hold) = offered.hold {
            text += &format!("\nFUTURERELEASE {} {:.0}", hold.seconds, hold.until);
        }
        if offered.priority {
            text += "\nMT-PRIORITY";
        }
        if offered.require_tls {
            text += "\nREQUIRETLS";
        }
        if offers.starttls && self.tls.is_none() {
            text += "\nSTARTTLS";
        }
        if offered.auth {
            let mechanisms: Vec<_> = offers.mechanisms(self.tls.as_ref()).map(Mechanism::name).collect();
            text += "\nAUTH ";
            text += &mechanisms.join(" ");
        }
        text
    }
}
