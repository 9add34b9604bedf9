//! Key rotation, as `posthaste_dkim::Succession` decides it: keys are made and stored, DNS is asked, the keyring in force is replaced. The
//! key store on disk is authoritative: it is written before the keyring changes.

pub mod news;
mod work;

use std::{path::PathBuf, sync::Arc};

use posthaste_dkim::Due;
use posthaste_host::InForce;
use posthaste_mail::Domain;
use tokio::sync::Mutex;

use self::{
    news::{KeyNews, NextKey},
    work::Work,
};
use crate::{error::SigningError, key_store::KeyStore, keyring::keyring, settings::Settings};

/// Rotates keys, one change at a time.
pub struct Rotation {
    dir: PathBuf,
    settings: InForce<Settings>,
    /// Whether the keyring in force may be older than the key store. The lock must be held to change either.
    behind: Mutex<bool>,
}

impl Rotation {
    /// For the key store in `dir`, and the configuration and keyring in force.
    pub fn new(dir: PathBuf, settings: InForce<Settings>) -> Self {
        Self { dir, settings, behind: Mutex::default() }
    }

    /// Puts the stored keys in force after a reload of the configuration.
    pub async fn refresh(&self) {
        let mut behind = self.behind.lock().await;
        *behind = true;
        if let Err(error) = self.catch_up(&mut behind) {
            tracing::error!(%error, "the DKIM keyring was not updated");
        }
    }

    /// Whether a key could retire if all mail that it signed had left the queue.
    pub(crate) async fn may_retire(&self, now: i64) -> Result<bool, SigningError> {
        let _turn = self.behind.lock().await;
        let mut open = Work::open(&self.dir, self.settings.get(), now)?;
        let now = open.now;
        let all = open
            .rotating()
            .into_iter()
            .flat_map(|(domain, schedule, algorithms)| algorithms.into_iter().map(move |a| (domain.clone(), schedule, a)));
        let all: Vec<_> = all.collect();
        Ok(all
            .into_iter()
            .any(|(domain, schedule, a)| matches!(open.succession(&domain, a).due(&schedule, now, |_| true), Some(Due::Retire(_)))))
    }

    /// Does everything that is due. `settled` tells whether all mail accepted until a time (Unix seconds) has left the queue.
    pub(crate) async fn tick(&self, now: i64, settled: impl Fn(u64) -> bool) -> Result<Vec<KeyNews>, SigningError> {
        let mut behind = self.behind.lock().await;
        let mut work = Work::open(&self.dir, self.settings.get(), now)?;
        work.keep_all_up(&settled).await;
        *behind |= work.switched;
        self.catch_up(&mut behind)?;
        Ok(work.news)
    }

    /// Rotates to the next key of each of a domain's algorithms: makes it if there is none, and puts it in force if DNS has it.
    pub async fn rotate(&self, domain: &Domain, now: i64) -> Result<(Vec<NextKey>, Vec<KeyNews>), SigningError> {
        let mut behind = self.behind.lock().await;
        let mut work = Work::open(&self.dir, self.settings.get(), now)?;
        let next = work.bring_forward(domain).await;
        *behind |= work.switched;
        self.catch_up(&mut behind)?;
        Ok((next?, work.news))
    }

    /// Puts the keys of the store on disk in force, unless they are already.
    fn catch_up(&self, behind: &mut bool) -> Result<(), SigningError> {
        if *behind {
            let settings = self.settings.get();
            settings.keyring.store(Arc::new(keyring(&settings.dkim, &KeyStore::read(&self.dir)?, &self.dir)?));
            *behind = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
