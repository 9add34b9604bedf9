//! Keys that sign although DNS does not have them: receivers take such signatures for forged.

use std::time::Duration;

use posthaste_dkim::{Key, Published, Stage};
use posthaste_mail::{Domain, Foreign};
use posthaste_route::Resolver;
use posthaste_signing::{
    key_store::KeyStore,
    keyring::{own_key, signing_domains},
    rotation::news::published,
};
use tokio::time::timeout;

/// How long the look-ups may take in all: whoever checks a configuration waits for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key that signs, and what DNS says about it.
pub(crate) struct LookedUp {
    pub(crate) domain: Domain,
    pub(crate) selector: String,
    /// What DNS has in place of the key, in words; None: it has the key.
    pub(crate) wrong: Option<String>,
}

/// Warnings about keys that sign and that DNS does not have; for people, one line each.
pub async fn unpublished(signing: &posthaste_signing::Settings, resolver: &Resolver) -> Vec<String> {
    let mut found = Vec::new();
    let unknown = look_up(signing, resolver, PATIENCE, &mut found).await;
    let wrong = found.into_iter().filter_map(|LookedUp { domain, selector, wrong }| {
        Some(format!(
            "dkim.domain.\"{domain}\" signs with the key {selector}, and {}: receivers take its signatures for forged; \
             `posthaste dkim dns {domain}` prints the record to publish",
            wrong?
        ))
    });
    wrong.chain(unknown).collect()
}

/// Looks up the keys that sign, one after the other, for so long at most. Returns why it is not known of some whether DNS has them.
pub(crate) async fn look_up(
    signing: &posthaste_signing::Settings,
    resolver: &Resolver,
    patience: Duration,
    found: &mut Vec<LookedUp>,
) -> Option<String> {
    let mut unknown = None;
    let look = async {
        for (domain, selector, key) in signing_keys(signing) {
            let wrong = match published(resolver, &key, &selector, &domain).await {
                Published::Matches => None,
                Published::Missing => Some("DNS does not have it".to_owned()),
                Published::Mismatch(why) => Some(format!("DNS has another one ({})", Foreign::new(&why))),
                Published::Unknown(why) => {
                    unknown.get_or_insert_with(|| format!("it is not known whether DNS has the DKIM keys: {}", Foreign::new(&why)));
                    continue;
                }
            };
            found.push(LookedUp { domain, selector, wrong });
        }
    };
    match timeout(patience, look).await {
        Ok(()) => unknown,
        Err(_) => Some("it is not known whether DNS has all DKIM keys: the look-ups take too long".into()),
    }
}

/// The keys that sign at present, configured ones and those that the relay made, each with its domain and selector. A store or a key that cannot
/// be read is reported by whoever opens it.
fn signing_keys(signing: &posthaste_signing::Settings) -> Vec<(Domain, String, Key)> {
    let (dir, store) = (&signing.key_dir, KeyStore::read(&signing.key_dir).unwrap_or_default());
    let mut all = Vec::new();
    for (domain, of_domain) in signing_domains(&signing.dkim) {
        let signs = |selector: &str| store.signs(domain.as_str(), selector);
        let given = of_domain.keys.iter().filter(|key| signs(key.selector.as_str()));
        all.extend(given.map(|key| (domain.clone(), key.selector.as_str().to_owned(), key.key.clone())));
        let heirs = store.of(domain.as_str()).flat_map(|succession| &succession.keys);
        let made = heirs.filter(|key| key.ours && matches!(key.stage, Stage::Active { .. }));
        all.extend(made.filter_map(|heir| Some((domain.clone(), heir.selector.clone(), own_key(dir, &heir.selector, &domain).ok()?))));
    }
    all
}
