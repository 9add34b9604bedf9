//! The message record: what the spool keeps of a message beside its body.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_mail::{
    Address, DeliverBy, Envelope, EsmtpParameters, MessageFacts, MessageId, Name, Otherwise, RcptParameters, ReversePath, TransferPriority,
};
use serde::{Deserialize, Serialize};

/// Most records take fewer bytes when they are stored.
const ENCODED_USUALLY: usize = 512;
/// The longest address that is surely none too long for any version that reads it, in bytes (RFC 5321 §4.5.3.1.3).
const ADDRESS_USUALLY: usize = 254;
/// What the allocator and a reference count take for each text, in bytes.
const ALLOCATION: usize = 32;
/// What a message takes beside its record and the bytes of its body: usually four parts with their reference counts, the relay's own header
/// lines, and the share of the budget.
const PARTS: usize = 700;

/// What the spool keeps of a message beside its body. It never changes after the message was stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MessageRecord {
    /// The id the client was told.
    pub id: MessageId,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Its stream.
    pub stream: Name,
    /// Tags for reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Arc<str>>,
    /// The application's own facts: `name=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meta: Vec<Arc<str>>,
    /// The Message-ID header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<Arc<str>>,
    /// The sender and the recipients.
    pub envelope: Envelope,
    /// Bytes as stored.
    pub size: u64,
    /// Whether the body has bytes above 127.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_8bit: bool,
    /// Whether its header holds UTF-8, as SMTPUTF8 allows (RFC 6531).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub utf8_header: bool,
    /// Whether it holds bytes that are no lines, as BINARYMIME allows (RFC 3030).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// The client's address; none for notices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<IpAddr>,
    /// What the client called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ehlo: Option<Arc<str>>,
    /// The user who submitted it, if the client logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The domain of the From field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_domain: Option<Arc<str>>,
    /// Whether a DKIM signature is aligned with it; None: there is no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aligned: Option<bool>,
    /// Whether it offers to unsubscribe by one click (RFC 8058).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_click: bool,
    /// For a failure notice: the message it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_of: Option<MessageId>,
    /// Why the guard holds it from its acceptance on, until it is released; None: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded: Option<Arc<str>>,
}

/// Why a record is not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotReadBack {
    /// What was encoded is no record.
    #[error("its envelope could not be read back from the spool: {0}")]
    Unreadable(serde_json::Error),
    /// What was encoded is another record.
    #[error("another envelope would be read back from the spool")]
    Differs,
}

impl MessageRecord {
    /// As stored, once it is certain that the same record is read back: nobody hears 250 for a message that could not be delivered, and
    /// whose end could not be written down.
    ///
    /// # Errors
    /// Another record would be read back, or none.
    pub fn encode(&self) -> Result<Bytes, NotReadBack> {
        let mut bytes = Vec::with_capacity(ENCODED_USUALLY);
        serde_json::to_writer(&mut bytes, self).expect("a record has nothing that JSON can't hold");
        if self.is_ordinary() {
            return Ok(bytes.into());
        }
        match Self::decode(&bytes) {
            Ok(back) if back == *self => Ok(bytes.into()),
            Ok(_) => Err(NotReadBack::Differs),
            Err(error) => Err(NotReadBack::Unreadable(error)),
        }
    }

    /// Whether it is read back the same for certain, because it holds no ESMTP parameters and only addresses that cannot be read otherwise. Whatever
    /// else is in it are numbers, and texts of which none is refused or changed.
    fn is_ordinary(&self) -> bool {
        let Envelope { reverse_path, recipients, parameters, .. } = &self.envelope;
        let from = match reverse_path {
            ReversePath::Null => true,
            ReversePath::Mailbox(address) => is_ordinary(address),
        };
        from && parameters.is_none() && recipients.iter().all(is_ordinary)
    }

