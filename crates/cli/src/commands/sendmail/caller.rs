//! Who calls, and on which machine.

use posthaste_host::{Host as _, ThisHost};
use posthaste_mail::Address;

/// This machine's name, if it is valid in mail.
pub(super) fn hostname() -> String {
    let name = ThisHost.name();
    if posthaste_mail::Domain::new(&name).is_ok() { name } else { "localhost".into() }
}

/// The calling user, as a mail address on this machine.
pub(super) fn caller() -> Address {
    let name = ["LOGNAME", "USER"].iter().find_map(|v| std::env::var(v).ok()).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| format!("uid{}", rustix::process::getuid().as_raw()));
    let host = hostname();
    Address::new(&format!("{name}@{host}")).or_else(|_| Address::new(&format!("nobody@{host}"))).expect("nobody is a name")
}
