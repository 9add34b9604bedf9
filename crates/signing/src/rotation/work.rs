//! The book, opened for changes: what is due is done, each change written down before the next.

use std::{path::Path, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};
use posthaste_dkim::{Algorithm, Change, Due, Key, Published, Schedule, Succession, zone_lines};
use posthaste_host::files;
use posthaste_journal::State;
use posthaste_mail::Domain;

use super::news::{KeyNews, NextKey, published};
use crate::{
    Signing,
    key_store::{KeyStore, keep_key, key_file},
    keyring::{own_key, signing_domains},
    settings::Settings,
};

/// Names that are tried for a new key before something must be wrong.
const NAMES_MAX: usize = 100;

/// The book, open for changes.
pub(super) struct Work<'r> {
    dir: &'r Path,
    settings: Arc<Settings>,
    book: KeyStore,
    pub(super) now: u64,
    /// What the operator must know.
    pub(super) told: Vec<KeyNews>,
    /// The keyring in force is not what the book says any more.
    pub(super) switched: bool,
}

impl<'r> Work<'r> {
    /// Opens the book, with the operator's keys as they are now taken into those successions that are under way or scheduled.
    pub(super) fn open(dir: &'r Path, settings: Arc<Settings>, now: i64) -> Result<Self, String> {
        let book = KeyStore::read(dir)?;
        Ok(Self { dir, settings, book, now: u64::try_from(now).unwrap_or(0), told: Vec::new(), switched: false })
    }

    /// The plan of one domain; its configured keys are in the book after this.
    fn domain(&mut self, domain: &Domain) -> Option<(Schedule, Vec<Algorithm>)> {
        let settings = self.settings.clone();
        let (_, signing) = signing_domains(&settings.dkim).into_iter().find(|(d, _)| d == domain)?;
        let (schedule, algorithms) = plan(signing);
        for algorithm in &algorithms {
            let keys = signing.keys.iter().filter(|key| key.key.algorithm() == *algorithm);
            let selectors: Vec<&str> = keys.map(|key| key.selector.as_str()).collect();
            self.book.succession(domain.as_str(), *algorithm).adopt(&selectors, self.now);
        }
        Some((schedule, algorithms))
    }

    /// The domains with a schedule, or with a change under way.
    pub(super) fn rotating(&mut self) -> Vec<(Domain, Schedule, Vec<Algorithm>)> {
        let settings = self.settings.clone();
        let all = signing_domains(&settings.dkim).into_iter();
        let rotates = all.filter(|(domain, signing)| signing.rotation.every.is_some() || self.book.of(domain.as_str()).next().is_some());
        let domains: Vec<Domain> = rotates.map(|(domain, _)| domain).collect();
        domains.into_iter().filter_map(|domain| self.domain(&domain).map(|(schedule, all)| (domain, schedule, all))).collect()
    }

    /// Does what is due for every domain. One domain's trouble does not hold up the others.
    pub(super) async fn keep_all_up(&mut self, settled: &impl Fn(u64) -> bool) {
        for (domain, schedule, algorithms) in self.rotating() {
            for algorithm in algorithms {
                let kept = self.keep_up(&domain, algorithm, &schedule, settled).await;
                if let Err(error) = kept.or_else(|error| self.back_to_the_disk().and(Err(error))) {
                    self.tell(State::Alarm, format!("the keys of {domain} stay as they are: {error}"));
                }
            }
        }
    }

