//! What a failure means, whose problem it is, and what to do about it: the words that classifier, queue and log share.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// All values, in the order of their definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used in the log, in rules and in `--json` output.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            /// Reads the word, with underscores or hyphens.
            fn from_str(text: &str) -> Result<Self, String> {
                let word = text.replace('-', "_");
                Self::ALL.iter().copied().find(|c| c.as_str() == word).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|c| c.as_str()).collect();
                    format!("{text:?} is none of: {}", all.join(", "))
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a refusal means.
    Class {
        /// There is no such mailbox.
        InvalidRecipient = "invalid_recipient",
        /// The mailbox exists but is disabled, suspended or expired.
        InactiveMailbox = "inactive_mailbox",
        /// The domain does not exist or accepts no mail.
        BadDomain = "bad_domain",
        /// The mailbox is over its quota.
        MailboxFull = "mailbox_full",
        /// The message is larger than the receiver accepts.
        MessageTooLarge = "message_too_large",
        /// The content, a link or an attachment was judged unwanted.
        SpamContent = "spam_content",
        /// The sending address is on a block list or has a low reputation.
        IpReputation = "ip_reputation",
        /// SPF, DKIM, DMARC, reverse DNS or a local policy of the receiver.
        PolicyAuth = "policy_auth",
        /// Too many messages, connections or recipients for now.
        RateLimited = "rate_limited",
        /// The receiver asks unknown senders to try again later (RFC 6647).
        Greylisting = "greylisting",
        /// The receiver did not accept a command, or spoke no SMTP.
        ProtocolError = "protocol_error",
        /// DNS gave no answer, or the receiver's DNS is broken.
        DnsFailure = "dns_failure",
        /// There was no connection, or it broke.
        ConnectionFailure = "connection_failure",
        /// TLS was required and not available.
        TlsFailure = "tls_failure",
        /// The receiver does not accept mail for this domain.
        RelayingDenied = "relaying_denied",
        /// A vacation note or another automatic reply; not a bounce.
        AutoReply = "auto_reply",
        /// A temporary failure for an unknown reason or none of the above.
        TransientOther = "transient_other",
    }
}

words! {
    /// Whose problem it is: what the failure is about.
    Scope {
        /// This mailbox.
        Recipient = "recipient",
        /// This message's content or size.
        Message = "message",
        /// The sender's domain: its authentication or its reputation.
        SenderDomain = "sender_domain",
        /// The sending address.
        SourceIp = "source_ip",
        /// This sending address at this provider.
        Lane = "lane",
        /// The receiving domain or its servers.
        Provider = "provider",
        /// This host: configuration, network, disk.
        Local = "local",
    }
}

words! {
    /// What to do about it.
    Action {
        /// Do not send to the address again.
        Suppress = "suppress",
        /// Try again on the retry schedule.
        Retry = "retry",
        /// Try again, and slow this lane down.
        SlowDown = "slow_down",
        /// Pause this lane.
        PauseLane = "pause_lane",
        /// An operator has to fix DNS, authentication, names or settings.
        FixConfiguration = "fix_configuration",
        /// The sender has to change the message.
        FixMessage = "fix_message",
        /// Nothing.
        None = "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_with_either_dash() {
        for class in Class::ALL {
            assert_eq!(class.as_str().parse::<Class>(), Ok(*class));
            assert_eq!(class.as_str().replace('_', "-").parse::<Class>(), Ok(*class));
            assert_eq!(serde_json::to_string(class).unwrap(), format!("{:?}", class.as_str()));
        }
        assert!("nonsense".parse::<Class>().unwrap_err().contains("rate_limited"));
    }
}
