//! What takes questions to DNS: whether a report that is a hint so far comes from the receiving side all the same, by the names of the host
//! that brought it or by its signature. The host has its answer by then.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use posthaste_dkim::{
    arc::{NoAnswer, Records},
    author::{self, AuthorClaim},
};
use posthaste_host::readings::Reading;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    found::{Belief, Return, Trust, believed},
    handler::ReturnHandler,
    origin::{Origins, Way},
    settings::Settings,
    unread::Begun,
};

/// The largest mail whose signatures are verified, in bytes. The one that reports hold is returned without its body, most often; many of these
/// may wait at once.
const SIGNED_MAX: usize = 256 << 10;
/// The most keys that are looked up for one mail.
const KEYS_MAX: usize = 3;
/// How long the look-ups for one mail may take.
const WITHIN: Duration = Duration::from_secs(15);

impl ReturnHandler {
    /// Looks in the background into those of these returns that are hints although they came to a reverse-path. Those that prove to come from
    /// the receiving side have another line then, as proof.
    pub(crate) fn confirm_later(
        &self,
        reading: Arc<Reading>,
        settings: &Arc<Settings>,
        mail: Bytes,
        returns: Vec<Return>,
        way: Way,
        now: Timestamp,
    ) {
        let returns: Vec<Return> = returns.into_iter().filter(|found| may_be_proof(found, settings)).collect();
        let Some(me) = self.me.upgrade().filter(|_| !returns.is_empty()) else { return };
        let Ok(place) = self.confirming.clone().try_acquire_owned() else {
            tracing::debug!("too many returned mails are looked into at once: one stays a hint");
            return;
        };
        let settings = settings.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Ok(proven) = timeout(WITHIN, me.proven(&reading, &settings, mail, returns, way.clone(), now)).await {
                // Without a line, the hint stands.
                let _ = me.note_all(&settings, proven, &way, None, now).await;
            }
        });
    }

    /// Those that come from the receiving side by what DNS says.
    async fn proven(
        &self,
        reading: &Arc<Reading>,
        settings: &Arc<Settings>,
        mail: Bytes,
        mut returns: Vec<Return>,
        mut way: Way,
        now: Timestamp,
    ) -> Vec<Return> {
        if let Some(host) = way.host.as_mut().filter(|host| host.names.is_none()) {
            host.names = self.peers.names(&settings.resolver, host.ip, now).await;
        }
        place(&mut returns, &way, settings);
        if !returns.iter().all(|found| is_proof(found, settings)) {
            way.authors = authors(reading, settings, mail, &returns).await;
            place(&mut returns, &way, settings);
        }
        returns.retain(|found| is_proof(found, settings));
        returns
    }

    /// The same returns, with what their signatures prove. For mail that nobody waits for an answer about.
    pub(crate) async fn with_authors(
        &self,
        begun: &Begun,
        settings: &Arc<Settings>,
        mail: Bytes,
        mut returns: Vec<Return>,
        mut way: Way,
    ) -> Vec<Return> {
        if returns.iter().any(|found| may_be_proof(found, settings)) {
            way.authors = timeout(WITHIN, authors(&begun.reading, settings, mail, &returns)).await.unwrap_or_default();
            place(&mut returns, &way, settings);
        }
        returns
    }
}

/// Whether it came to a reverse-path and is a hint so far.
fn may_be_proof(found: &Return, settings: &Settings) -> bool {
    found.about().is_some_and(|about| about.trust == Trust::Verp) && believed(found, settings.returns.trust) == Belief::Hint
}

fn is_proof(found: &Return, settings: &Settings) -> bool {
    believed(found, settings.returns.trust) == Belief::Proof
}

/// Says again where these come from, by what is known now.
fn place(returns: &mut [Return], way: &Way, settings: &Settings) {
    let origins = Origins { way, providers: settings.resolver.providers() };
    for about in returns.iter_mut().filter_map(Return::about_mut) {
        about.origin = origins.of(&about.sent, settings.paths.all());
    }
}

/// The claims of the mail's signatures that would make one of these proof and that verify.
async fn authors(reading: &Arc<Reading>, settings: &Arc<Settings>, mail: Bytes, returns: &[Return]) -> Vec<AuthorClaim> {
    if mail.len() > SIGNED_MAX {
        return Vec::new();
    }
    // A panic makes nothing proof; the thread notes for as long as it works what it reads.
    let (read, held) = (mail.clone(), reading.clone());
    let Ok(mut claims) = tokio::task::spawn_blocking(move || (author::claims(&read), held).0).await else { return Vec::new() };
    let (way, verps) = (Way::default(), settings.paths.all());
    let origins = Origins { way: &way, providers: settings.resolver.providers() };
    let is_of_use = |claim: &AuthorClaim| {
        let mut about = returns.iter().filter_map(Return::about);
        about.any(|about| origins.is_by_its_mail_system(claim, &about.sent, verps))
    };
    claims.retain(is_of_use);
    claims.truncate(KEYS_MAX);
    if claims.is_empty() {
        return claims;
    }
    let records = keys(settings, &claims).await;
    let held = reading.clone();
    tokio::task::spawn_blocking(move || (author::verified(&mail, &claims, &records), held).0).await.unwrap_or_default()
}

async fn keys(settings: &Arc<Settings>, claims: &[AuthorClaim]) -> Records {
    let mut asked = JoinSet::new();
    for name in claims.iter().map(|claim| claim.key_name.clone()) {
        let settings = settings.clone();
        asked.spawn(async move {
            let said = settings.resolver.txt(&name).await;
            (name, said.map_err(|error| NoAnswer::new(&error)))
        });
    }
    asked.join_all().await.into_iter().collect()
}