    /// The bytes of memory that a message with this record takes while it is in memory, without its body: the record, the facts that its
    /// events repeat, and what the allocator and the queue add to both.
    pub fn memory(&self) -> usize {
        let own = [&self.message_id, &self.client_ehlo, &self.user, &self.from_domain, &self.guarded];
        let texts = self.tags.iter().chain(&self.meta).chain(own.into_iter().flatten());
        let texts: usize = texts.map(|text| ALLOCATION + text.len()).sum();
        let recipients: usize = self.envelope.recipients.iter().map(|rcpt| size_of_val(rcpt) + ALLOCATION + rcpt.as_str().len()).sum();
        let parameters = self.envelope.parameters.rcpts.len() * size_of::<RcptParameters>();
        size_of::<Self>() + size_of::<MessageFacts>() + texts + recipients + parameters + PARTS + self.envelope.reverse_path.as_str().len()
    }

    /// From the spool.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The time before which it is not sent; None if it is sent at once.
    pub fn held_until(&self) -> Option<Timestamp> {
        self.envelope.parameters.hold.map(|hold| hold.until(self.arrived)).filter(|until| *until > self.arrived)
    }

    /// Its priority among others of its stream.
    pub fn priority(&self) -> TransferPriority {
        self.envelope.parameters.priority.unwrap_or_default()
    }

    /// The ESMTP parameters with which it is offered for these recipients at `now`.
    pub fn parameters_for(&self, rcpts: &[u16], now: Timestamp) -> EsmtpParameters {
        let all = &self.envelope.parameters;
        let one = |rcpt: &u16| all.rcpt(usize::from(*rcpt)).cloned().unwrap_or_default();
        let rcpts = if all.rcpts.is_empty() { Vec::new() } else { rcpts.iter().map(one).collect() };
        let deliver_by = all.deliver_by.map(|by| by.left(self.arrived, now));
        EsmtpParameters { rcpts, ret: all.ret, envid: all.envid.clone(), deliver_by, priority: all.priority, ..EsmtpParameters::default() }
    }

    /// The time by which the sender wanted it delivered (RFC 2852), and what happens then.
    pub fn deliver_by(&self) -> Option<(Timestamp, DeliverBy)> {
        self.envelope.parameters.deliver_by.map(|by| (by.at(self.arrived), by))
    }

    /// When it is returned because it was not delivered by the time that its sender gave.
    pub fn returned_at(&self) -> Option<Timestamp> {
        self.deliver_by().filter(|(_, by)| by.otherwise == Otherwise::Return).map(|(at, _)| at)
    }

    /// When the sender is told that it was not delivered by then, while delivery goes on. If that time had passed when the message came, an
    /// earlier host has told the sender.
    pub fn late_at(&self) -> Option<Timestamp> {
        self.deliver_by().filter(|(_, by)| by.otherwise == Otherwise::Notify && by.seconds > 0).map(|(at, _)| at)
    }

    /// Whether the sender is told that the time passed without a delivery to this recipient.
    pub fn tells_lateness(&self, rcpt: u16) -> bool {
        self.envelope.parameters.rcpt(usize::from(rcpt)).is_none_or(RcptParameters::wants_lateness)
    }

    /// Whether the sender wants no notice at all about this recipient.
    pub fn tells_nothing(&self, rcpt: u16) -> bool {
        self.envelope.parameters.rcpt(usize::from(rcpt)).is_some_and(RcptParameters::is_never)
    }

    /// Whether the sender is told of a failed delivery to this recipient (RFC 3461 §4.1).
    pub fn tells_failure(&self, rcpt: u16) -> bool {
        self.envelope.parameters.rcpt(usize::from(rcpt)).is_none_or(RcptParameters::wants_failure)
    }

    /// Whether the sender is told of a delay.
    pub fn tells_delay(&self, rcpt: u16) -> bool {
        self.envelope.parameters.rcpt(usize::from(rcpt)).is_some_and(RcptParameters::wants_delay)
    }

