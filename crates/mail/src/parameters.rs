//! The ESMTP parameters of a message and its recipients, as the client gave them in MAIL and RCPT.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::TransferPriority;

/// The ESMTP parameters of a whole message. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EsmtpParameters {
    /// `SMTPUTF8` (RFC 6531): addresses and header may contain UTF-8.
    #[serde(skip_serializing_if = "is_default")]
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689): the message is not delivered without verified TLS on every hop.
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
    /// `BY` (RFC 2852).
    #[serde(skip_serializing_if = "is_default")]
    pub deliver_by: Option<DeliverBy>,
    /// `MT-PRIORITY` (RFC 6710), as granted.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: Option<TransferPriority>,
    /// The parameters of each recipient, by its place in the envelope; empty if there are none.
    #[serde(skip_serializing_if = "is_default")]
    pub rcpts: Vec<RcptParameters>,
}

impl EsmtpParameters {
    /// True if there are no parameters.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The parameters of the recipient at this place in the envelope.
    pub fn rcpt(&self, place: usize) -> Option<&RcptParameters> {
        self.rcpts.get(place)
    }
}

/// The ESMTP parameters of one recipient (RFC 3461).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RcptParameters {
    /// `NOTIFY`; `None` if it was not given, which means the same as failure and delay.
    #[serde(skip_serializing_if = "is_default")]
    pub notify: Option<Notify>,
    /// `ORCPT`, decoded: `rfc822;address`, printable.
    #[serde(skip_serializing_if = "is_default")]
    pub orcpt: Option<Arc<str>>,
}

impl RcptParameters {
    /// Whether the sender is told of a failure.
    pub fn wants_failure(&self) -> bool {
        self.notify.is_none_or(|notify| notify.failure)
    }

    /// Whether the sender is told that the time of its `BY` (RFC 2852, mode `N`) has passed: unless its `NOTIFY` leaves out delay.
    pub fn wants_lateness(&self) -> bool {
        self.notify.is_none_or(|notify| notify.delay)
    }

    /// Whether the sender is told nothing at all: `NEVER`.
    pub fn is_never(&self) -> bool {
        self.notify == Some(Notify::default())
    }

    /// Whether the sender is told of a delay: only if it asked for that (without `NOTIFY`, RFC 3461 §4.1 leaves the choice to the relay).
    pub fn wants_delay(&self) -> bool {
        self.notify.is_some_and(|notify| notify.delay)
    }

    /// Whether the sender is told of the delivery.
    pub fn wants_success(&self) -> bool {
        self.notify.is_some_and(|notify| notify.success)
    }
}

/// What the sender is told of (RFC 3461 §4.1). With none of the three it is `NEVER`.
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

/// How much of the message a failure notice returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Hdrs,
}

impl Ret {
    /// The value of the parameter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Hdrs => "HDRS",
        }
    }
}

/// The time before which a message is not sent (RFC 4865 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// This many seconds after the message was accepted.
    For(u32),
    /// This time.
    Until(Timestamp),
}

impl Hold {
    /// The time until which a message accepted at `arrived` is held.
    pub fn until(self, arrived: Timestamp) -> Timestamp {
        match self {
            Self::For(seconds) => arrived.saturating_add(jiff::SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX),
            Self::Until(at) => at,
        }
    }
}

/// The time within which a message is to be delivered, and what happens otherwise (RFC 2852 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliverBy {
    /// Seconds after the message was accepted, at most nine digits. Below 1 the time has passed, which only [`Otherwise::Notify`] allows.
    pub seconds: i32,
    /// What happens after that time.
    pub otherwise: Otherwise,
    /// `T`: the sender is told of every relay on the way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trace: bool,
}

/// What happens to a message whose time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// `R`: the relay gives it up and returns it.
    Return,
    /// `N`: the sender is told, and delivery goes on.
    Notify,
}

impl DeliverBy {
    /// RFC 2852 §4: nine digits.
    const SECONDS_MAX: i32 = 999_999_999;

