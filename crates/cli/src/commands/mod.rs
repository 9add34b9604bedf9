//! The commands, one file per command.

pub(crate) mod alarm;
pub(crate) mod alarms;
mod at;
pub(crate) mod audit;
pub(crate) mod bounce;
pub(crate) mod check;
pub(crate) mod dkim;
pub(crate) mod explain;
pub(crate) mod guard;
pub(crate) mod incidents;
mod lines;
pub(crate) mod log;
pub(crate) mod queue;
pub(crate) mod reload;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod sendmail;
pub(crate) mod suppress;
mod table;
pub(crate) mod top;
pub(crate) mod trace;
pub(crate) mod user;
pub(crate) mod warmup;
pub(crate) mod why;
mod words;

pub(crate) use at::{At, Elsewhere, NoData, absolute, take_owners_rights};
pub(crate) use words::{count, id_like, message_named};

/// The name of the user at this terminal, for the log.
fn operator() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|v| std::env::var(v).ok().filter(|u| !u.is_empty()))
        .unwrap_or_else(|| "operator".into())
}
