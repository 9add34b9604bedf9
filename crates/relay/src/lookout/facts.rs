//! What the rules look at beside the tallies: the queue, lanes, disks, alarms that stand.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use posthaste_config::Config;
use posthaste_findings::{Disk, Facts, House, LaneFact, PoolFact, Standing, Stopped, StreamFact, Waiting};
use posthaste_governor::warmup::{LaneStatus, WarmupAnswer, WarmupQuestion};
use posthaste_host::clock;
use posthaste_journal::Alarms;
use posthaste_queue::{LaneHold, QueueHandle, WaitingRow};

/// The pace at which disks fill is that of so many hours.
const PACE_HOURS: i64 = 6;
/// A sample of free space is kept for each of so many minutes.
const SAMPLE: SignedDuration = SignedDuration::from_mins(10);

/// Free bytes of the disks over the last hours.
#[derive(Debug, Default)]
pub(super) struct Disks {
    spool: VecDeque<(Timestamp, u64)>,
    log: VecDeque<(Timestamp, u64)>,
}

/// The facts of this moment; None: the relay stops.
pub(super) async fn gather(config: &Config, queue: &QueueHandle, alarms: &Alarms, disks: &mut Disks) -> Option<Facts> {
    let table = queue.table().await.ok()?;
    let WarmupAnswer::Lanes { lanes } = queue.warmup(WarmupQuestion::Status).await.ok()? else { return None };
    let now = clock::now();
    let streams = config.streams.iter().map(|(name, stream)| StreamFact {
        name: name.to_string(),
        aim: stream.aim(),
        aim_configured: stream.aim.is_some(),
    });
    let pools = config.pools.iter().map(|(name, pool)| PoolFact {
        name: name.to_string(),
        sources: pool.sources.iter().map(|(source, _)| (source.to_string(), stopped_everywhere(source.as_str(), &lanes))).collect(),
    });
    let standing = alarms.now().alarms.into_iter().map(|alarm| Standing { id: alarm.id, since: alarm.since, detail: alarm.line(false) });
    let house = House {
        disks: [disk("spool", &config.spool.dir, &mut disks.spool, now), disk("log", &config.log.dir, &mut disks.log, now)]
            .into_iter()
            .flatten()
            .collect(),
        alarms: standing.collect(),
        ..House::default()
    };
    Some(Facts {
        lanes: lanes.iter().map(|lane| fact(lane, &table.holds)).collect(),
        waiting: table.waiting.into_iter().map(waiting).collect(),
        streams: streams.collect(),
        pools: pools.collect(),
        house,
        ..Facts::default()
    })
}

fn waiting(row: WaitingRow) -> Waiting {
    Waiting {
        provider: row.provider,
        stream: row.stream.to_string(),
        recipients: row.recipients as u64,
        oldest: row.oldest,
        due: row.due as u64,
        due_since: row.due_since,
    }
}

fn fact(lane: &LaneStatus, holds: &[LaneHold]) -> LaneFact {
    let is_it = |hold: &&LaneHold| hold.can_be_resumed && *hold.source == *lane.source && *hold.provider == *lane.provider;
    let stopped = holds.iter().find(is_it).map(|hold| Stopped {
        since: None,
        until: hold.held.until,
        // Only operators stop a lane without an end; providers pause it.
        by_operator: hold.held.until.is_none(),
        why: hold.held.why.clone(),
    });
    LaneFact {
        source: lane.source.to_string(),
        provider: lane.provider.to_string(),
        stopped: stopped.filter(|_| lane.slowed_to.is_none()),
        slowed_to: lane.slowed_to,
        cap: lane.cap.map(Into::into),
        used: lane.used.into(),
        ..LaneFact::default()
    }
}

/// Why a source sends to nobody: all its lanes are stopped until somebody resumes them.
fn stopped_everywhere(source: &str, lanes: &[LaneStatus]) -> Option<String> {
    let mut own = lanes.iter().filter(|lane| *lane.source == *source).peekable();
    own.peek()?;
    own.all(|lane| lane.hold.is_some() && lane.next_release.is_none()).then(|| "all its lanes are stopped".to_owned())
}

fn disk(holds: &str, dir: &std::path::Path, samples: &mut VecDeque<(Timestamp, u64)>, now: Timestamp) -> Option<Disk> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE) {
        samples.push_back((now, free));
    }
    while samples.front().is_some_and(|(at, _)| now.duration_since(*at) > SignedDuration::from_hours(PACE_HOURS)) {
        samples.pop_front();
    }
    // A shorter time says nothing about a day.
    let first = samples.front().filter(|(at, _)| now.duration_since(*at) >= SignedDuration::from_hours(1));
    let shrinks_by = first.and_then(|(at, before)| {
        let seconds = u64::try_from(now.duration_since(*at).as_secs()).ok().filter(|seconds| *seconds > 0)?;
        before.checked_sub(free).filter(|lost| *lost > 0).map(|lost| lost.saturating_mul(86_400) / seconds)
    });
    let size = stat.f_blocks.saturating_mul(stat.f_frsize);
    Some(Disk { holds: holds.to_owned(), path: dir.display().to_string(), size, free, shrinks_by })
}