    /// The next key of each of a domain's algorithms, whatever the schedule says.
    pub(super) async fn bring_forward(&mut self, domain: &Domain) -> Result<Vec<NextKey>, String> {
        let Some((schedule, algorithms)) = self.domain(domain) else {
            return Err(format!("{domain} has no keys: the configuration needs [dkim.domain.\"{domain}\"]"));
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

    /// Forgets what could not be written down.
    fn back_to_the_disk(&mut self) -> Result<(), String> {
        self.book = KeyStore::read(self.dir)?;
        Ok(())
    }

    /// Does what is due for one succession, until there is nothing or only DNS to wait for.
    async fn keep_up(
        &mut self,
        domain: &Domain,
        algorithm: Algorithm,
        schedule: &Schedule,
        settled: &impl Fn(u64) -> bool,
    ) -> Result<(), String> {
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
        if before != self.book { self.write() } else { Ok(()) }
    }

    fn make(&mut self, domain: &Domain, algorithm: Algorithm, asked: bool) -> Result<(), String> {
        let signing = signing_domains(&self.settings.dkim).into_iter().find(|(d, _)| d == domain);
        let alike = signing.into_iter().flat_map(|(_, signing)| &signing.keys).filter(|key| key.key.algorithm() == algorithm);
        let bits = alike.map(|key| key.key.bits()).max().unwrap_or_default();
        let (key, pem) = Key::generate_sized(algorithm, bits).map_err(|e| e.to_string())?;
        let selector = self.free_name(domain, algorithm)?;
        let file = key_file(self.dir, &selector, domain.as_str());
        files::make_dir(self.dir).and_then(|()| keep_key(&file, &pem)).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        let now = self.now;
        self.succession(domain, algorithm).made(&selector, asked, now);
        let record = key.public_record();
        self.tell(
            State::DkimKeyMade,
            format!("publish this record, and {domain} will sign with it: {selector}._domainkey.{domain}. TXT \"{record}\""),
        );
        Ok(())
    }

    /// A selector that says when it was made, and that nobody has yet.
    fn free_name(&self, domain: &Domain, algorithm: Algorithm) -> Result<String, String> {
        let time = Timestamp::from_second(self.now.try_into().unwrap_or(0)).map_err(|e| e.to_string())?;
        let kind = match algorithm {
            Algorithm::RsaSha256 => "r",
            Algorithm::Ed25519Sha256 => "e",
        };
        let day = time.to_zoned_datetime(TimeZone::UTC).strftime("%Y%m%d").to_string();
        let configured = |name: &str| {
            let all = signing_domains(&self.settings.dkim).into_iter();
            all.filter(|(d, _)| d == domain).flat_map(|(_, signing)| &signing.keys).any(|key| key.selector.as_str() == name)
        };
        let known = |name: &str| self.book.of(domain.as_str()).flat_map(|s| &s.keys).any(|key| key.selector == name);
        let taken = |name: &String| configured(name) || known(name) || key_file(self.dir, name, domain.as_str()).exists();
        let names = (1..=NAMES_MAX).map(|n| if n == 1 { format!("{day}{kind}") } else { format!("{day}{kind}{n}") });
        names.into_iter().find(|name| !taken(name)).ok_or_else(|| format!("{NAMES_MAX} keys of {domain} were made today"))
    }

    /// Asks DNS for the next key, and lets it sign if its turn has come.
    async fn look(
        &mut self,
        domain: &Domain,
        algorithm: Algorithm,
        selector: &str,
        schedule: &Schedule,
    ) -> Result<(Published, Change), String> {
        let key = own_key(self.dir, selector, domain)?;
        // One of its own, without memory: what DNS says now is what counts.
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
                    State::DkimKeySwitched,
                    format!("{domain} signs with {to} from now on; leave {before} in DNS until it is said that nobody needs it"),
                );
            }
            Change::Overdue => {
                let why = published.why().map_or_else(|| published.word().to_owned(), str::to_owned);
                self.tell(
                    State::Alarm,
                    format!("{domain} goes on signing with its old key: DNS does not have {selector}._domainkey.{domain} ({why})"),
                );
            }
            Change::Ready { .. } | Change::Waiting => {}
        }
        Ok((published, change))
    }

    fn retire(&mut self, domain: &Domain, algorithm: Algorithm, selector: &str) -> Result<(), String> {
        let ours = self.succession(domain, algorithm).keys.iter().any(|key| key.ours && key.selector == selector);
        self.succession(domain, algorithm).retired(selector);
        self.write()?;
        if ours {
            // Left behind, it does no harm but to be there.
            let file = key_file(self.dir, selector, domain.as_str());
            std::fs::remove_file(&file).unwrap_or_else(|error| tracing::warn!(%error, file = %file.display(), "a retired key stays"));
        }
        let rest = if ours { "" } else { "; the configuration does not need it any more either" };
        self.tell(State::DkimKeyRetired, format!("{selector}._domainkey.{domain} can be taken out of DNS{rest}"));
        Ok(())
    }

    pub(super) fn succession(&mut self, domain: &Domain, algorithm: Algorithm) -> &mut Succession {
        self.book.succession(domain.as_str(), algorithm)
    }

    fn write(&self) -> Result<(), String> {
        self.book.write(self.dir).map_err(|e| format!("cannot write the book of keys in {}: {e}", self.dir.display()))
    }

    fn tell(&mut self, state: State, detail: String) {
        self.told.push(KeyNews { state, detail });
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
