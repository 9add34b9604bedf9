//! mail-auth's verifier, with its cache of TXT records filled beforehand.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc, time::Instant};

use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
    common::{parse::TxtRecordParser, verify::DomainKey},
};

use super::{Record, Sample};

struct Zone(HashMap<Box<str>, Txt>);

impl ResolverCache<Box<str>, Txt> for Zone {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(name).cloned()
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, name: Box<str>, _: Txt, _: Instant) {
        panic!("DNS was asked for {name}");
    }
}

pub(crate) fn verify(samples: &[Sample], records: &[Record]) -> Vec<bool> {
    let parse = |record: &Record| Txt::DomainKey(Arc::new(DomainKey::parse(record.text.as_bytes()).unwrap()));
    let zone = Zone(records.iter().map(|record| (format!("{}.", record.name).into(), parse(record))).collect());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let verifier = MessageAuthenticator::new_cloudflare().unwrap();
        let mut verdicts = Vec::new();
        for sample in samples {
            let message = AuthenticatedMessage::parse(&sample.message).unwrap();
            let results = verifier.verify_dkim(Parameters::new(&message).with_txt_cache(&zone)).await;
            verdicts.push(!results.is_empty() && results.iter().all(|one| *one.result() == DkimResult::Pass));
        }
        verdicts
    })
}
