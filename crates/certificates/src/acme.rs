//! Certificates that an authority gives (ACME, RFC 8555) to listeners that ask for one by name.
//!
//! What is ordered is written to a file of [`Store`], and that is all: listeners watch these files like any others and show
//! what is in them. `due` decides when it is time, without a clock; `order` is one order from its beginning to its end; `answer` is the door
//! at which the authority looks whether the names lead here, open only meanwhile; `client` carries the requests.

mod answer;
mod client;
mod due;
mod order;
mod store;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::{Timestamp, Unit};
use posthaste_host::{InForce, clock};
use posthaste_journal::{Journal, Part, State};

pub use self::store::Store;
use self::{
    client::Https,
    due::{Standing, Validity},
    order::Order,
};
use crate::settings::{Acme, AcmeNames, Settings};

/// How often it is asked what is due; that costs nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Orders what listeners ask for and renews it in time, one after the other, for as long as the relay runs. Not in a rehearsal: the authority's
/// time would not pass as fast, and every certificate would seem to have run out.
pub async fn keep(settings: InForce<Settings>, journal: Journal) {
    if clock::is_rehearsal() {
        return;
    }
    let mut keeper = Keeper { journal, followed: None, standings: BTreeMap::new() };
    loop {
        keeper.look(&settings.get()).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is known of the certificates that listeners ask for.
struct Keeper {
    journal: Journal,
    /// Whose words the standings follow: under others everything is looked at anew.
    followed: Option<(Acme, PathBuf)>,
    standings: BTreeMap<AcmeNames, Standing>,
}

impl Keeper {
    async fn look(&mut self, settings: &Settings) {
        let following = Some((settings.acme.clone(), settings.data_dir.clone()));
        if self.followed != following {
            self.followed = following;
            self.standings.clear();
        }
        self.standings.retain(|names, _| settings.wanted.contains(names));
        let store = Store::new(&settings.data_dir, &settings.acme.directory);
        for names in &settings.wanted {
            let standing = self.standings.entry(names.clone()).or_insert_with(|| stored(&store, names));
            if standing.is_due(settings.acme.renew_before, clock::now()) {
                self.order(settings, &store, names.clone()).await;
            }
        }
    }

    async fn order(&mut self, settings: &Settings, store: &Store, names: AcmeNames) {
        let Some(tls) = &settings.tls else { return };
        let (acme, standing) = (&settings.acme, self.standings.entry(names.clone()).or_default());
        tracing::info!(names = listed(&names), directory = acme.directory, "ordering a certificate");
        let https = Https::new(tls);
        let done = Order { acme, store, https: &https, names: &names }.done().await;
        let (state, detail) = match done {
            Ok(pair) => {
                let validity = Validity::of(&pair);
                standing.issued(validity, clock::now());
                let renewed = second(validity.renewed_at(acme.renew_before));
                let Validity { until, .. } = validity;
                (
                    State::Issued,
                    format!("{} gave a certificate for {}, good until {until}, renewed from {renewed}", acme.directory, listed(&names)),
                )
            }
            Err(error) => {
                let again = second(standing.failed(https.asked_to_wait_until(), clock::now()));
                let shown = match standing.validity() {
                    Some(Validity { until, .. }) => format!("the one that is there is good until {until}"),
                    None => "the relay shows one that it made up".to_owned(),
                };
                (State::Alarm, format!("no certificate for {}: {error}; tried again at {again}; {shown}", listed(&names)))
            }
        };
        self.journal.say(Part::Acme, state, detail);
    }
}

/// Where a certificate stands by what lies on the disk. One that cannot be read is none.
fn stored(store: &Store, names: &AcmeNames) -> Standing {
    let pair = store.files(names).read().ok().filter(|pair| names.iter().all(|name| pair.is_for(name.as_str())));
    pair.as_ref().map(Validity::of).map(Standing::with).unwrap_or_default()
}

fn listed(names: &AcmeNames) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// As people write times.
fn second(time: Timestamp) -> Timestamp {
    time.round(Unit::Second).unwrap_or(time)
}
