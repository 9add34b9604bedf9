//! Forwarded mail: its signatures and seals are checked and it is sealed (RFC 8617). Mail goes on unsealed if any of that fails.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use posthaste_dkim::{
    Algorithm, Signer,
    arc::{NoAnswer, Passage, Records, is_forwarded, names},
};
use posthaste_message as message;
use tokio::{task::JoinSet, time::timeout};

use crate::{settings::Settings, threads::SignerThreads};

/// The time for looking up all keys of a message. A key that has not arrived by then counts as a look-up that failed.
const LOOKUPS_WITHIN: Duration = Duration::from_secs(10);

/// The ARC set to put before a message that was received as `came` and is sent as `goes`; None if it is not forwarded mail or may not be
/// sealed.
pub(crate) async fn seal(
    settings: &Arc<Settings>,
    threads: &SignerThreads,
    came: Bytes,
    goes: Vec<Bytes>,
    client: IpAddr,
) -> Option<String> {
    if !is_forwarded(message::header_block(&came)) {
        return None;
    }
    let sealer = sealer(settings)?;
    let questions = came.clone();
    let names = threads.run(move || names(&questions)).await.ok()?;
    let records = look_up(settings, names).await;
    let host = settings.hostname.to_string();
    let sealing = move || {
        let goes: Vec<&[u8]> = goes.iter().map(|part| &part[..]).collect();
        sealer.seal(&Passage { came: &came, goes: &goes, records: &records, host: &host, client })
    };
    let sealed = threads.run(sealing).await;
    sealed.unwrap_or_else(|error| {
        tracing::warn!(%error, "a forwarded message was not sealed");
        None
    })
}

/// The signer of the sealing domain; an RSA key if the domain has one, since every receiver can verify it.
fn sealer(settings: &Settings) -> Option<Signer> {
    let ring = settings.keyring.load();
    let signers = ring.signers_of(settings.dkim.sealer()?.as_str());
    signers.iter().find(|signer| signer.key().algorithm() == Algorithm::RsaSha256).or(signers.first()).cloned()
}

/// Looks up all names at once; those without an answer in time are missing.
async fn look_up(settings: &Arc<Settings>, names: Vec<String>) -> Records {
    let resolver = match settings.key_resolver() {
        Ok(resolver) => resolver.clone(),
        Err(why) => return names.into_iter().map(|name| (name, Err(NoAnswer::new(&why)))).collect(),
    };
    let mut lookups = JoinSet::new();
    for name in names {
        let resolver = resolver.clone();
        lookups.spawn(async move {
            let texts = resolver.txt(&name).await;
            (name, texts.map_err(|unavailable| NoAnswer::new(&unavailable)))
        });
    }
    let mut records = Records::new();
    let all = async {
        while let Some(answer) = lookups.join_next().await {
            records.extend(answer.ok());
        }
    };
    // Names without an answer are missing from the records; the seal counts them as look-ups that failed.
    let _ = timeout(LOOKUPS_WITHIN, all).await;
    records
}
