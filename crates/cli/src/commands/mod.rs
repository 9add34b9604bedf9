//! The commands, one file each.

use std::{
    io::{IsTerminal, stdout},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Args;
use posthaste_config::Config;
use posthaste_host::ThisHost;

pub mod audit;
pub mod bounce;
pub mod check;
pub mod dkim;
pub mod explain;
pub mod log;
pub mod queue;
pub mod reload;
pub mod run;
pub mod sendmail;
pub mod suppress;
pub mod trace;
pub mod user;
pub mod warmup;
pub mod why;

/// Which configuration; shared by all commands that need one.
#[derive(Args, Clone, Debug)]
pub struct At {
    /// The configuration file; without one the defaults hold.
    #[arg(long, short, global = true, env = "POSTHASTE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl At {
    /// The configuration, or all of its errors.
    fn load(&self) -> anyhow::Result<Config> {
        Config::load(self.config.as_deref(), &ThisHost).map_err(|errors| anyhow::anyhow!("the configuration is not good:\n{errors}"))
    }

    /// Asks the running relay.
    fn ask<T: serde::de::DeserializeOwned>(&self, request: &posthaste_relay::admin::Request) -> anyhow::Result<T> {
        let socket = self.load()?.admin.socket;
        posthaste_relay::admin::ask(&socket, request).with_context(|| format!("asking the relay at {}", socket.display()))
    }
}

/// Colours for terminals, unless NO_COLOR asks for none.
fn colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Who works at this terminal, for the log.
fn operator() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|v| std::env::var(v).ok().filter(|u| !u.is_empty()))
        .unwrap_or_else(|| "operator".into())
}
