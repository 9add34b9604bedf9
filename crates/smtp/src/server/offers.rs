//! What a listener offers beyond the plain protocol, and how its session is protected.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Bindings, sasl::Mechanism};

/// RFC 4865 §3: the interval has nine digits.
const HOLD_MAX: u64 = 999_999_999;

/// What the sessions of one listener offer.
#[derive(Clone, Debug, Default)]
pub struct Offers {
    /// A certificate is there: STARTTLS is offered where TLS is not on from the start.
    pub starttls: bool,
    /// Nothing is taken before TLS is on (530 5.7.0).
    pub tls_required: bool,
    /// The ways to log in, in the order in which they are announced. -PLUS is announced only where TLS gives what it binds to.
    pub auth: Vec<Mechanism>,
    /// Whether AUTH is offered without TLS too: passwords then go over the wire as they are.
    pub auth_in_clear: bool,
    /// How long a message may be held back (FUTURERELEASE, RFC 4865); None: not at all.
    pub hold: Option<Duration>,
    /// Whether a message's priority may be asked for (MT-PRIORITY, RFC 6710).
    pub priority: bool,
    /// What is done about a CR or LF that stands alone in a message.
    pub bare_line_ends: BareLineEnds,
}

/// What is done about a CR or LF that stands alone in a message. Neither ever ends one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareLineEnds {
    /// The message is refused.
    #[default]
    Refuse,
    /// It becomes CRLF: for applications that cannot be taught.
    Fix,
}

/// What a client may ask for at this moment.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) auth: bool,
    pub(super) require_tls: bool,
    pub(super) hold: Option<HoldBounds>,
    pub(super) priority: bool,
}

/// The bounds of RFC 4865 §3.
#[derive(Clone, Debug)]
pub(super) struct HoldBounds {
    pub(super) seconds: u64,
    pub(super) until: Timestamp,
}

impl Offers {
    /// `began`: when the session did; by the time of the command the bounds may be a little narrower than they need be.
    pub(super) fn at(&self, tls: Option<&Bindings>, began: Timestamp) -> Offered {
        let hold = self.hold.map(|max| {
            let seconds = max.as_secs().min(HOLD_MAX);
            let until = began.checked_add(SignedDuration::from_secs(seconds.cast_signed())).unwrap_or(Timestamp::MAX);
            HoldBounds { seconds, until }
        });
        // RFC 8689 §2: REQUIRETLS is offered under TLS only.
        Offered { auth: self.mechanisms(tls).next().is_some(), require_tls: tls.is_some(), hold, priority: self.priority }
    }

    /// The mechanisms to announce, `tls` being what the session has; empty where AUTH is not offered as things stand.
    pub(super) fn mechanisms(&self, tls: Option<&Bindings>) -> impl Iterator<Item = Mechanism> {
        let open = tls.is_some() || self.auth_in_clear;
        let bound = tls.is_some_and(Bindings::any);
        self.auth.iter().copied().filter(move |mechanism| open && (bound || *mechanism != Mechanism::ScramSha256Plus))
    }
}
