//! Mail for this host itself (root, `<postmaster>`) that nobody would read.

use std::time::Duration;

use posthaste_config::Config;
use posthaste_delivery::own_name::REMEDY;
use posthaste_mail::{Failure, LocalCause};
use posthaste_route::{Resolver, Turns};
use tokio::time::timeout;

/// How long the look-up may take: whoever checks a configuration waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A postmaster at this host's own name, to which no route leads; for people.
pub(super) fn own_postmaster(config: &Config) -> Option<String> {
    let postmaster = config.postmaster.as_ref().filter(|postmaster| postmaster.domain() == config.hostname.as_str())?;
    config.routes.find(&config.hostname).is_none().then(|| {
        format!(
            "postmaster = \"{postmaster}\" is at this host's own name, and the relay keeps no mailboxes: unless DNS has an MX for {} that leads to \
             another host, its mail waits and is lost in the end. Give an address that people read elsewhere",
            config.hostname
        )
    })
}

/// Whether mail for root and `<postmaster>` leads back to this host, as DNS is now; for people.
pub async fn own_mail(config: &Config, resolver: &Resolver) -> Option<String> {
    if config.postmaster.is_some() {
        return None;
    }
    let asker = Turns::new(1).asker(0, false);
    let why = timeout(PATIENCE, resolver.route_for(&asker, &config.hostname)).await.ok()?.err()?;
    matches!(why.failure, Failure::Local { cause: LocalCause::Loop, .. })
        .then(|| format!("mail for root and <postmaster> leads back to this host ({}), and waits. {REMEDY}", why.failure))
}
