//! The settings of rules and incidents. The configuration's documentation (`[rules]` in config/posthaste.toml) says what each of them is
//! for.

use std::time::Duration;

use posthaste_mail::Class;

use crate::{LimitFrom, Severity};

/// What all rules have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    /// Whether the rule looks at all.
    pub enabled: bool,
    /// How bad is what it finds. Rules with a limit for each severity do not ask it.
    pub severity: Severity,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident ($severity:ident) { $($(#[$fdoc:meta])* $field:ident: $type:ty = $default:expr,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            /// What all rules have.
            pub common: Common,
            $($(#[$fdoc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { common: Common { enabled: true, severity: Severity::$severity }, $($field: $default,)* }
            }
        }

        impl $name {
            /// Where the value of a key comes from. Who configures the default has the default.
            pub fn from(&self, key: &str) -> LimitFrom {
                let default = Self::default();
                let usual = match key {
                    $(stringify!($field) => self.$field == default.$field,)*
                    _ => true,
                };
                if usual { LimitFrom::Default } else { LimitFrom::Configuration }
            }
        }
    )* };
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

settings! {
    /// A provider refuses.
    ProviderRefuses (Critical) {
        /// How far it looks back; an hour at most.
        window: Duration = 15 * MINUTE,
        /// The share of attempts from which on it fires.
        share: f64 = 0.10,
        /// Attempts that it needs.
        minimum: u64 = 50,
        /// How many times the median of the last 7 days' shares it has to be.
        times_median: f64 = 3.0,
        /// What counts as a refusal.
        classes: Vec<Class> = vec![Class::IpReputation, Class::PolicyAuth],
    }
    /// Mail stands.
    MailStands (Critical) {
        /// How long mail is due and nothing is delivered.
        due: Duration = 5 * MINUTE,
    }
    /// Late.
    Late (Warn) {
        /// How often it looks.
        every: Duration = 5 * MINUTE,
        /// How far back the deliveries are whose times it looks at; an hour at most.
        window: Duration = 15 * MINUTE,
        /// Deliveries that it needs for a percentile.
        minimum: u64 = 20,
        /// Looks in a row that have to find it.
        in_a_row: u32 = 2,
    }
    /// Complaints.
    Complaints (Warn) {
        /// How far it looks back, in whole hours.
        window: Duration = DAY,
        /// The share of deliveries for a warning.
        warn: f64 = 0.001,
        /// The share of deliveries that is critical.
        critical: f64 = 0.003,
        /// Deliveries that it needs.
        minimum: u64 = 1000,
    }
    /// Unknown users.
    UnknownUsers (Warn) {
        /// How far it looks back, in whole hours.
        window: Duration = DAY,
        /// The share of finished recipients for a warning.
        warn: f64 = 0.02,
        /// The share of finished recipients that is critical.
        critical: f64 = 0.05,
        /// Finished recipients that it needs.
        minimum: u64 = 100,
    }
    /// Sender leaps.
    SenderLeaps (Critical) {
        /// How many times the 95th percentile of its own hours of 14 days.
        times: f64 = 5.0,
        /// Recipients in an hour that it needs.
        per_hour: u64 = 500,
        /// Unknown users in an hour that are enough by themselves.
        unknown_users: u64 = 25,
    }
    /// Silence at the door.
    Silence (Warn) {
        /// The days on which the stream had mail at this hour; 13 at most.
        days: u32 = 7,
    }
    /// Lane.
    Lane (Warn) {
        /// How long a step back or a missed day is news.
        lasts: Duration = DAY,
    }
    /// Authentication.
    Authentication (Warn) {
        /// The share of an hour's deliveries without an aligned signature above which it fires.
        share: f64 = 0.01,
        /// Deliveries of the From domain in that hour that it needs.
        minimum: u64 = 50,
        /// How often DNS is asked for the keys that sign.
        keys_every: Duration = HOUR,
    }
    /// TLS.
    Tls (Warn) {
        /// By how much the share of deliveries under TLS has to be down on the day before.
        drop: f64 = 0.05,
        /// Deliveries that it needs on each of the two days.
        minimum: u64 = 100,
    }
    /// Unknown replies.
    UnknownReplies (Warn) {
        /// How far it looks back, in whole hours.
        window: Duration = DAY,
        /// The share of refusals above which it fires.
        share: f64 = 0.01,
        /// Refusals that it needs.
        minimum: u64 = 100,
    }
    /// Reports unmatched.
    ReportsUnmatched (Warn) {
        /// How far it looks back, in whole hours.
        window: Duration = DAY,
        /// The share of complaint reports from which on it fires.
        share: f64 = 0.10,
        /// Complaint reports that it needs.
        minimum: u64 = 5,
    }
    /// House. What is at a quarter of a limit for certificates and disks is critical.
    House (Warn) {
        /// How long a certificate must still be valid.
        certificate: Duration = 14 * DAY,
        /// How long the disk must last at this pace.
        disk_lasts: Duration = 3 * DAY,
        /// The share of the disk that must be free.
        disk_free: f64 = 0.10,
        /// The 99th percentile of fdatasync.
        fsync: Duration = Duration::from_millis(100),
        /// For how long it is above that.
        fsync_for: Duration = 10 * MINUTE,
        /// How far the log, or a reader of it, may be behind.
        behind: Duration = 15 * MINUTE,
        /// How long a step of the clock is news.
        clock_for: Duration = HOUR,
    }
}

/// When incidents open, are told and close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentSettings {
    /// How often the rules look.
    pub every: Duration,
    /// How long nothing is found before an incident closes.
    pub closed_after: Duration,
    /// How long an incident lasts before it is told again.
    pub told_again: Duration,
    /// Incidents that are kept, open and closed ones together; what opens beyond that is only counted.
    pub kept: usize,
}

impl Default for IncidentSettings {
    fn default() -> Self {
        Self { every: Duration::from_secs(5), closed_after: 30 * MINUTE, told_again: DAY, kept: 1000 }
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct RuleSettings {
    pub incidents: IncidentSettings,
    pub provider_refuses: ProviderRefuses,
    pub mail_stands: MailStands,
    pub late: Late,
    pub complaints: Complaints,
    pub unknown_users: UnknownUsers,
    pub sender_leaps: SenderLeaps,
    pub silence: Silence,
    pub lane: Lane,
    pub authentication: Authentication,
    pub tls: Tls,
    pub unknown_replies: UnknownReplies,
    pub reports_unmatched: ReportsUnmatched,
    pub house: House,
}
