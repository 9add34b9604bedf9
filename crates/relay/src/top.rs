//! What `posthaste top` shows: how things stand at this moment, in one answer.
//!
//! It is asked every second or two, so it costs little: the queue's table is made anew only now and then, the tallies are read for a few sums, and
//! what takes more (the last minutes) is told only where it is asked for, once a minute.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use posthaste_findings::score::Scores;
use posthaste_governor::warmup::LaneStatus;
use posthaste_queue::{LaneRow, QueueCounts, QueueTable};
use posthaste_tallies::{Block, ByClass, Cell, Counter, Dimension, Grain, Span, Tallies, TalliesError};
use posthaste_watch::{Figures, OFF, Shown, lasting};
use serde::{Deserialize, Serialize};

/// How things stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Top {
    /// The relay's name in events.
    pub node: String,
    /// Its version.
    pub version: String,
    /// When this was so.
    pub now: Timestamp,
    /// Why no mail is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Why deliveries are halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
    /// Why no receiver can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// Alarms that stand.
    pub alarms: usize,
    /// The queue by state.
    pub queue: QueueCounts,
    /// When the oldest message of the queue was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// All that was ever counted; None: the log is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Flow>,
    /// Providers with mail in the queue or attempts in the last hour: those with the most failures and the most mail.
    pub providers: Vec<ProviderNow>,
    /// Providers beyond those.
    pub more_providers: usize,
    /// Lanes: those that may not send at present, then those that use the most of their cap.
    pub lanes: Vec<LaneNow>,
    /// Lanes beyond those.
    pub more_lanes: usize,
    /// Sources that warm up.
    pub warmup: Vec<Warming>,
    /// Why nothing looks for incidents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
    /// Incidents that are not closed, the worst first.
    pub incidents: Vec<Shown>,
    /// The health score; None: not enough mail yet, or the relay has just started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u8>,
    /// How good it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<String>,
    /// What is wrong now all the same: a score judges mail that is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub but: Option<String>,
    /// The last minutes that are over, the oldest first, those without anything too; None: they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<Vec<Flow>>,
}

/// Recipients, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// Accepted.
    pub accepted: u64,
    /// Delivered.
    pub delivered: u64,
    /// Put off; a recipient may be so many times.
    pub deferred: u64,
    /// Bounced or expired.
    pub bounced: u64,
    /// Refusals at the door.
    pub rejected: u64,
}

/// A provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProviderNow {
    /// Its name, or a domain whose provider is not known yet.
    pub provider: String,
    /// Recipients in the queue.
    pub queued: usize,
    /// Of these, due now.
    pub due: usize,
    /// Connections opening or open.
    pub connections: usize,
    /// When the oldest of its messages in the queue was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Timestamp>,
    /// Attempts of the last hour, by recipient.
    pub attempts: u64,
    /// Of these, delivered.
    pub delivered: u64,
    /// Of these, refused for good or put off.
    pub refused: u64,
    /// The class of most of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneNow {
    /// The source.
    pub source: String,
    /// The provider.
    pub provider: String,
    /// What the day allows; None: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// How much of it is used.
    pub used: u32,
    /// Whether it sends.
    pub state: LaneState,
    /// Until when it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether a lane sends. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneState {
    /// It does.
    Sends,
    /// The day's cap is used.
    Full,
    /// Slower than it might, because its provider pushed back.
    Slowed,
    /// Not before a time.
    Waits,
    /// Not before an operator resumes it.
    Stopped,
}

impl LaneState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sends => "sends",
            Self::Full => "full",
            Self::Slowed => "slowed",
            Self::Waits => "waits",
            Self::Stopped => "stopped",
        }
    }
}

/// A source that warms up, over its lanes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warming {
    /// The source.
    pub source: String,
    /// The lowest stage of its lanes, from 1.
    pub from_stage: u32,
    /// The highest.
    pub to_stage: u32,
    /// The stages of the curve.
    pub stages: u32,
    /// Lanes that warm up.
    pub lanes: usize,
    /// What the day allows over all of them.
    pub cap: u64,
    /// How much of it is used.
    pub used: u64,
}

