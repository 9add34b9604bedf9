//! The commands, one file per command.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use posthaste_config::Config;
use posthaste_host::{
    ThisHost,
    rights::{self, Owner},
};

pub(crate) mod alarms;
pub(crate) mod audit;
pub(crate) mod bounce;
pub(crate) mod check;
pub(crate) mod dkim;
pub(crate) mod explain;
pub(crate) mod log;
pub(crate) mod queue;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod sendmail;
pub(crate) mod suppress;
pub(crate) mod trace;
pub(crate) mod user;
pub(crate) mod warmup;
pub(crate) mod why;

/// The `--config` option, shared by all commands that need a configuration.
#[derive(Args, Clone, Debug)]
pub(crate) struct At {
    /// The configuration file. Without one, the defaults apply.
    #[arg(long, short, global = true, env = "POSTHASTE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl At {
    /// The configuration, or all of its errors.
    fn load(&self) -> anyhow::Result<Config> {
        Config::load(self.config.as_deref(), &ThisHost).map_err(|errors| anyhow::anyhow!("the configuration is invalid:\n{errors}"))
    }

    /// Like [`Self::load`], for commands that open the spool or the log. If root runs this and they belong to another user, the program works
    /// with that user's rights from here on: in a folder of others, root would follow any link.
    fn load_as_owner(&self) -> anyhow::Result<Config> {
        let config = self.load()?;
        take_owners_rights(&config)?;
        Ok(config)
    }

    /// Sends a request to the running relay.
    fn ask<T: serde::de::DeserializeOwned>(&self, request: &posthaste_relay::admin::Request) -> anyhow::Result<T> {
        let socket = self.load()?.admin.socket;
        posthaste_relay::admin::ask(&socket, request).with_context(|| format!("asking the relay at {}", socket.display()))
    }
}

/// Takes the rights of the user to whom the relay's data belong, if root runs this; returns who that is.
fn take_owners_rights(config: &Config) -> anyhow::Result<Option<Owner>> {
    let folders = [&*config.data_dir, &*config.spool.dir, &*config.log.dir];
    rights::take_owners_rights(&folders).context("cannot take the rights of the user to whom the relay's data belong")
}

/// The name of the user at this terminal, for the log.
fn operator() -> String {
    ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|v| std::env::var(v).ok().filter(|u| !u.is_empty()))
        .unwrap_or_else(|| "operator".into())
}
