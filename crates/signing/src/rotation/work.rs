//! The key store, opened for changes. Each change is written before the next one is made.

use std::{path::Path, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_dkim::{Algorithm, Change, Due, Key, Published, Schedule, Succession, zone_lines};
use posthaste_host::files;
use posthaste_journal::State;
use posthaste_mail::Domain;

use super::news::{KeyNews, NextKey, published};
use crate::{
    Signing, SigningError,
    key_store::{KeyStore, keep_key, key_file},
    keyring::{own_key, signing_domains},
    settings::Settings,
};

/// Selectors that are tried for a new key; more keys in one day are an error.
const NAMES_MAX: usize = 100;

/// The key store, open for changes.
pub(super) struct Work<'r> {
    dir: &'r Path,
    settings: Arc<Settings>,
    store: KeyStore,
    pub(super) now: u64,
    /// News for the operator.
    pub(super) news: Vec<KeyNews>,
    /// Whether the keyring in force no longer agrees with the key store.
    pub(super) switched: bool,
}

impl<'r> Work<'r> {
    /// Opens the key store.
    pub(super) fn open(dir: &'r Path, settings: Arc<Settings>, now: i64) -> Result<Self, SigningError> {
        let store = KeyStore::read(dir)?;
        Ok(Self { dir, settings, store, now: u64::try_from(now).unwrap_or(0), news: Vec::new(), switched: false })
    }

    /// Takes a domain's configured keys into its successions, and gives its schedule and the algorithms of its keys.
    fn domain(&mut self, domain: &Domain) -> Option<(Schedule, Vec<Algorithm>)> {
        let settings = self.settings.clone();
        let (_, signing) = signing_domains(&settings.dkim).into_iter().find(|(d, _)| d == domain)?;
        let (schedule, algorithms) = plan(signing);
        for algorithm in &algorithms {
            let keys = signing.keys.iter().filter(|key| key.key.algorithm() == *algorithm);
            let selectors: Vec<&str> = keys.map(|key| key.selector.as_str()).collect();
            self.store.succession(domain.as_str(), *algorithm).adopt(&selectors, self.now);
        }
        Some((schedule, algorithms))
    }

    /// The domains with a schedule or with a succession in the store.
    pub(super) fn rotating(&mut self) -> Vec<(Domain, Schedule, Vec<Algorithm>)> {
        let settings = self.settings.clone();
        let all = signing_domains(&settings.dkim).into_iter();
        let rotates = all.filter(|(domain, signing)| signing.rotation.every.is_some() || self.store.of(domain.as_str()).next().is_some());
        let domains: Vec<Domain> = rotates.map(|(domain, _)| domain).collect();
        domains.into_iter().filter_map(|domain| self.domain(&domain).map(|(schedule, all)| (domain, schedule, all))).collect()
    }

    /// Does what is due for every domain. An error of one domain does not hold up the others.
    pub(super) async fn keep_all_up(&mut self, settled: &impl Fn(u64) -> bool) {
        for (domain, schedule, algorithms) in self.rotating() {
            for algorithm in algorithms {
                let kept = self.keep_up(&domain, algorithm, &schedule, settled).await;
                if let Err(error) = kept.or_else(|error| self.back_to_the_disk().and(Err(error))) {
                    self.tell(&domain, State::Alarm, format!("the keys of {domain} were not rotated: {error}"));
                }
            }
        }
    }

    /// Rotates to the next key of each of a domain's algorithms, whatever the schedule says.
    pub(super) async fn bring_forward(&mut self, domain: &Domain) -> Result<Vec<NextKey>, SigningError> {
        let Some((schedule, algorithms)) = self.domain(domain) else {
            return Err(SigningError::NoKeys(domain.clone()));
        };
        let mut all = Vec::new();
        for algorithm in algorithms {
            if !self.succession(domain, algorithm).ask() {
                self.make(domain, algorithm, true)?;
            }
            let selector = self.succession(domain, algorithm).next().expect("it was there, or made").selector.clone();
            self.write()?;
            let key = own_key(self.dir, &selector, domain)?;
            let (published, change) = self.look(domain, algorithm, &selector, &schedule).await?;
            all.push(NextKey {
                algorithm,
                signs: matches!(change, Change::Switched { .. }),
                dns: published.word().into(),
                why: published.why().map(str::to_owned),
                record: zone_lines(&selector, domain.as_str(), &key.public_record()),
                selector,
            });
        }
        Ok(all)
    }

    /// Drops changes that could not be written.
    fn back_to_the_disk(&mut self) -> Result<(), SigningError> {
        self.store = KeyStore::read(self.dir)?;
        Ok(())
    }

    /// Does what is due for one succession, until nothing is left or only DNS is to be waited for.
    async fn keep_up(
        &mut self,
        domain: &Domain,
        algorithm: Algorithm,
        schedule: &Schedule,
        settled: &impl Fn(u64) -> bool,
    ) -> Result<(), SigningError> {
        let before = KeyStore::read(self.dir)?;
        let now = self.now;
        while let Some(due) = self.succession(domain, algorithm).due(schedule, now, settled) {
            match due {
                Due::Make => {
                    self.make(domain, algorithm, false)?;
                    self.write()?;
                }
                Due::Look(selector) => {
                    self.look(domain, algorithm, &selector, schedule).await?;
                    break;
                }
                Due::Retire(selector) => self.retire(domain, algorithm, &selector)?,
            }
        }
        if before != self.store { self.write() } else { Ok(()) }
    }

