//! Puts a new configuration in force without a restart.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use posthaste_config::{Config, ConfigErrors, Written};
use posthaste_delivery::{ledger, logins::Logins};
use posthaste_host::{ThisHost, clock, descriptors as host_descriptors};
use posthaste_journal::{Finding, Journal, State};
use posthaste_message::WarmBudget;
use posthaste_queue::QueueHandle;
use posthaste_signing::{keyring, rotation::Rotation};
use posthaste_spool::Spool;
use posthaste_watch::{Counting, Reloads};
use serde::{Deserialize, Serialize};
use tokio::task::JoinError;
use tracing::level_filters::LevelFilter;

use crate::{
    descriptors, known,
    open::{body_cache, spool_options, today},
    recover::log_options,
    settings::{Settings, SettingsError, Swap, exposed, unpublished},
    watch::RELOAD_REFUSED,
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
    pub(crate) logins: Arc<Logins>,
    /// Counts the log; None: nobody does.
    pub(crate) counting: Option<Counting>,
    pub(crate) verbosity: Verbosity,
    /// The configuration file; None: there is none.
    pub(crate) path: Option<PathBuf>,
    /// The configuration at the start, of which some keys stay in force until the next one.
    pub(crate) started: Config,
    /// What stood in its files when they were read last.
    pub(crate) read: Arc<Mutex<Written>>,
    /// How the last one went, for metrics.
    pub(crate) reloads: Reloads,
}

/// The answer to a request for a reload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// What is in force now, for people.
    pub detail: String,
    /// The keys whose values have changed in the files.
    pub changed: Vec<String>,
    /// The keys whose values only a restart puts in force.
    pub needs_restart: Vec<String>,
}

/// The most changed keys that the text names.
const NAMED_MAX: usize = 20;

/// The files of a configuration.
pub(crate) fn files<'c>(path: Option<&'c Path>, config: &'c Config) -> Vec<&'c Path> {
    path.into_iter().chain([config.users_file.as_path()]).collect()
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
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let read = self.read_again().await;
        self.reloads.note(read.is_ok(), clock::now());
        match read {
            Ok(new) => {
                let reloaded = self.put_in_force(new).await;
                let detail = reloaded.detail.clone();
                self.journal.mended(None, RELOAD_REFUSED, "", || "the configuration is valid again".into());
                self.journal.say(None, State::Reloaded, detail);
                Ok(reloaded)
            }
            Err(error) => {
                let detail = format!("the old configuration stays in force: {error}");
                let remedy = "`posthaste check` shows what is wrong; correct it, then run `posthaste reload`".into();
                let finding = Finding { rule: RELOAD_REFUSED, key: String::new(), part: None, what: detail.clone(), remedy };
                // Each refusal has its line, also where the first one stands or is acknowledged.
                if !self.journal.raise_as(State::ReloadFailed, finding) {
                    self.journal.say(None, State::ReloadFailed, detail);
                }
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

    async fn put_in_force(&self, mut new: Settings) -> Reloaded {
        let old = self.settings.load_full();
        Arc::get_mut(&mut new.delivery).expect("nobody sees the new settings yet").generation = old.delivery.generation + 1;
        exposed(&new.config).iter().for_each(|caution| tracing::warn!("{caution}"));
        let needs_restart = self.started.diff_restart_needed(&new.config);
        let changed = self.what_changed(&new.config);
        let policy = new.policy(&ledger::first_seen(&self.spool, &new.warming(), today()));
        self.journal.keep(log_options(&new.config));
        self.journal.limit_refusals(new.config.log.refusals);
        self.spool.set_limits(&spool_options(&new.config));
        self.warm.set_max(body_cache(&new.config));
        (self.verbosity)(new.config.run.log_level);
        look_up_keys(new.signing.clone());
        new.cautions(clock::now()).iter().for_each(|caution| tracing::warn!("{caution}"));
        let unsigned = keyring::dropped(&old.signing.keyring.load(), &new.signing.keyring.load());
        known::note(&self.spool, &new);
        if let Some(counting) = &self.counting {
            counting.keep(new.kept());
        }
        self.settings.store(new);
        self.rotation.refresh().await;
        self.queue.follow(policy).await;
        self.logins.follow(&self.settings.load().delivery, &self.journal, &self.queue).await;
        let mut detail = match needs_restart.is_empty() {
            true => "the new configuration is in force".to_owned(),
            false => format!("the new configuration is in force, except for what needs a restart: {}", needs_restart.join(", ")),
        };
        detail += &match changed.len() {
            0 => "; no key in the file has changed since it was read last".to_owned(),
            n if n > NAMED_MAX => format!("; changed: {} and {} more", changed[..NAMED_MAX].join(", "), n - NAMED_MAX),
            _ => format!("; changed: {}", changed.join(", ")),
        };
        if !unsigned.is_empty() {
            detail += &format!("; mail of these domains is NOT SIGNED any more: {}", unsigned.join(", "));
            tracing::warn!("no longer signed: {}", unsigned.join(", "));
        }
        Reloaded { detail, changed, needs_restart }
    }

    /// The keys that have changed in the files since they were read last.
    fn what_changed(&self, config: &Config) -> Vec<String> {
        let now = Written::read(&files(self.path.as_deref(), config));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = read.changed(&now);
        *read = now;
        changed
    }
}