    /// Reads the value of the parameter, such as `120;R` or `-5;NT`; `None` if it is invalid.
    pub fn parse(value: &str) -> Option<Self> {
        let (time, mode) = value.split_once(';')?;
        let digits = time.strip_prefix(['+', '-']).unwrap_or(time);
        if !(1..=9).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let seconds = time.parse().ok()?;
        let (otherwise, trace) = match mode.to_ascii_uppercase().as_str() {
            "R" => (Otherwise::Return, false),
            "RT" => (Otherwise::Return, true),
            "N" => (Otherwise::Notify, false),
            "NT" => (Otherwise::Notify, true),
            _ => return None,
        };
        (seconds > 0 || otherwise == Otherwise::Notify).then_some(Self { seconds, otherwise, trace })
    }

    /// The time by which a message accepted at `arrived` is to be delivered.
    pub fn at(self, arrived: Timestamp) -> Timestamp {
        arrived.saturating_add(jiff::SignedDuration::from_secs(self.seconds.into())).unwrap_or(Timestamp::MAX)
    }

    /// The parameter for the next relay at `now`: the time that is left, rounded down.
    #[must_use]
    pub fn left(self, arrived: Timestamp, now: Timestamp) -> Self {
        let left = self.at(arrived).duration_since(now).as_millis().div_euclid(1000);
        let most = i128::from(Self::SECONDS_MAX);
        Self { seconds: i32::try_from(left.clamp(-most, most)).expect("nine digits fit"), ..self }
    }
}

impl fmt::Display for DeliverBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.otherwise {
            Otherwise::Return => "R",
            Otherwise::Notify => "N",
        };
        write!(f, "{};{mode}{}", self.seconds, if self.trace { "T" } else { "" })
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
        let parameters = EsmtpParameters {
            ret: Some(Ret::Hdrs),
            hold: Some(Hold::Until("2030-01-01T00:00:00Z".parse().unwrap())),
            deliver_by: DeliverBy::parse("-120;nt"),
            rcpts: vec![RcptParameters { notify: Some(Notify::default()), orcpt: Some("rfc822;a@b.c".into()) }],
            ..EsmtpParameters::default()
        };
        let text = serde_json::to_string(&parameters).unwrap();
        assert_eq!(serde_json::from_str::<EsmtpParameters>(&text).unwrap(), parameters);
        assert_eq!(serde_json::to_string(&EsmtpParameters::default()).unwrap(), "{}");
    }

    #[test]
    fn a_time_to_deliver_by_is_seconds_and_a_mode_and_counts_down() {
        for good in ["1;R", "999999999;RT", "0;N", "-999999999;NT"] {
            assert_eq!(DeliverBy::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(DeliverBy::parse("+0007;rt").unwrap().to_string(), "7;RT");
        for bad in ["", "1", ";R", "1;", "1;T", "1;TR", "1;X", "0;R", "-1;R", "+-1;N", "--1;N", "1000000000;N", "1.5;N", " 1;N", "1;R;N"] {
            assert_eq!(DeliverBy::parse(bad), None, "{bad}");
        }
        let arrived: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let left = |by: &str, now: &str| DeliverBy::parse(by).unwrap().left(arrived, now.parse().unwrap()).to_string();
        assert_eq!(left("120;R", "2026-11-24T10:00:30.001Z"), "89;R");
        assert_eq!(left("120;N", "2026-11-24T10:02:00.001Z"), "-1;N");
        assert_eq!(left("-999999999;N", "2026-11-25T10:00:00Z"), "-999999999;N");
    }

    #[test]
    fn never_is_not_the_same_as_nothing_said() {
        let never = RcptParameters { notify: Some(Notify::default()), orcpt: None };
        assert!(!never.wants_failure() && RcptParameters::default().wants_failure() && !RcptParameters::default().wants_success());
        assert_eq!(never.notify.unwrap().to_string(), "NEVER");
        assert_eq!(Notify { success: true, delay: true, failure: false }.to_string(), "SUCCESS,DELAY");
    }
}