    fn make(&mut self, domain: &Domain, algorithm: Algorithm, asked: bool) -> Result<(), SigningError> {
        let signing = signing_domains(&self.settings.dkim).into_iter().find(|(d, _)| d == domain);
        let alike = signing.into_iter().flat_map(|(_, signing)| &signing.keys).filter(|key| key.key.algorithm() == algorithm);
        let bits = alike.map(|key| key.key.bits()).max().unwrap_or_default();
        let (key, pem) = Key::generate_sized(algorithm, bits)?;
        let selector = self.free_name(domain, algorithm)?;
        let file = key_file(self.dir, &selector, domain.as_str());
        let kept = files::make_dir(self.dir).and_then(|()| keep_key(&file, &pem));
        kept.map_err(|source| SigningError::WriteKey { path: file, source })?;
        let now = self.now;
        self.succession(domain, algorithm).made(&selector, asked, now);
        let record = key.public_record();
        self.tell(
            domain,
            State::DkimKeyMade,
            format!("publish this record, and {domain} will sign with it: {selector}._domainkey.{domain}. TXT \"{record}\""),
        );
        Ok(())
    }

    /// An unused selector made of today's date and the algorithm.
    fn free_name(&self, domain: &Domain, algorithm: Algorithm) -> Result<String, SigningError> {
        let time = Timestamp::from_second(self.now.try_into().unwrap_or(0)).unwrap_or_default();
        let kind = match algorithm {
            Algorithm::RsaSha256 => "r",
            Algorithm::Ed25519Sha256 => "e",
        };
        let day = time.to_zoned_datetime(TimeZone::UTC).strftime("%Y%m%d").to_string();
        let configured = |name: &str| {
            let all = signing_domains(&self.settings.dkim).into_iter();
            all.filter(|(d, _)| d == domain).flat_map(|(_, signing)| &signing.keys).any(|key| key.selector.as_str() == name)
        };
        let known = |name: &str| self.store.of(domain.as_str()).flat_map(|s| &s.keys).any(|key| key.selector == name);
        let taken = |name: &String| configured(name) || known(name) || key_file(self.dir, name, domain.as_str()).exists();
        let names = (1..=NAMES_MAX).map(|n| if n == 1 { format!("{day}{kind}") } else { format!("{day}{kind}{n}") });
        names.into_iter().find(|name| !taken(name)).ok_or_else(|| SigningError::TooManyKeys { domain: domain.clone(), count: NAMES_MAX })
    }

    /// Asks DNS for the next key, and switches to it if DNS has it and its time has come.
    async fn look(
        &mut self,
        domain: &Domain,
        algorithm: Algorithm,
        selector: &str,
        schedule: &Schedule,
    ) -> Result<(Published, Change), SigningError> {
        let key = own_key(self.dir, selector, domain)?;
        // A new resolver has an empty cache: the present state of DNS counts.
        let resolver = (self.settings.new_resolver)()?;
        let published = published(&resolver, &key, selector, domain).await;
        let now = self.now;
        let change = self.succession(domain, algorithm).looked(published.is_there(), schedule, now);
        match &change {
            Change::Switched { from, to } => {
                self.write()?;
                self.switched = true;
                let before = from.join(", ");
                self.tell(
                    domain,
                    State::DkimKeySwitched,
                    format!("{domain} signs with {to} from now on; leave {before} in DNS until the log reports that it can be taken out"),
                );
            }
            Change::Overdue => {
                let why = published.why().map_or_else(|| published.word().to_owned(), str::to_owned);
                self.tell(
                    domain,
                    State::Alarm,
                    format!("{domain} still signs with its old key: DNS does not have {selector}._domainkey.{domain} ({why})"),
                );
            }
            Change::Ready { .. } | Change::Waiting => {}
        }
        Ok((published, change))
    }

    fn retire(&mut self, domain: &Domain, algorithm: Algorithm, selector: &str) -> Result<(), SigningError> {
        let ours = self.succession(domain, algorithm).keys.iter().any(|key| key.ours && key.selector == selector);
        self.succession(domain, algorithm).retired(selector);
        self.write()?;
        if ours {
            // A file that stays is of no use to the relay and does no harm.
            let file = key_file(self.dir, selector, domain.as_str());
            std::fs::remove_file(&file)
                .unwrap_or_else(|error| tracing::warn!(%error, file = %file.display(), "cannot remove the file of a retired DKIM key"));
        }
        let rest = if ours { "" } else { " and out of the configuration" };
        self.tell(domain, State::DkimKeyRetired, format!("{selector}._domainkey.{domain} can be taken out of DNS{rest}"));
        Ok(())
    }

    pub(super) fn succession(&mut self, domain: &Domain, algorithm: Algorithm) -> &mut Succession {
        self.store.succession(domain.as_str(), algorithm)
    }

    fn write(&self) -> Result<(), SigningError> {
        self.store.write(self.dir).map_err(|source| SigningError::WriteStore { dir: self.dir.to_owned(), source })
    }

    fn tell(&mut self, domain: &Domain, state: State, detail: String) {
        self.news.push(KeyNews { domain: domain.clone(), state, detail });
    }
}

/// The schedule of a domain, and the algorithms of its keys.
fn plan(signing: &Signing) -> (Schedule, Vec<Algorithm>) {
    let mut algorithms = Vec::new();
    for algorithm in signing.keys.iter().map(|key| key.key.algorithm()) {
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    (signing.rotation, algorithms)
}
