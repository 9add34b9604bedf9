//! `[notice]`: failure notices to senders.

use posthaste_mail::{Address, Domain};

use super::{
    reader::Table,
    value::{MIB, boolean, from_text, size},
};

/// Whether and how senders are told that their mail failed (RFC 3464).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether notices are sent at all.
    pub send: bool,
    /// The notice's From field; its envelope's sender is null (RFC 5321 §6.1).
    pub from: Address,
    /// The longest message that comes back whole where its sender wants that (RET=FULL, RFC 3461), in bytes.
    pub full_max: u64,
}

impl Notice {
    pub(super) fn read(t: &Table<'_>, hostname: &Domain) -> Self {
        Self {
            send: t.get("send", boolean),
            from: t.given("from", from_text::<Address>).unwrap_or_else(|| mailer_daemon(hostname)),
            full_max: t.get("full_max", size(0..=50 * MIB)),
        }
    }
}

fn mailer_daemon(hostname: &Domain) -> Address {
    let ours = Address::new(&format!("MAILER-DAEMON@{hostname}"));
    ours.or_else(|_| Address::new("MAILER-DAEMON@localhost")).expect("MAILER-DAEMON@localhost is an address")
}
