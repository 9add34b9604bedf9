//! Puts a new configuration in force without a restart.

use std::{path::PathBuf, sync::Arc};

use posthaste_config::{Config, ConfigErrors};
use posthaste_delivery::ledger;
use posthaste_host::{ThisHost, clock, descriptors as host_descriptors};
use posthaste_journal::{Journal, State};
use posthaste_message::WarmBudget;
use posthaste_queue::QueueHandle;
use posthaste_signing::{keyring, rotation::Rotation};
use posthaste_spool::Spool;
use tokio::task::JoinError;
use tracing::level_filters::LevelFilter;

use crate::{
    descriptors,
    open::{body_cache, spool_options, today},
    recover::log_options,
    settings::{Settings, SettingsError, Swap, exposed, unpublished},
};

/// Sets the level of the diagnostics.
pub type Verbosity = Box<dyn Fn(LevelFilter) + Send + Sync>;

/// A reload that changed nothing.
#[derive(Debug, thiserror::Error)]
#[error("the old configuration stays in force:\n{0}")]
pub struct ReloadError(#[from] BadConfiguration);

/// Why a configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadConfiguration {
    /// It cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The task that read it panicked.
    #[error(transparent)]
    Panicked(#[from] JoinError),
    /// No settings can be made from it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The process may have too few files open.
    #[error(transparent)]
    Descriptors(#[from] descriptors::TooFewFiles),
}

/// The parts that a reload changes.
pub(crate) struct Reloader {
    pub(crate) settings: Swap,
    pub(crate) journal: Journal,
    pub(crate) spool: Spool,
    pub(crate) queue: QueueHandle,
    pub(crate) warm: WarmBudget,
    pub(crate) rotation: Arc<Rotation>,
    pub(crate) verbosity: Verbosity,
    /// The configuration file; None: there is none.
    pub(crate) path: Option<PathBuf>,
}

/// Tells of keys that sign without being in DNS, as soon as DNS has answered.
pub(crate) fn look_up_keys(signing: Arc<posthaste_signing::Settings>) {
    tokio::spawn(async move {
        match (signing.new_resolver)() {
            Ok(resolver) => unpublished(&signing, &resolver).await.iter().for_each(|caution| tracing::warn!("{caution}")),
            Err(error) => tracing::warn!("it is not known whether DNS has the DKIM keys: {error}"),
        }
    });
}

impl Reloader {
    /// Reads the configuration again. A bad one changes nothing and is reported. Returns what is in force now, as a text for people.
    pub(crate) async fn reload(&self) -> Result<String, ReloadError> {
        match self.read_again().await {
            Ok(new) => {
                let detail = self.put_in_force(new).await;
                self.journal.say(None, State::Reloaded, detail.clone());
                Ok(detail)
            }
            Err(error) => {
                self.journal.say(None, State::ReloadFailed, format!("the old configuration stays in force: {error}"));
                Err(error.into())
            }
        }
    }

    async fn read_again(&self) -> Result<Settings, BadConfiguration> {
        let path = self.path.clone();
        let mut config = tokio::task::spawn_blocking(move || Config::load(path.as_deref(), &ThisHost)).await??;
        if let Some(told) = descriptors::fit(&mut config, host_descriptors::raise())? {
            tracing::warn!("{told}");
        }
        Ok(Settings::for_sending(config, self.settings.load().listens_at.clone())?)
    }

    async fn put_in_force(&self, mut new: Settings) -> String {
        let old = self.settings.load_full();
        Arc::get_mut(&mut new.delivery).expect("nobody sees the new settings yet").generation = old.delivery.generation + 1;
        exposed(&new.config).iter().for_each(|caution| tracing::warn!("{caution}"));
        let restart = old.config.diff_restart_needed(&new.config);
        let policy = new.policy(&ledger::first_seen(&self.spool, &new.warming(), today()));
        self.journal.keep(log_options(&new.config));
        self.journal.limit_refusals(new.config.log.refusals);
        self.spool.set_limits(&spool_options(&new.config));
        self.warm.set_max(body_cache(&new.config));
        (self.verbosity)(new.config.run.log_level);
        look_up_keys(new.signing.clone());
        new.cautions(clock::now()).iter().for_each(|caution| tracing::warn!("{caution}"));
        let unsigned = keyring::dropped(&old.signing.keyring.load(), &new.signing.keyring.load());
        self.settings.store(new);
        self.rotation.refresh().await;
        self.queue.follow(policy).await;
        let mut detail = match restart.is_empty() {
            true => "the new configuration is in force".to_owned(),
            false => format!("the new configuration is in force, except for what needs a restart: {}", restart.join(", ")),
        };
        if !unsigned.is_empty() {
            detail += &format!("; mail of these domains is NOT SIGNED any more: {}", unsigned.join(", "));
            tracing::warn!("no longer signed: {}", unsigned.join(", "));
        }
        detail
    }
}
