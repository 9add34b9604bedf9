//! What a client asked for a message beyond whom it is from and to: the parameters of ESMTP's extensions.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::TransferPriority;

/// What was asked for a whole message. The default asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asks {
    /// `SMTPUTF8` (RFC 6531): addresses and header may hold UTF-8.
    #[serde(skip_serializing_if = "is_default")]
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689): rather not at all than without verified TLS on every hop.
    #[serde(skip_serializing_if = "is_default")]
    pub require_tls: bool,
    /// `RET` (RFC 3461 §4.3).
    #[serde(skip_serializing_if = "is_default")]
    pub ret: Option<Ret>,
    /// `ENVID` (RFC 3461 §4.4), decoded: printable ASCII.
    #[serde(skip_serializing_if = "is_default")]
    pub envid: Option<Arc<str>>,
    /// `HOLDFOR` or `HOLDUNTIL` (RFC 4865).
    #[serde(skip_serializing_if = "is_default")]
    pub hold: Option<Hold>,
    /// `MT-PRIORITY` (RFC 6710), as far as it was granted.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: Option<TransferPriority>,
    /// What was asked for each recipient, by its place in the envelope; empty where nothing was.
    #[serde(skip_serializing_if = "is_default")]
    pub rcpts: Vec<RcptAsks>,
}

impl Asks {
    /// True where nothing was asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What was asked for the recipient at this place.
    pub fn rcpt(&self, place: usize) -> Option<&RcptAsks> {
        self.rcpts.get(place)
    }
}

/// What was asked for one recipient (RFC 3461).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RcptAsks {
    /// `NOTIFY`; None where nothing was said, which is as good as failure and delay.
    #[serde(skip_serializing_if = "is_default")]
    pub notify: Option<Notify>,
    /// `ORCPT`, decoded: `rfc822;address`, printable.
    #[serde(skip_serializing_if = "is_default")]
    pub orcpt: Option<Arc<str>>,
}

impl RcptAsks {
    /// Whether the sender is told when this recipient's story ends badly.
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|notify| notify.failure)
    }

    /// Whether the sender is told when it takes long: only where that was asked for (RFC 3461 §4.1 leaves the rest to us).
    pub fn wants_delay(&self) -> bool {
        self.notify.is_some_and(|notify| notify.delay)
    }

    /// Whether the sender is told when it ends well.
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(|notify| notify.success)
    }
}

/// When to write to the sender (RFC 3461 §4.1); none of the three is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notify {
    /// `SUCCESS`.
    #[serde(skip_serializing_if = "is_default")]
    pub success: bool,
    /// `FAILURE`.
    #[serde(skip_serializing_if = "is_default")]
    pub failure: bool,
    /// `DELAY`.
    #[serde(skip_serializing_if = "is_default")]
    pub delay: bool,
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let words: Vec<_> = words.into_iter().filter_map(|(on, word)| on.then_some(word)).collect();
        f.write_str(if words.is_empty() { "NEVER".to_owned() } else { words.join(",") }.as_str())
    }
}

/// How much of a message comes back with a failure notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Hdrs,
}

impl Ret {
    /// The word of the parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Hdrs => "HDRS",
        }
    }
}

/// Before when a message is not to be sent (RFC 4865 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// So many seconds after it was accepted.
    For(u32),
    /// This moment.
    Until(Timestamp),
}

impl Hold {
    /// The moment, of a message accepted at `arrived`.
    pub fn until(self, arrived: Timestamp) -> Timestamp {
        match self {
            Self::For(seconds) => arrived.saturating_add(jiff::SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX),
            Self::Until(at) => at,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_reads_back_and_nothing_takes_no_room() {
        let asks = Asks {
            ret: Some(Ret::Hdrs),
            hold: Some(Hold::Until("2030-01-01T00:00:00Z".parse().unwrap())),
            rcpts: vec![RcptAsks { notify: Some(Notify::default()), orcpt: Some("rfc822;a@b.c".into()) }],
            ..Asks::default()
        };
        let text = serde_json::to_string(&asks).unwrap();
        assert_eq!(serde_json::from_str::<Asks>(&text).unwrap(), asks);
        assert_eq!(serde_json::to_string(&Asks::default()).unwrap(), "{}");
    }

    #[test]
    fn never_is_not_the_same_as_nothing_said() {
        let never = RcptAsks { notify: Some(Notify::default()), orcpt: None };
        assert!(!never.wants_failure() && RcptAsks::default().wants_failure() && !RcptAsks::default().wants_success());
        assert_eq!(never.notify.unwrap().to_string(), "NEVER");
        assert_eq!(Notify { success: true, delay: true, failure: false }.to_string(), "SUCCESS,DELAY");
    }
}