impl Flow {
    fn of(cell: &Cell) -> Self {
        let get = |counter: Counter| cell.get(counter);
        Self {
            accepted: get(Counter::Accepted),
            delivered: get(Counter::Delivered),
            deferred: get(Counter::Deferred),
            bounced: get(Counter::Bounced) + get(Counter::Expired),
            rejected: get(Counter::Rejected),
        }
    }
}

/// What is read of the tallies.
pub(crate) struct Sums {
    counted: Flow,
    /// The last hour by provider.
    providers: Block,
    /// The last minutes, if they were asked for.
    minutes: Option<Vec<Flow>>,
}

impl Sums {
    /// Reads them. Blocks on the disk.
    ///
    /// # Errors
    /// The tallies cannot be read.
    pub(crate) fn read(figures: &Figures, with_minutes: bool, now: Timestamp) -> Result<Self, TalliesError> {
        figures.read_soon(|tallies| {
            let counted = tallies.ever(Dimension::All)?.get("all").map(Flow::of).unwrap_or_default();
            let hour = Span { from: before(now, 60), to: now.checked_add(SignedDuration::from_mins(1)).unwrap_or(now) };
            let minutes = with_minutes.then(|| minutes(tallies, now)).transpose()?;
            Ok(Self { counted, providers: tallies.sum(Dimension::Provider, hour)?, minutes })
        })
    }
}

fn before(now: Timestamp, minutes: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_mins(minutes)).unwrap_or(now)
}

fn minutes(tallies: &Tallies, now: Timestamp) -> Result<Vec<Flow>, TalliesError> {
    let end = Timestamp::from_second(now.as_second().div_euclid(60) * 60).unwrap_or(now);
    let begin = before(end, MINUTES);
    let mut minutes = vec![Flow::default(); usize::try_from(MINUTES).unwrap_or_default()];
    for (from, block) in tallies.series(Dimension::All, Span { from: begin, to: end }, Grain::Minute)? {
        let place = usize::try_from(from.duration_since(begin).as_mins()).ok().and_then(|place| minutes.get_mut(place));
        if let (Some(minute), Some((_, cell))) = (place, block.iter().next()) {
            *minute = Flow::of(cell);
        }
    }
    Ok(minutes)
}

/// What the dispatcher and others know beside the tallies.
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) node: String,
    pub(crate) table: QueueTable,
    pub(crate) lanes: Vec<LaneStatus>,
    /// What the rules found; None: monitoring is off.
    pub(crate) incidents: Option<Vec<Shown>>,
    pub(crate) alarms: usize,
    pub(crate) closed: Option<String>,
    pub(crate) blocked: Option<String>,
    /// The scores of the last minute, once there are any.
    pub(crate) scores: Option<Arc<Scores>>,
}

impl Moment {
    /// All of it, as it is shown.
    pub(crate) fn with(self, sums: Option<Sums>) -> Top {
        let Self { now, node, table, lanes, incidents, alarms, closed, blocked, scores } = self;
        let scores = scores.map(|scores| scores.as_ref().clone().beside(&lasting(incidents.as_deref().unwrap_or_default())));
        let all = scores.as_ref().map(|scores| &scores.all);
        let oldest = table.lanes.iter().filter_map(|row| row.oldest).min();
        let mut providers = providers(&table.lanes, sums.as_ref().map(|sums| &sums.providers));
        providers.sort_by_key(|row| std::cmp::Reverse((row.refused, row.queued, row.attempts)));
        let (more_providers, more_lanes) = (providers.len().saturating_sub(SHOWN_MAX), lanes.len().saturating_sub(SHOWN_MAX));
        providers.truncate(SHOWN_MAX);
        let warmup = warming(&lanes);
        let mut lanes: Vec<LaneNow> = lanes.iter().map(lane).collect();
        lanes.sort_by(|one, other| other.state.cmp(&one.state).then_with(|| used(other).total_cmp(&used(one))));
        lanes.truncate(SHOWN_MAX);
        let off = incidents.is_none().then(|| OFF.to_owned());
        let mut incidents = incidents.unwrap_or_default();
        incidents.retain(|incident| incident.state != "closed");
        incidents.sort_by_key(|incident| (incident.state != "open", incident.told.severity != "critical", incident.since));
        incidents.truncate(SHOWN_MAX);
        Top {
            node,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now,
            closed,
            halted: table.halted,
            blocked,
            alarms,
            queue: table.counts,
            oldest,
            counted: sums.as_ref().map(|sums| sums.counted),
            providers,
            more_providers,
            lanes,
            more_lanes,
            warmup,
            off,
            incidents,
            minutes: sums.and_then(|sums| sums.minutes),
            score: all.and_then(|score| score.value),
            but: all.and_then(|score| score.but.clone()),
            band: all.and_then(|score| serde_json::to_value(score.band).ok()?.as_str().map(str::to_owned)),
        }
    }
}

