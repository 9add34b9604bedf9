//! Looks once in a while whether something is wrong, by the rules of `posthaste-findings`, and tells what changed.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use posthaste_channels::Channels;
use posthaste_delivery::sources;
use posthaste_findings::{Facts, IncidentChange, RuleSettings, View};
use posthaste_guard::{Guard, Sighting};
use posthaste_host::clock;
use posthaste_journal::{Finding, Journal, Part};
use posthaste_queue::QueueHandle;
use posthaste_tallies::{Tallies, TalliesError};
use posthaste_watch::{FiguresError, Incidents, scores_at};

use crate::{
    desk::Recalled,
    settings::{Settings, Swap},
};

mod facts;
mod house;
mod keys;
mod news;

pub(crate) use house::Parts;
use house::Seen;
use keys::Keys;

/// What lasts is offered to channels once in so many looks, the first one after a start included.
const TOLD_TO_NEW: u64 = 6;
/// How often the health is scored, for metrics and findings. It takes some ten milliseconds.
const SCORED: SignedDuration = SignedDuration::from_secs(30);

/// The alarm about rules that cannot look. It ends by itself.
const UNWATCHED: &str = "unwatched";

/// What the rules look at, and where their findings go.
pub(crate) struct Watcher {
    pub(crate) incidents: Incidents,
    pub(crate) queue: QueueHandle,
    pub(crate) sources: Arc<sources::Watch>,
    pub(crate) channels: Channels,
    pub(crate) guard: Guard,
    pub(crate) settings: Swap,
    pub(crate) recalled: Recalled,
    pub(crate) parts: Parts,
}

impl Watcher {
    /// Looks until the relay stops. Never returns.
    pub(crate) async fn run(self) {
        let Self { incidents, queue, sources, channels, guard, settings, recalled, parts } = self;
        let (keys, spool, journal) = (Keys::default(), parts.spool.clone(), parts.journal.clone());
        let eyes = Arc::new(Eyes { parts, incidents, channels, guard, seen: Mutex::default(), scored: Mutex::default() });
        for turn in 0_u64.. {
            tokio::time::sleep(settings.load().config.rules.incidents.every).await;
            let settings = settings.load_full();
            let Ok(mut table) = queue.table().await else { return };
            recalled.add(&mut table.lanes, &spool, &journal, settings.clone()).await;
            let Some(mut facts) = facts::gather(&settings, &queue, table, &sources).await else { return };
            let every = settings.config.rules.authentication.keys_every;
            facts.keys_missing = keys.missing(&settings.signing, every, clock::now());
            let eyes = eyes.clone();
            let looked = tokio::task::spawn_blocking(move || eyes.look(&settings, facts, turn.is_multiple_of(TOLD_TO_NEW)));
            match looked.await {
                Ok(Ok(())) => journal.mended(Part::Tallies, UNWATCHED, "", || "the rules look again".into()),
                Ok(Err(error)) => journal.raise(unwatched(&error.to_string())),
                Err(error) => journal.raise(unwatched(&format!("a fault of posthaste: {error}"))),
            }
        }
    }
}

fn unwatched(why: &str) -> Finding {
    let what = format!("whether something is wrong with the mail cannot be judged: {why}");
    let remedy = "Mail goes on, and the rules look again in a while; if they fail for long, restart posthaste and report it".into();
    Finding { rule: UNWATCHED, key: String::new(), part: Some(Part::Tallies), what, remedy }
}

/// What a look needs on its thread.
struct Eyes {
    parts: Parts,
    incidents: Incidents,
    channels: Channels,
    guard: Guard,
    seen: Mutex<Seen>,
    /// When the health was scored last.
    scored: Mutex<Option<Timestamp>>,
}

impl Eyes {
    /// One look. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read; rules that need none have looked all the same.
    fn look(&self, settings: &Settings, mut facts: Facts, tell_new: bool) -> Result<(), FiguresError> {
        // Before the tallies are brought up to date, so that they hold all lines before it.
        let now = clock::now();
        let (figures, rules) = (&self.parts.figures, &settings.config.rules);
        let caught_up = figures.catch_up();
        facts.house = self.seen.lock().unwrap_or_else(PoisonError::into_inner).look(settings, &self.parts, now);
        // That the log is not counted is an alarm already, or the rule `house` tells of it.
        let read = caught_up.ok().map(|()| figures.read_as_it_is(|tallies| self.judge(tallies, &mut facts, rules, now)));
        let (changes, failed) = match read {
            Some(Ok(changes)) => (changes, self.score(settings, now).err()),
            blind => {
                facts.guarded = self.guard.facts();
                let changes = self.incidents.tick(View { tallies: None, counted: now, facts: &facts }, rules, now)?;
                (changes, blind.and_then(Result::err))
            }
        };
        self.tell(settings, &changes, tell_new);
        failed.map_or(Ok(()), Err)
    }

    /// Scores the health, if it is time to.
    fn score(&self, settings: &Settings, now: Timestamp) -> Result<(), FiguresError> {
        let mut scored = self.scored.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that went back does not stop it.
        if scored.is_some_and(|at| at <= now && now.duration_since(at) < SCORED) {
            return Ok(());
        }
        *scored = Some(now);
        let (score, stopped) = (&settings.config.score, self.incidents.stopped_lanes());
        let scores = self.parts.figures.read_as_it_is(|tallies| scores_at(tallies, now, score, &stopped))?;
        self.incidents.take_scores(scores, score, now);
        Ok(())
    }

    /// Lets the guard act on what the rules find, before incidents are made of it: then they say what it has done.
    fn judge(
        &self,
        tallies: &Tallies,
        facts: &mut Facts,
        rules: &RuleSettings,
        now: Timestamp,
    ) -> Result<Vec<IncidentChange>, TalliesError> {
        if self.guard.is_on() {
            facts.guarded = self.guard.facts();
            let found = self.incidents.judge(View { tallies: Some(tallies), counted: now, facts }, rules, now)?;
            let seen: Vec<Sighting> = found.iter().filter_map(|(finding, by)| Sighting::of(finding, by)).collect();
            self.guard.look(&seen, now);
        }
        facts.guarded = self.guard.facts();
        self.incidents.tick(View { tallies: Some(tallies), counted: now, facts }, rules, now)
    }

    fn tell(&self, settings: &Settings, changes: &[IncidentChange], tell_new: bool) {
        let journal: &Journal = &self.parts.journal;
        changes.iter().for_each(|change| journal.append(change.at, change.event()));
        self.incidents.save();
        let node = &settings.config.node;
        // Who has heard of what lasts hears nothing; a channel that is new does.
        let closed = self.incidents.closed_by_hand();
        let open = if tell_new { self.incidents.lasting() } else { Vec::new() };
        let lasting = open.iter().map(|incident| news::lasting(incident, node));
        self.channels.offer(lasting.chain(closed.iter().chain(changes).filter_map(|change| news::news(change, node))));
    }
}
