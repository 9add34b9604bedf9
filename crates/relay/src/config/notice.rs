//! `[notice]`: failure notices to senders.

use std::time::Duration;

use posthaste_mail::{Address, Domain};

use super::{
    reader::Table,
    value::{MIB, boolean, duration, from_text, size, zero_is_none},
};

/// Whether and how senders are notified when their mail fails (RFC 3464).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether notices are sent at all.
    pub send: bool,
    /// The notice's From field. Its envelope sender is null (RFC 5321 §6.1).
    pub from: Address,
    /// The age at the next attempt from which the sender is notified of the delay, if the sender asked for that; None: never.
    pub delay: Option<Duration>,
    /// The longest message that is returned whole if its sender asks for that (RET=FULL, RFC 3461), in bytes.
    pub full_max: u64,
}

impl Notice {
    pub(super) fn read(t: &Table<'_>, hostname: &Domain) -> Self {
        Self {
            send: t.get("send", boolean),
            from: t.given("from", from_text::<Address>).unwrap_or_else(|| mailer_daemon(hostname)),
            delay: t.get("delay", zero_is_none(duration(Duration::from_secs(60)..=Duration::from_hours(30 * 24)))),
            full_max: t.get("full_max", size(0..=50 * MIB)),
        }
    }
}

fn mailer_daemon(hostname: &Domain) -> Address {
    let ours = Address::new(&format!("MAILER-DAEMON@{hostname}"));
    ours.or_else(|_| Address::new("MAILER-DAEMON@localhost")).expect("MAILER-DAEMON@localhost is an address")
}
