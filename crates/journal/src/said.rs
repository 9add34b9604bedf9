//! The states that the relay reports about itself, and its parts.

/// What happened to the relay, or to a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Mail is accepted from now on.
    Started,
    /// No more mail is accepted; what is under way is finished.
    Stopping,
    /// Everything is on disk.
    Stopped,
    /// A new configuration is in force.
    Reloaded,
    /// A new configuration is bad; the old one stays in force.
    ReloadFailed,
    /// Something is wrong that the operator has to know.
    Alarm,
    /// The problem of an alarm is over.
    AlarmOver,
    /// An operator has acknowledged an alarm that stood until then.
    AlarmAcknowledged,
    /// The clock went back by a step.
    ClockBack,
    /// Work that a crash had left undone was done.
    Recovered,
    /// Damaged bytes were put aside.
    Quarantined,
    /// Sums of mail that came back.
    Returned,
    /// Sums of refused strangers.
    Refused,
    /// A renewed certificate is shown.
    Renewed,
    /// An authority issued a certificate.
    Issued,
    /// A client is shut out.
    Banned,
    /// A sending address is no longer on this host.
    SourceGone,
    /// A sending address is on this host again.
    SourceBack,
    /// The guard holds the new mail of a user or a stream.
    GuardHolds,
    /// What the guard held of a user or a stream goes out.
    GuardReleased,
    /// What the guard held of a user or a stream was removed.
    GuardDropped,
    /// An operator had mail tried again at once.
    QueueRetried,
    /// The next DKIM key of a domain was made.
    DkimKeyMade,
    /// A domain signs with its next key.
    DkimKeySwitched,
    /// A key is no longer needed.
    DkimKeyRetired,
}

impl State {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Reloaded => "reloaded",
            Self::ReloadFailed => "reload_failed",
            Self::Alarm => "alarm",
            Self::AlarmOver => "alarm_over",
            Self::AlarmAcknowledged => "alarm_acknowledged",
            Self::ClockBack => "clock_back",
            Self::Recovered => "recovered",
            Self::Quarantined => "quarantined",
            Self::Returned => "returned",
            Self::Refused => "refused",
            Self::Renewed => "renewed",
            Self::Issued => "issued",
            Self::Banned => "banned",
            Self::SourceGone => "source_gone",
            Self::SourceBack => "source_back",
            Self::GuardHolds => "guard_holds",
            Self::GuardReleased => "guard_released",
            Self::GuardDropped => "guard_dropped",
            Self::QueueRetried => "queue_retried",
            Self::DkimKeyMade => "dkim_key_made",
            Self::DkimKeySwitched => "dkim_key_switched",
            Self::DkimKeyRetired => "dkim_key_retired",
        }
    }
}

/// The part of the relay that is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The store of messages.
    Spool,
    /// The delivery log.
    Log,
    /// The warm-up ledger.
    Warmup,
    /// Certificates that listeners show.
    Tls,
    /// Certificates ordered from an authority.
    Acme,
    /// DKIM keys.
    Dkim,
    /// Logins.
    Auth,
    /// The token introspection endpoint.
    Introspection,
    /// Sending addresses.
    Sources,
    /// Mail that comes back.
    Returns,
    /// Deliveries.
    Delivery,
    /// The figures for reports.
    Tallies,
    /// The channels that tell of incidents.
    Channels,
    /// What holds the mail of stolen accounts.
    Guard,
}

impl Part {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spool => "spool",
            Self::Log => "log",
            Self::Warmup => "warmup",
            Self::Tls => "tls",
            Self::Acme => "acme",
            Self::Dkim => "dkim",
            Self::Auth => "auth",
            Self::Introspection => "introspection",
            Self::Sources => "sources",
            Self::Returns => "returns",
            Self::Delivery => "delivery",
            Self::Tallies => "tallies",
            Self::Channels => "channels",
            Self::Guard => "guard",
        }
    }
}
