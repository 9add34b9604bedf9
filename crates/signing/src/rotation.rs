//! The change from one key to the next, as `posthaste_dkim::Succession` decides it: keys are made and kept, DNS is asked, the keyring in
//! force is replaced. The book on disk is the truth, written before anything is done by it.

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
use crate::{key_store::KeyStore, keyring::keyring, settings::Settings};

/// Changes keys, one change at a time.
pub struct Rotation {
    dir: PathBuf,
    settings: InForce<Settings>,
    /// Whether the keyring in force may be older than the book. Whoever holds it may change both.
    behind: Mutex<bool>,
}

impl Rotation {
    /// For the book in `dir`, and the configuration and keyring in force.
    pub fn new(dir: PathBuf, settings: InForce<Settings>) -> Self {
        Self { dir, settings, behind: Mutex::default() }
    }

    /// Puts the book's keys in force for a configuration that has just come.
    pub async fn refresh(&self) {
        let mut behind = self.behind.lock().await;
        *behind = true;
        if let Err(error) = self.catch_up(&mut behind) {
            tracing::error!(error, "the keyring stays as it was");
        }
    }

    /// Whether a key could retire if all mail that it signed has left.
    pub async fn may_retire(&self, now: i64) -> Result<bool, String> {
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

    /// Does all that is due. `settled` tells whether all mail that was accepted until a time (seconds) has left.
    pub async fn tick(&self, now: i64, settled: impl Fn(u64) -> bool) -> Result<Vec<KeyNews>, String> {
        let mut behind = self.behind.lock().await;
        let mut work = Work::open(&self.dir, self.settings.get(), now)?;
        work.keep_all_up(&settled).await;
        *behind |= work.switched;
        self.catch_up(&mut behind)?;
        Ok(work.told)
    }

    /// The next key of each of a domain's algorithms: made if there is none, put in force if DNS has it.
    pub async fn rotate(&self, domain: &Domain, now: i64) -> Result<(Vec<NextKey>, Vec<KeyNews>), String> {
        let mut behind = self.behind.lock().await;
        let mut work = Work::open(&self.dir, self.settings.get(), now)?;
        let next = work.bring_forward(domain).await;
        *behind |= work.switched;
        self.catch_up(&mut behind)?;
        Ok((next?, work.told))
    }

    /// What the book on disk says is put in force, unless it is already.
    fn catch_up(&self, behind: &mut bool) -> Result<(), String> {
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
