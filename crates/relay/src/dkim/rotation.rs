//! The change from one key to the next, as `posthaste_dkim::Succession` decides it: keys are made and kept, DNS is asked, the keyring in
//! force is replaced. The book on disk is the truth, written before anything is done by it.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use jiff::{Timestamp, tz::TimeZone};
use posthaste_dkim::{Algorithm, Change, Due, Key, Published, Schedule, Succession, zone_lines};
use posthaste_mail::{Domain, Name, What};
use posthaste_route::Resolver;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{
    book::{Book, keep_key, key_file},
    ring::{keyring, own_key, signing_domains},
};
use crate::{
    clock,
    config::{Config, Signing},
    live::Live,
    scribe::{DeliveryLog, event},
};

/// Names that are tried for a new key before something must be wrong.
const NAMES_MAX: usize = 100;

/// Changes keys, one change at a time.
pub struct Rotation {
    dir: PathBuf,
    live: Arc<ArcSwap<Live>>,
    one: Mutex<()>,
}

/// Something that the operator must know, for the delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The word for it.
    pub state: &'static str,
    /// In whole sentences.
    pub detail: String,
}

/// The next key of a domain and an algorithm, as `posthaste dkim rotate` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// How it signs.
    pub algorithm: Algorithm,
    /// Its name in DNS.
    pub selector: String,
    /// True if it signs from now on.
    pub signs: bool,
    /// What DNS has at its name: matches, missing, mismatch or unknown.
    pub dns: String,
    /// Why, where there is more to say.
    pub why: Option<String>,
    /// The record as a zone file has it.
    pub record: String,
}

impl Rotation {
    /// For the book in `dir`, and the configuration and keyring in force.
    pub fn new(dir: PathBuf, live: Arc<ArcSwap<Live>>) -> Self {
        Self { dir, live, one: Mutex::default() }
    }

    /// Puts the book's keys in force for a configuration that has just come.
    pub async fn refresh(&self) {
        let _turn = self.one.lock().await;
        if let Err(error) = Book::read(&self.dir).and_then(|book| self.put_in_force(&book)) {
            tracing::error!(error, "the keyring stays as it was");
        }
    }