    /// The time from which its age counts.
    pub fn begins(&self) -> Timestamp {
        self.held_until().unwrap_or(self.arrived)
    }

    /// Whether the sender is told of a successful delivery, unless the receiver will tell.
    pub fn tells_success(&self, rcpt: u16) -> bool {
        self.envelope.parameters.rcpt(usize::from(rcpt)).is_some_and(RcptParameters::wants_success)
    }
}

/// Whether an address is ASCII letters, digits and few signs, with a domain of names in lower case: nothing of it is put into another form when it is
/// read.
fn is_ordinary(address: &Address) -> bool {
    let (local, domain) = (address.local(), address.domain());
    let in_local = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-' | b'=');
    let in_label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(in_label) && !label.starts_with('-') && !label.ends_with('-');
    address.as_str().len() <= ADDRESS_USUALLY
        && local.starts_with(|c: char| c.is_ascii_alphanumeric())
        && local.bytes().all(in_local)
        && domain.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = Address> {
        let local = prop_oneof![4 => "[A-Za-z0-9]([A-Za-z0-9.+_=-]{0,20})", 1 => "[!-~\u{e4}\u{65e5}]{1,20}", 1 => "[a-z]{200,300}", 1 => "\"[ -~]{0,9}\""];
        let domain = prop_oneof![4 => "[A-Za-z0-9-]{1,9}(\\.[A-Za-z0-9-]{1,9}){0,3}", 1 => "[A-Za-z0-9\u{e4}\u{df}.\\[\\]:_-]{1,20}"];
        (local, domain).prop_filter_map("an address", |(local, domain)| Address::international(&format!("{local}@{domain}")).ok())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn whatever_is_encoded_is_read_back_whether_that_is_tried_or_known(
            from in prop::option::of(address()), recipients in prop::collection::vec(address(), 1..4),
            texts in prop::collection::vec(".{0,20}", 0..4), ns in 0..4_000_000_000_000_000_000_i64, numbers: (u64, u128, u32, bool, bool, bool),
            held: bool,
        ) {
            let texts: Vec<Arc<str>> = texts.into_iter().map(Into::into).collect();
            let reverse_path = from.map_or(ReversePath::Null, ReversePath::Mailbox);
            let mut envelope = Envelope::new(reverse_path, recipients);
            let at = Timestamp::from_nanosecond(ns.into()).unwrap();
            envelope.parameters.hold = held.then_some(posthaste_mail::Hold::Until(at));
            let record = MessageRecord {
                id: MessageId::new(at, numbers.1),
                arrived: at,
                stream: Name::new("default").unwrap(),
                tags: texts.clone(),
                meta: texts.clone(),
                message_id: texts.first().cloned(),
                envelope,
                size: numbers.0,
                has_8bit: numbers.3,
                utf8_header: numbers.4,
                binary: numbers.5,
                client_ip: Some(IpAddr::from(numbers.2.to_be_bytes())),
                client_ehlo: texts.last().cloned(),
                user: texts.first().cloned(),
                from_domain: texts.last().cloned(),
                aligned: (numbers.3 || numbers.4).then_some(numbers.5),
                one_click: numbers.4,
                notice_of: numbers.3.then_some(MessageId::new(at, numbers.1 >> 1)),
                guarded: texts.last().cloned(),
            };
            prop_assert_eq!(MessageRecord::decode(&record.encode().unwrap()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_read_back_for_certain_needs_no_trial() {
        for (text, ordinary) in [
            ("a@b.test", true),
            ("Ann.Doe+tag=x_y-z@mail-1.b.test", true),
            (&format!("{}@b.test", "a".repeat(250)), false),
            (".a@b.test", false),
            ("\"a\"@b.test", false),
            ("\u{e4}@b.test", false),
            ("a@[192.0.2.1]", false),
            ("a@_x.test", false),
        ] {
            assert_eq!(is_ordinary(&Address::international(text).unwrap()), ordinary, "{text}");
        }
    }
}
