//! What the overview shows, read at most every two seconds for all who look at once.

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher as _},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use posthaste_findings::{Facts, score::Scores};
use posthaste_governor::warmup::{LaneStatus, WarmupAnswer, WarmupQuestion};
use posthaste_host::clock;
use posthaste_relay::desk::{Desk, Queue, Undone};
use posthaste_tallies::{Block, Cell, Dimension, Grain, Span, Tallies, TalliesError};
use posthaste_watch::{Figures, Scored, Shown, lasting};
use tokio::sync::Mutex;

use crate::words::foreign;

/// For so long all who look see the same.
const FRESH: Duration = Duration::from_secs(2);
/// Figures of whole hours cost more where there is much mail. They are read again after so many times what it took, and after this at the latest.
const HOURS_COST: u32 = 100;
const HOURS_FRESH: Duration = Duration::from_secs(30);
/// The score of a week ago costs the most.
const WEEK_FRESH: Duration = Duration::from_secs(1800);

/// Everything on the overview at one moment.
pub(crate) struct Snapshot {
    /// When it was read.
    pub(crate) now: Timestamp,
    /// The zone of times and days.
    pub(crate) zone: TimeZone,
    /// Changes with what is shown.
    pub(crate) version: u64,
    /// The queue, and what stands in the mail's way.
    pub(crate) queue: Queue,
    /// Lanes that warm up or were pushed back.
    pub(crate) lanes: Vec<LaneStatus>,
    /// Whether monitoring is off: then there are no incidents because nothing looks.
    pub(crate) is_off: bool,
    /// Incidents, the open ones first.
    pub(crate) incidents: Vec<Shown>,
    /// What the rules found at their last look, by id.
    pub(crate) found: HashSet<String>,
    /// What the rules looked at last.
    pub(crate) facts: Option<Arc<Facts>>,
    /// The health scores.
    pub(crate) scores: Option<Arc<Scores>>,
    /// What the log comes to; None: it is not counted, or cannot be read.
    pub(crate) counted: Option<Counted>,
    /// The whole score of seven days ago, and the arrow from there.
    pub(crate) week_ago: Option<(u8, &'static str)>,
}

/// What the log comes to.
pub(crate) struct Counted {
    /// All mail of the last hour.
    pub(crate) hour: Cell,
    /// What takes whole hours.
    pub(crate) hours: Arc<Hours>,
}

/// Figures of whole hours.
pub(crate) struct Hours {
    /// All mail of the last 24 hours.
    pub(crate) day: Cell,
    /// All mail of this hour a week ago.
    pub(crate) week_ago: Cell,
    /// The last 24 hours by provider, stream, user, domain of the From field, and by rule and provider.
    pub(crate) providers: Block,
    pub(crate) streams: Block,
    pub(crate) users: Block,
    pub(crate) froms: Block,
    pub(crate) rules: Block,
    /// Each of the last 24 hours by provider; those without mail too.
    pub(crate) by_hour: Vec<(Timestamp, Block)>,
}

/// The newest snapshot.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    newest: Option<(Instant, Arc<Snapshot>)>,
    /// Until when they are fresh.
    hours: Option<(Instant, Arc<Hours>)>,
    week_ago: Option<(Instant, Option<(u8, &'static str)>)>,
}

impl Snapshots {
    /// A snapshot that is not older than two seconds.
    pub(crate) async fn of(&self, desk: &Desk) -> Result<Arc<Snapshot>, Undone> {
        let mut kept = self.0.lock().await;
        let now = clock::instant();
        if let Some((_, snapshot)) = kept.newest.as_ref().filter(|(at, _)| now.saturating_duration_since(*at) < FRESH) {
            return Ok(snapshot.clone());
        }
        let snapshot = Arc::new(kept.read(desk, now).await?);
        kept.newest = Some((now, snapshot.clone()));
        Ok(snapshot)
    }

    /// Somebody changed something: the next who looks sees it.
    pub(crate) async fn changed(&self) {
        self.0.lock().await.newest = None;
    }
}

impl Kept {
    async fn read(&mut self, desk: &Desk, at: Instant) -> Result<Snapshot, Undone> {
        let now = clock::now();
        let queue = desk.queue().await?;
        let lanes = match desk.warmup(WarmupQuestion::Status).await? {
            WarmupAnswer::Lanes { lanes } => lanes,
            _ => Vec::new(),
        };
        let counted = match desk.figures.clone() {
            Some(figures) => self.counted(figures, at, now).await,
            None => None,
        };
        let (incidents, facts, scores) = (desk.incidents().unwrap_or_default(), desk.incidents.facts(), desk.incidents.scores());
        let scores = scores.map(|scores| Arc::new(scores.as_ref().clone().beside(&lasting(&incidents))));
        let week_ago = self.week_ago(desk, at, now).await;
        let mut snapshot = Snapshot {
            now,
            zone: zone(desk),
            version: 0,
            queue,
            lanes,
            is_off: desk.figures.is_none(),
            incidents,
            found: desk.incidents.found_now(),
            facts,
            scores,
            counted,
            week_ago,
        };
        snapshot.version = snapshot.fingerprint();
        Ok(snapshot)
    }

    async fn counted(&mut self, figures: Figures, at: Instant, now: Timestamp) -> Option<Counted> {
        let kept = self.hours.take().filter(|(until, _)| at < *until);
        let read = tokio::task::spawn_blocking(move || {
            figures.read_soon(|tallies| {
                let hour = whole(&tallies.sum(Dimension::All, last(now, SignedDuration::from_hours(1)))?);
                let kept = match kept {
                    Some(kept) => kept,
                    None => {
                        let began = clock::instant();
                        let hours = Arc::new(Hours::read(tallies, now)?);
                        let took = clock::instant().saturating_duration_since(began);
                        (at + (took * HOURS_COST).min(HOURS_FRESH), hours)
                    }
                };
                Ok((kept, hour))
            })
        });
        // What is wrong with the counting is an alarm already.
        let ((until, hours), hour) = read.await.ok()?.ok()?;
        self.hours = Some((until, hours.clone()));
        Some(Counted { hour, hours })
    }

    async fn week_ago(&mut self, desk: &Desk, at: Instant, now: Timestamp) -> Option<(u8, &'static str)> {
        if let Some((_, score)) = self.week_ago.filter(|(then, _)| at.saturating_duration_since(*then) < WEEK_FRESH) {
            return score;
        }
        let (figures, settings) = (desk.figures.clone()?, desk.settings.load().config.score.clone());
        let stopped = desk.incidents.stopped_lanes();
        let read = move || figures.read_soon(|tallies| Scored::read(tallies, now, &settings, &stopped)).ok();
        let scored = tokio::task::spawn_blocking(read).await.ok().flatten();
        let score = scored.and_then(|scored| Some((scored.week_ago?, scored.trend?)));
        self.week_ago = Some((at, score));
        score
    }
}

impl Hours {
    fn read(tallies: &Tallies, now: Timestamp) -> Result<Self, TalliesError> {
        let day = last(now, SignedDuration::from_hours(24));
        let before = |hours| now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(now);
        let week_ago = Span { from: before(7 * 24 + 1), to: before(7 * 24) };
        Ok(Self {
            day: whole(&tallies.sum(Dimension::All, day)?),
            week_ago: whole(&tallies.sum(Dimension::All, week_ago)?),
            providers: tallies.sum(Dimension::Provider, day)?,
            streams: tallies.sum(Dimension::Stream, day)?,
            users: tallies.sum(Dimension::User, day)?,
            froms: tallies.sum(Dimension::FromDomain, day)?,
            rules: tallies.sum(Dimension::RuleProvider, day)?,
            by_hour: all_hours(tallies.series(Dimension::Provider, day, Grain::Hour)?, now),
        })
    }
}

impl Snapshot {
    /// Incidents that are open and not muted.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Shown> {
        self.incidents.iter().filter(|incident| incident.state == "open")
    }

    /// The hours of [`Hours::by_hour`] in which something stood in the way of mail to a provider (None: to any), with the words and how bad
    /// it was: 1 slowed, 2 stopped.
    pub(crate) fn troubles(&self, provider: Option<&str>) -> Vec<(usize, usize, u8, String)> {
        let Some(hours) = self.counted.as_ref().map(|counted| &counted.hours.by_hour) else { return Vec::new() };
        let at = |time: Timestamp| hours.iter().rposition(|(begin, _)| *begin <= time);
        let is_about = |key: &str| match key.split_once(':') {
            Some(("provider", name)) => provider.is_none_or(|wanted| wanted == name),
            Some(("lane" | "stream_provider", pair)) => {
                provider.is_none_or(|wanted| pair.rsplit_once('/').is_some_and(|(_, name)| name == wanted))
            }
            _ => false,
        };
        let of = |incident: &Shown| {
            let to = incident.closed.map_or(Some(hours.len()), |closed| at(closed).map(|place| place + 1))?;
            let how = if matches!(&*incident.told.rule, "mail_stands" | "lane") { 2 } else { 1 };
            Some((at(incident.since).unwrap_or(0), to, how, foreign(&incident.told.detail)))
        };
        self.incidents.iter().filter(|incident| is_about(&incident.told.key)).filter_map(of).filter(|(from, to, ..)| from < to).collect()
    }

    /// A number that changes with what is shown. Times that only pass do not change it.
    fn fingerprint(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let counts = self.queue.counts;
        (counts.messages, counts.recipients, counts.due, counts.later, counts.held, counts.connections).hash(&mut hash);
        (&self.queue.closed, &self.queue.halted, &self.queue.blocked, self.queue.standing.alarms.len()).hash(&mut hash);
        for hold in &self.queue.holds {
            (&hold.source, &hold.provider, &hold.held.why).hash(&mut hash);
        }
        for incident in &self.incidents {
            (&incident.id, &incident.state, incident.told.n).hash(&mut hash);
        }
        for lane in &self.lanes {
            (&lane.source, &lane.provider, lane.used, lane.accepted, &lane.hold).hash(&mut hash);
        }
        if let Some(counted) = &self.counted {
            for counter in posthaste_tallies::Counter::ALL {
                counted.hour.get(*counter).hash(&mut hash);
            }
        }
        self.scores.as_ref().map(|scores| scores.all.value).hash(&mut hash);
        hash.finish()
    }
}

/// The hours of which there are figures, and those between and before them without any.
fn all_hours(some: Vec<(Timestamp, Block)>, now: Timestamp) -> Vec<(Timestamp, Block)> {
    const HOUR: i64 = 3600;
    let this = now.as_second().div_euclid(HOUR) * HOUR;
    let mut some: HashMap<Timestamp, Block> = some.into_iter().collect();
    let begins = (0..24).rev().filter_map(|back| Timestamp::from_second(this - back * HOUR).ok());
    begins.map(|begin| (begin, some.remove(&begin).unwrap_or_default())).collect()
}

/// The zone of times and days.
pub(crate) fn zone(desk: &Desk) -> TimeZone {
    desk.settings.load().config.monitor.counting.as_ref().map_or(TimeZone::UTC, |counting| counting.zone.clone())
}

/// The last hours; the minute that is not over yet counts too.
fn last(now: Timestamp, long: SignedDuration) -> Span {
    Span { from: now.checked_sub(long).unwrap_or(now), to: now.checked_add(SignedDuration::from_mins(1)).unwrap_or(now) }
}

fn whole(block: &Block) -> Cell {
    block.iter().next().map(|(_, cell)| cell.clone()).unwrap_or_default()
}
