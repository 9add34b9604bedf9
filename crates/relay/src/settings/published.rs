//! Keys that sign although DNS does not have them: receivers take such signatures for forged.

use std::time::Duration;

use posthaste_dkim::{Published, Stage};
use posthaste_mail::Foreign;
use posthaste_route::Resolver;
use posthaste_signing::{key_store::KeyStore, keyring::signing_domains, rotation::news::published};
use tokio::time::timeout;

/// How long the look-ups may take in all: whoever checks a configuration waits for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Warnings about keys that sign and that DNS does not have; for people, one line each.
pub async fn unpublished(signing: &posthaste_signing::Settings, resolver: &Resolver) -> Vec<String> {
    let mut told = Vec::new();
    // A store that cannot be read is reported by whoever opens it.
    let store = KeyStore::read(&signing.key_dir).unwrap_or_default();
    let look = async {
        for (domain, keys) in signing_domains(&signing.dkim) {
            for key in &keys.keys {
                let selector = key.selector.as_str();
                let heirs = || store.of(domain.as_str()).flat_map(|succession| &succession.keys);
                let signs = heirs().find(|heir| heir.selector == selector).is_none_or(|heir| matches!(heir.stage, Stage::Active { .. }));
                if !signs {
                    continue;
                }
                let what = match published(resolver, &key.key, selector, &domain).await {
                    Published::Matches => continue,
                    Published::Missing => "DNS does not have it".to_owned(),
                    Published::Mismatch(why) => format!("DNS has another one ({})", Foreign::new(&why)),
                    Published::Unknown(why) => {
                        told.push(format!("it is not known whether DNS has the DKIM keys: {}", Foreign::new(&why)));
                        return;
                    }
                };
                told.push(format!(
                    "dkim.domain.\"{domain}\" signs with the key {selector}, and {what}: receivers take its signatures for forged; \
                     `posthaste dkim dns {domain}` prints the record to publish"
                ));
            }
        }
    };
    if timeout(PATIENCE, look).await.is_err() {
        told.push("it is not known whether DNS has all DKIM keys: the look-ups take too long".into());
    }
    told
}
