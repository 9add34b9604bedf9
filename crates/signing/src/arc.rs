//! Forwarded mail: what it brought is looked up, checked and sealed (RFC 8617). Whatever goes wrong, the mail goes on.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use posthaste_dkim::{
    Algorithm, Signer,
    arc::{Passage, Records, is_forwarded, names},
};
use posthaste_message as message;
use tokio::{task::JoinSet, time::timeout};

use crate::{settings::Settings, threads::SignerThreads};

/// How long DNS has for all keys of a message together. A key that has not come by then counts as one that is not there.
const LOOKUPS_WITHIN: Duration = Duration::from_secs(10);

/// The ARC set to put before a message that `came` like this and goes on as `goes`; None if it brought nothing, or nothing may be added.
pub(crate) async fn seal(settings: &Arc<Settings>, crew: &SignerThreads, came: Bytes, goes: Vec<Bytes>, client: IpAddr) -> Option<String> {
    if !is_forwarded(message::header_block(&came)) {
        return None;
    }
    let sealer = sealer(settings)?;
    let questions = came.clone();
    let names = crew.run(move || names(&questions)).await.ok()?;
    let records = look_up(settings, names).await;
    let host = settings.hostname.to_string();
    let sealing = move || {
        let goes: Vec<&[u8]> = goes.iter().map(|part| &part[..]).collect();
        sealer.seal(&Passage { came: &came, goes: &goes, records: &records, host: &host, client })
    };
    let sealed = crew.run(sealing).await;
    sealed.unwrap_or_else(|error| {
        tracing::warn!(%error, "a message goes on without a seal");
        None
    })
}

/// The sealing domain's key: RSA, where it has one, since every receiver checks that.
fn sealer(settings: &Settings) -> Option<Signer> {
    let ring = settings.keyring.load();
    let signers = ring.signers_of(settings.dkim.sealer()?.as_str());
    signers.iter().find(|signer| signer.key().algorithm() == Algorithm::RsaSha256).or(signers.first()).cloned()
}

/// All at once; what does not come in time is missing.
async fn look_up(settings: &Arc<Settings>, names: Vec<String>) -> Records {
    let resolver = match settings.key_resolver() {
        Ok(resolver) => resolver.clone(),
        Err(why) => return names.into_iter().map(|name| (name, Err(why.clone()))).collect(),
    };
    let mut asked = JoinSet::new();
    for name in names {
        let resolver = resolver.clone();
        asked.spawn(async move {
            let said = resolver.txt(&name).await;
            (name, said)
        });
    }
    let mut records = Records::new();
    let all = async {
        while let Some(answer) = asked.join_next().await {
            records.extend(answer.ok());
        }
    };
    // What is missing is told apart by the seal itself.
    let _ = timeout(LOOKUPS_WITHIN, all).await;
    records
}
