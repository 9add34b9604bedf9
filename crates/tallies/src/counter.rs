//! What is counted.

use posthaste_mail::Class;

use crate::Time;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal;)*) => {
        /// What a line counts as, whatever its class.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Counter { $($(#[$doc])* $name = $number,)* }

        impl Counter {
            /// All of them, in the order of a message's life.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word for it in reports and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

// The numbers stand in the database: they are never given to something else.
counters! {
    /// Recipients that were accepted.
    Accepted = 0, "accepted";
    /// Refusals at the door. One about a message with many recipients is one.
    Rejected = 1, "rejected";
    /// Attempts to deliver, by recipient.
    Attempts = 2, "attempts";
    /// The first attempt of each recipient.
    FirstAttempts = 3, "first_attempts";
    /// Recipients whose receiver took the message.
    Delivered = 4, "delivered";
    /// Failures for now, by recipient; a recipient may be deferred many times.
    Deferred = 5, "deferred";
    /// Recipients that were refused for good.
    Bounced = 6, "bounced";
    /// Recipients given up because the message was too old.
    Expired = 7, "expired";
    /// Recipients that were not written to, because they are on the suppression list.
    Suppressed = 8, "suppressed";
    /// Recipients that an operator or a user removed.
    Cancelled = 9, "cancelled";
    /// Times at which a recipient began to wait for something that an operator can change.
    Held = 10, "held";
    /// Bounces that came back after a delivery, when they came back. The recipient was finished before; [`crate::Cell::settled`] takes its delivery
    /// for bounced.
    LateBounced = 11, "late_bounced";
    /// Complaints that came back.
    Complained = 12, "complained";
    /// Opens by people.
    Opened = 13, "opened";
    /// Clicks by people.
    Clicked = 14, "clicked";
    /// Unsubscriptions.
    Unsubscribed = 15, "unsubscribed";
    /// Opens by machines, which fetch what a message shows before anybody reads it.
    OpenedByMachine = 16, "opened_by_machine";
    /// Clicks by machines.
    ClickedByMachine = 17, "clicked_by_machine";
    /// Bytes that receivers took.
    BytesDelivered = 18, "bytes_delivered";
    /// Deliveries under TLS.
    DeliveredTls = 19, "delivered_tls";
    /// Deliveries under TLS to a host whose certificate was verified.
    DeliveredTlsVerified = 20, "delivered_tls_verified";
    /// Deliveries with a DKIM signature of the From field's domain.
    DkimAligned = 21, "dkim_aligned";
    /// Deliveries whose source the reverse-path's domain allows by SPF.
    SpfPassed = 22, "spf_passed";
    /// Deliveries of which is known whether SPF allows them.
    SpfKnown = 23, "spf_known";
    /// Deliveries whose From domain has a DMARC record.
    DmarcPublished = 24, "dmarc_published";
    /// Deliveries of which is known whether there is one.
    DmarcKnown = 25, "dmarc_known";
    /// Deliveries with List-Unsubscribe and List-Unsubscribe-Post (RFC 8058).
    OneClick = 26, "one_click";
    /// Reports that came back and belong to no message: bounces.
    BouncesUnmatched = 27, "bounces_unmatched";
    /// Reports that came back and belong to no message: complaints.
    ComplaintsUnmatched = 28, "complaints_unmatched";
    /// Refusals that no rule of the classifier knows.
    UnknownReplies = 29, "unknown_replies";
    /// Deliveries whose From field's domain is known.
    FromKnown = 30, "from_known";
}

/// What a line counts as by its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ByClass {
    /// Failures for now.
    Deferred = 1,
    /// Refusals for good.
    Bounced = 2,
    /// Given up after this.
    Expired = 3,
    /// Came back after a delivery.
    LateBounced = 4,
    /// Failures for now at the first attempt.
    FirstDeferred = 5,
}

impl ByClass {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Deferred, Self::Bounced, Self::Expired, Self::LateBounced, Self::FirstDeferred];

    /// The word for it in reports and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Bounced => "bounced",
            Self::Expired => "expired",
            Self::LateBounced => "late_bounced",
            Self::FirstDeferred => "first_deferred",
        }
    }
}

/// One thing that is counted, as the number under which it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Count(pub(crate) u16);

impl From<Counter> for Count {
    fn from(counter: Counter) -> Self {
        Self(counter as u16)
    }
}

impl From<(ByClass, Class)> for Count {
    fn from((by, class): (ByClass, Class)) -> Self {
        Self(256 * by as u16 + number(class))
    }
}

/// The bounds of the buckets into which times since the start of all counting are sorted, in milliseconds: a second to five days, and what lies
/// below for the stages of an attempt.
const TIME_BOUNDS_MS: [u64; 16] = [
    10,
    50,
    100,
    500,
    1_000,
    5_000,
    15_000,
    60_000,
    300_000,
    900_000,
    3_600_000,
    14_400_000,
    43_200_000,
    86_400_000,
    172_800_000,
    432_000_000,
];

/// The bounds of the buckets into which the sizes of delivered messages are sorted, in bytes.
const SIZE_BOUNDS: [u64; 8] = [1_000, 5_000, 20_000, 100_000, 500_000, 2_000_000, 10_000_000, 50_000_000];

/// A histogram: each bucket counts what is not above its bound and above the one before; the last one has no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Histogram {
    /// Of times.
    Of(Time),
    /// Of the sizes of delivered messages.
    Size,
}

impl Histogram {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Of(Time::Delivery),
        Self::Of(Time::Wait),
        Self::Of(Time::Connect),
        Self::Of(Time::Tls),
        Self::Of(Time::Dialogue),
        Self::Size,
    ];

    /// The upper bounds of its buckets but the last: milliseconds or bytes.
    pub fn bounds(self) -> &'static [u64] {
        match self {
            Self::Of(_) => &TIME_BOUNDS_MS,
            Self::Size => &SIZE_BOUNDS,
        }
    }

    /// What counts a bucket; the last one is that of what lies above all bounds.
    pub fn bucket(self, place: usize) -> Count {
        Count(self.base() + place.min(BUCKETS_MAX) as u16)
    }

    /// What counts the sum of what was measured.
    pub fn sum(self) -> Count {
        Count(self.base() + BUCKETS_MAX as u16 + 1)
    }

    /// The bucket of a value.
    pub(crate) fn bucket_of(self, value: u64) -> Count {
        self.bucket(self.bounds().partition_point(|bound| *bound < value))
    }

    fn base(self) -> u16 {
        let number = match self {
            Self::Of(time) => time as u16,
            Self::Size => 15,
        };
        0x8000 + number * 64
    }
}

/// No histogram has more buckets with a bound.
const BUCKETS_MAX: usize = 32;

/// A class's number in the database, which stays the same whatever is added to [`Class`].
fn number(class: Class) -> u16 {
    match class {
        Class::InvalidRecipient => 0,
        Class::InactiveMailbox => 1,
        Class::BadDomain => 2,
        Class::MailboxFull => 3,
        Class::MessageTooLarge => 4,
        Class::SpamContent => 5,
        Class::IpReputation => 6,
        Class::PolicyAuth => 7,
        Class::RateLimited => 8,
        Class::Greylisting => 9,
        Class::ProtocolError => 10,
        Class::DnsFailure => 11,
        Class::ConnectionFailure => 12,
        Class::TlsFailure => 13,
        Class::RelayingDenied => 14,
        Class::AutoReply => 15,
        Class::TransientOther => 16,
    }
}