    /// Whether a key could retire if all mail that it signed has left.
    pub async fn may_retire(&self, now: i64) -> Result<bool, String> {
        let _turn = self.one.lock().await;
        let mut open = Work::open(self, now)?;
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
    pub async fn tick(&self, now: i64, settled: impl Fn(u64) -> bool) -> Result<Vec<Told>, String> {
        let _turn = self.one.lock().await;
        let mut open = Work::open(self, now)?;
        for (domain, schedule, algorithms) in open.rotating() {
            for algorithm in algorithms {
                // One domain's trouble is not to hold up the others.
                if let Err(error) = open.keep_up(&domain, algorithm, &schedule, &settled).await {
                    open.tell("alarm", format!("the keys of {domain} stay as they are: {error}"));
                }
            }
        }
        Ok(open.told)
    }

    /// The next key of each of a domain's algorithms: made if there is none, put in force if DNS has it.
    pub async fn rotate(&self, domain: &Domain, now: i64) -> Result<(Vec<Next>, Vec<Told>), String> {
        let _turn = self.one.lock().await;
        let mut open = Work::open(self, now)?;
        let Some((schedule, algorithms)) = open.domain(domain) else {
            return Err(format!("{domain} has no keys: the configuration needs [dkim.domain.\"{domain}\"]"));
        };
        let mut all = Vec::new();
        for algorithm in algorithms {
            let succession = open.book.succession(domain.as_str(), algorithm);
            if !succession.ask() {
                open.make(domain, algorithm, true)?;
            }
            let selector = open.book.succession(domain.as_str(), algorithm).next().expect("it was there, or made").selector.clone();
            open.write()?;
            let key = own_key(&self.dir, &selector, domain)?;
            let (published, change) = open.look(domain, algorithm, &selector, &schedule).await?;
            all.push(Next {
                algorithm,
                signs: matches!(change, Change::Switched { .. }),
                dns: published.word().into(),
                why: published.why().map(str::to_owned),
                record: zone_lines(&selector, domain.as_str(), &key.public_record()),
                selector,
            });
        }
        Ok((all, open.told))
    }

    /// The relay's name in events.
    pub fn node(&self) -> Name {
        self.live.load().config.node.clone()
    }

    fn put_in_force(&self, book: &Book) -> Result<(), String> {
        let live = self.live.load_full();
        live.keyring.store(Arc::new(keyring(&live.config, book, &self.dir)?));
        Ok(())
    }
}

impl Told {
    /// Writes it down.
    pub fn write(&self, log: &DeliveryLog, node: &Name) {
        match self.state {
            "alarm" => tracing::warn!(detail = self.detail, "dkim"),
            state => tracing::info!(detail = self.detail, "{state}"),
        }
        log.append(
            event(node, clock::now(), What::Relay { state: self.state.into(), part: Some("dkim".into()), detail: self.detail.clone() }),
            None,
        );
    }
}

/// The public record of a key, asked of DNS and held against the key.
pub async fn published(resolver: &Resolver, key: &Key, selector: &str, domain: &Domain) -> Published {
    match resolver.txt(&format!("{selector}._domainkey.{domain}")).await {
        Ok(records) => Published::of(key, &records),
        Err(why) => Published::Unknown(why),
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

/// The book, open for changes.
struct Work<'r> {
    rotation: &'r Rotation,
    live: Arc<Live>,
    book: Book,
    now: u64,
    told: Vec<Told>,
}

impl<'r> Work<'r> {
    /// Opens the book, with the operator's keys as they are now taken into those successions that are under way or scheduled.
    fn open(rotation: &'r Rotation, now: i64) -> Result<Self, String> {
        let book = Book::read(&rotation.dir)?;
        let live = rotation.live.load_full();
        Ok(Self { rotation, live, book, now: u64::try_from(now).unwrap_or(0), told: Vec::new() })
    }

    fn config(&self) -> &Config {
        &self.live.config
    }

    /// The plan of one domain; its configured keys are in the book after this.
    fn domain(&mut self, domain: &Domain) -> Option<(Schedule, Vec<Algorithm>)> {
        let live = self.live.clone();
        let (_, signing) = signing_domains(&live.config.dkim).into_iter().find(|(d, _)| d == domain)?;
        let (schedule, algorithms) = plan(signing);
        for algorithm in &algorithms {
            let keys = signing.keys.iter().filter(|key| key.key.algorithm() == *algorithm);
            let selectors: Vec<&str> = keys.map(|key| key.selector.as_str()).collect();
            self.book.succession(domain.as_str(), *algorithm).adopt(&selectors, self.now);
        }
        Some((schedule, algorithms))
    }

    /// The domains with a schedule, or with a change under way.
    fn rotating(&mut self) -> Vec<(Domain, Schedule, Vec<Algorithm>)> {
        let live = self.live.clone();
        let all = signing_domains(&live.config.dkim).into_iter();
        let rotates = all.filter(|(domain, signing)| signing.rotation.every.is_some() || self.book.of(domain.as_str()).next().is_some());
        let domains: Vec<Domain> = rotates.map(|(domain, _)| domain).collect();
        domains.into_iter().filter_map(|domain| self.domain(&domain).map(|(schedule, all)| (domain, schedule, all))).collect()
    }

    /// Does what is due for one succession, until there is nothing or only DNS to wait for.
    async fn keep_up(
        &mut self,
        domain: &Domain,
        algorithm: Algorithm,
        schedule: &Schedule,
        settled: &impl Fn(u64) -> bool,
    ) -> Result<(), String> {
        let before = Book::read(&self.rotation.dir)?;
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
        let signing = signing_domains(&self.live.config.dkim).into_iter().find(|(d, _)| d == domain);
        let alike = signing.into_iter().flat_map(|(_, signing)| &signing.keys).filter(|key| key.key.algorithm() == algorithm);
        let bits = alike.map(|key| key.key.bits()).max().unwrap_or_default();
        let (key, pem) = Key::generate_sized(algorithm, bits).map_err(|e| e.to_string())?;
        let selector = self.free_name(domain, algorithm)?;
        let file = key_file(&self.rotation.dir, &selector, domain.as_str());
        keep_key(&file, &pem).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        let now = self.now;
        self.succession(domain, algorithm).made(&selector, asked, now);
        let record = key.public_record();
        self.tell(
            "dkim_key_made",
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
            let all = signing_domains(&self.config().dkim).into_iter();
            all.filter(|(d, _)| d == domain).flat_map(|(_, signing)| &signing.keys).any(|key| key.selector.as_str() == name)
        };
        let known = |name: &str| self.book.of(domain.as_str()).flat_map(|s| &s.keys).any(|key| key.selector == name);
        let taken = |name: &String| configured(name) || known(name) || key_file(&self.rotation.dir, name, domain.as_str()).exists();
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
        let key = own_key(&self.rotation.dir, selector, domain)?;
        // One of its own, without memory: what DNS says now is what counts.
        let resolver = self.live.resolver()?;
        let published = published(&resolver, &key, selector, domain).await;
        let now = self.now;
        let change = self.succession(domain, algorithm).looked(published.is_there(), schedule, now);
        match &change {
            Change::Switched { from, to } => {
                self.write()?;
                self.rotation.put_in_force(&self.book)?;
                let before = from.join(", ");
                self.tell(
                    "dkim_key_switched",
                    format!("{domain} signs with {to} from now on; leave {before} in DNS until it is said that nobody needs it"),
                );
            }
            Change::Overdue => {
                let why = published.why().map_or_else(|| published.word().to_owned(), str::to_owned);
                self.tell(
                    "alarm",
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
            let file = key_file(&self.rotation.dir, selector, domain.as_str());
            std::fs::remove_file(&file).unwrap_or_else(|error| tracing::warn!(%error, file = %file.display(), "a retired key stays"));
        }
        let rest = if ours { "" } else { "; the configuration does not need it any more either" };
        self.tell("dkim_key_retired", format!("{selector}._domainkey.{domain} can be taken out of DNS{rest}"));
        Ok(())
    }

    fn succession(&mut self, domain: &Domain, algorithm: Algorithm) -> &mut Succession {
        self.book.succession(domain.as_str(), algorithm)
    }

    fn write(&self) -> Result<(), String> {
        self.book.write(&self.rotation.dir).map_err(|e| format!("cannot write the book of keys in {}: {e}", self.rotation.dir.display()))
    }

    fn tell(&mut self, state: &'static str, detail: String) {
        self.told.push(Told { state, detail });
    }
}

#[cfg(test)]
mod tests;
