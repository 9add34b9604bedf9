//! Certificates ordered from an ACME authority (RFC 8555) for the names that listeners ask for.
//!
//! An ordered certificate is only written to a file of [`AcmeStore`]; listeners watch these files like any others and show their contents.
//! `due` decides when to order, without a clock; `order` is one order from beginning to end; `answer` listens, during an order only, for
//! the authority's checks that the names lead here; `client` sends the requests.

mod answer;
mod client;
mod due;
mod order;
mod store;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::{Timestamp, Unit};
use posthaste_host::{InForce, clock};
use posthaste_journal::{Finding, Journal, Part, State};

pub use self::store::AcmeStore;
use self::{
    client::Https,
    due::{RenewalState, Validity},
    order::Order,
};
use crate::settings::{Acme, AcmeNames, Settings};

/// How often the relay checks what is due; the check is cheap.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The alarm about a certificate that an authority does not give.
const UNISSUED: &str = "certificate_unissued";

/// Orders the certificates that listeners ask for and renews them in time, one after the other, for as long as the relay runs. A rehearsal
/// orders nothing: its clock runs faster than the authority's, and every certificate would seem to have run out.
pub async fn keep(settings: InForce<Settings>, journal: Journal) {
    if clock::is_rehearsal() {
        return;
    }
    let mut keeper = Keeper { journal, followed: None, states: BTreeMap::new() };
    loop {
        keeper.look(&settings.get()).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The state of the certificates that listeners ask for.
struct Keeper {
    journal: Journal,
    /// The settings that the states belong to. When these change, the states are read from the disk again.
    followed: Option<(Acme, PathBuf)>,
    states: BTreeMap<AcmeNames, RenewalState>,
}

impl Keeper {
    async fn look(&mut self, settings: &Settings) {
        let following = Some((settings.acme.clone(), settings.data_dir.clone()));
        if self.followed != following {
            self.followed = following;
            self.states.clear();
        }
        self.states.retain(|names, _| settings.wanted.contains(names));
        let store = AcmeStore::new(&settings.data_dir, &settings.acme.directory);
        for names in &settings.wanted {
            let state = self.states.entry(names.clone()).or_insert_with(|| stored(&store, names));
            if state.is_due(settings.acme.renew_before, clock::now()) {
                self.order(settings, &store, names.clone()).await;
            }
        }
    }

    async fn order(&mut self, settings: &Settings, store: &AcmeStore, names: AcmeNames) {
        let Some(tls) = &settings.tls else { return };
        let (acme, renewal) = (&settings.acme, self.states.entry(names.clone()).or_default());
        tracing::info!(names = listed(&names), directory = acme.directory, "ordering a certificate");
        let https = Https::new(tls);
        let done = Order { acme, store, https: &https, names: &names }.done().await;
        let key = listed(&names);
        match done {
            Ok(pair) => {
                let validity = Validity::of(&pair);
                renewal.issued(validity, clock::now());
                let renewed = second(validity.renewed_at(acme.renew_before));
                let Validity { until, .. } = validity;
                self.journal.mended_silently(UNISSUED, &key);
                let detail = format!("{} gave a certificate for {key}, good until {until}, renewed from {renewed}", acme.directory);
                self.journal.say(Part::Acme, State::Issued, detail);
            }
            Err(error) => {
                let again = second(renewal.failed(https.asked_to_wait_until(), clock::now()));
                let shown = match renewal.validity() {
                    Some(Validity { until, .. }) => format!("the present one is good until {until}"),
                    None => "the relay shows one that it made up itself".to_owned(),
                };
                let what = format!("no certificate for {key}: {error}; tried again at {again}; {shown}");
                let remedy = "It is tried again by itself; if the authority names something, mend that".into();
                self.journal.raise_again(Finding { rule: UNISSUED, key, part: Some(Part::Acme), what, remedy });
            }
        }
    }
}

/// The state of a certificate by its file on disk. A file that cannot be read counts as absent.
fn stored(store: &AcmeStore, names: &AcmeNames) -> RenewalState {
    let pair = store.files(names).read().ok().filter(|pair| names.iter().all(|name| pair.is_for(name.as_str())));
    pair.as_ref().map(Validity::of).map(RenewalState::with).unwrap_or_default()
}

fn listed(names: &AcmeNames) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Rounded to seconds, for people.
fn second(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}