fn providers(rows: &[LaneRow], hour: Option<&Block>) -> Vec<ProviderNow> {
    let mut all: BTreeMap<String, ProviderNow> = BTreeMap::new();
    for row in rows {
        let now = ProviderNow {
            queued: row.queued,
            due: row.due,
            connections: row.connections,
            oldest: row.oldest,
            last_error: row.last_error.clone(),
            ..ProviderNow::default()
        };
        all.insert(row.provider.clone(), now);
    }
    for (provider, cell) in hour.into_iter().flat_map(Block::iter) {
        let row = all.entry(provider.to_owned()).or_default();
        let failed = |class| [ByClass::Deferred, ByClass::Bounced, ByClass::Expired].map(|by| cell.get((by, class))).iter().sum::<u64>();
        let worst = posthaste_mail::Class::ALL.iter().map(|class| (failed(*class), *class)).max_by_key(|(n, _)| *n);
        row.attempts = cell.get(Counter::Attempts);
        row.delivered = cell.get(Counter::Delivered);
        row.refused = row.attempts.saturating_sub(row.delivered);
        row.class = worst.filter(|(n, _)| *n > 0).map(|(_, class)| class.as_str().to_owned());
    }
    all.into_iter().map(|(provider, row)| ProviderNow { provider, ..row }).collect()
}

fn lane(status: &LaneStatus) -> LaneNow {
    let state = match (&status.hold, status.next_release, status.slowed_to) {
        (Some(_), None, _) => LaneState::Stopped,
        (Some(_), Some(_), _) if status.remaining == Some(0) => LaneState::Full,
        (Some(_), Some(_), _) => LaneState::Waits,
        (None, _, Some(_)) => LaneState::Slowed,
        (None, ..) => LaneState::Sends,
    };
    let why = status.hold.clone().or_else(|| status.slowed_why.as_ref().map(|why| why.to_string()));
    LaneNow {
        source: status.source.to_string(),
        provider: status.provider.to_string(),
        cap: status.cap,
        used: status.used,
        state,
        until: status.hold.as_ref().and(status.next_release),
        why,
    }
}

fn used(lane: &LaneNow) -> f64 {
    lane.cap.map_or(0.0, |cap| f64::from(lane.used) / f64::from(cap.max(1)))
}

fn warming(lanes: &[LaneStatus]) -> Vec<Warming> {
    let mut sources: BTreeMap<&str, Warming> = BTreeMap::new();
    for lane in lanes {
        let (Some(stage), Some(cap)) = (lane.stage, lane.cap) else { continue };
        let source = sources.entry(&lane.source).or_insert_with(|| Warming {
            source: lane.source.to_string(),
            from_stage: stage,
            to_stage: stage,
            stages: lane.stages,
            lanes: 0,
            cap: 0,
            used: 0,
        });
        source.from_stage = source.from_stage.min(stage);
        source.to_stage = source.to_stage.max(stage);
        source.stages = source.stages.max(lane.stages);
        source.lanes += 1;
        source.cap += u64::from(cap);
        source.used += u64::from(lane.used);
    }
    sources.into_values().collect()
}

/// Nobody reads more rows; the answer stays small.
const SHOWN_MAX: usize = 200;
/// So many minutes are told.
const MINUTES: i64 = 30;
