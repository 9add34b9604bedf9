//! `[notice]`: failure notices to senders.

use std::time::Duration;

use posthaste_dsn::NoticeRules;
use posthaste_mail::{Address, Domain};

use super::{
    reader::Table,
    value::{MIB, boolean, duration, mail_address, size, zero_is_none},
};

pub(super) fn read(t: &Table<'_>, hostname: &Domain) -> NoticeRules {
    NoticeRules {
        send: t.get("send", boolean),
        from: t.given("from", mail_address).unwrap_or_else(|| mailer_daemon(hostname)),
        delay: t.get("delay", zero_is_none(duration(Duration::from_secs(60)..=Duration::from_hours(30 * 24)))),
        full_max: t.get("full_max", size(0..=50 * MIB)),
    }
}

fn mailer_daemon(hostname: &Domain) -> Address {
    let ours = Address::new(&format!("MAILER-DAEMON@{hostname}"));
    ours.or_else(|_| Address::new("MAILER-DAEMON@localhost")).expect("MAILER-DAEMON@localhost is an address")
}
