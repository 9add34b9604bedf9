//! The optional extensions that a listener offers.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use posthaste_mail::Address;

use super::{Bindings, sasl::Mechanism};

/// The longest hold in seconds. RFC 4865 §3: the interval has nine digits.
const HOLD_MAX: u64 = 999_999_999;

/// The optional extensions that the sessions of a listener offer.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    /// A certificate is configured: STARTTLS is offered while TLS is off.
    pub starttls: bool,
    /// Mail is accepted only under TLS (else 530 5.7.0).
    pub tls_required: bool,
    /// The login mechanisms in the order announced. -PLUS is announced only if TLS provides a channel binding.
    pub auth: Vec<Mechanism>,
    /// Whether AUTH is offered without TLS too; passwords may then cross the network in clear.
    pub auth_in_clear: bool,
    /// How long a message may be held (FUTURERELEASE, RFC 4865); None: not offered.
    pub hold: Option<Duration>,
    /// Whether MT-PRIORITY (RFC 6710) is offered.
    pub priority: bool,
    /// What to do about a bare CR or LF in a message, and a bare LF at the end of a command.
    pub bare_line_ends: BareLineEnds,
    /// Whether a name in EHLO that is none and an address without its angle brackets are taken, as other mail systems take them from their own
    /// clients: scanners, UPS boards and machines with umlauts in their names cannot be taught.
    pub lenient: bool,
    /// The listener's table in the configuration, such as `listen.app`, so that a reply can name the key that would help; empty: no reply does.
    pub table: String,
    /// Who gets mail to `<postmaster>` without a domain (RFC 5321 §4.5.1); None: it is refused.
    pub postmaster: Option<Arc<Address>>,
}

/// What to do about a bare CR or LF. Neither ends a message, unless it is fixed and the client has sent no CRLF at all: whoever passes on the
/// lines of others speaks CRLF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareLineEnds {
    /// Refuse the message or the command.
    #[default]
    Refuse,
    /// Take it for CRLF, for applications that cannot be corrected.
    Fix,
}

/// What a client may use at this moment.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) auth: bool,
    pub(super) require_tls: bool,
    pub(super) hold: Option<HoldBounds>,
    pub(super) priority: bool,
    pub(super) lenient: bool,
    pub(super) postmaster: Option<Arc<Address>>,
}

/// The limits that FUTURERELEASE announces (RFC 4865 §3).
#[derive(Clone, Debug)]
pub(super) struct HoldBounds {
    pub(super) seconds: u64,
    pub(super) until: Timestamp,
}

impl Offers {
    /// `began`: the start of the session; by the time of a command the limits may be slightly narrower than necessary.
    pub(super) fn at(&self, tls: Option<&Bindings>, began: Timestamp) -> Offered {
        let hold = self.hold.map(|max| {
            let seconds = max.as_secs().min(HOLD_MAX);
            let until = began.checked_add(SignedDuration::from_secs(seconds.cast_signed())).unwrap_or(Timestamp::MAX);
            HoldBounds { seconds, until }
        });
        // RFC 8689 §2: REQUIRETLS is offered under TLS only.
        Offered {
            auth: self.mechanisms(tls).next().is_some(),
            require_tls: tls.is_some(),
            hold,
            priority: self.priority,
            lenient: self.lenient,
            postmaster: self.postmaster.clone(),
        }
    }

    /// The mechanisms to announce for a session with these TLS bindings; none if AUTH is not offered at present.
    pub(super) fn mechanisms(&self, tls: Option<&Bindings>) -> impl Iterator<Item = Mechanism> {
        let open = tls.is_some() || self.auth_in_clear;
        let bound = tls.is_some_and(Bindings::any);
        self.auth.iter().copied().filter(move |mechanism| open && (bound || *mechanism != Mechanism::ScramSha256Plus))
    }
}
