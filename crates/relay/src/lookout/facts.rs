//! What the rules look at beside the tallies: the queue, the lanes and the sources. The house has a file of its own.

use std::collections::HashSet;

use posthaste_delivery::sources;
use posthaste_findings::{Facts, LaneFact, MissedDay, PoolFact, SteppedBack, Stopped, StreamFact, Trouble, Waiting};
use posthaste_governor::warmup::{LaneStatus, Missed, StepBack, WarmupAnswer, WarmupQuestion};
use posthaste_mail::Name;
use posthaste_queue::{LaneRow, QueueHandle, QueueTable, WaitingRow};

use crate::settings::Settings;

/// The facts of this moment, without those of the house; None: the relay stops.
pub(super) async fn gather(settings: &Settings, queue: &QueueHandle, table: QueueTable, sources: &sources::Watch) -> Option<Facts> {
    let WarmupAnswer::Lanes { lanes } = queue.warmup(WarmupQuestion::Status).await.ok()? else { return None };
    let gone = sources.gone().await;
    let (config, known) = (&settings.config, &settings.api.known_providers);
    let streams = config.streams.iter().map(|(name, stream)| StreamFact {
        name: name.to_string(),
        aim: stream.aim(),
        aim_configured: stream.aim.is_some(),
    });
    let pools = config.pools.iter().map(|(name, pool)| PoolFact {
        name: name.to_string(),
        sources: pool.sources.iter().map(|(source, _)| (source.to_string(), sends_nothing(source, &gone, &lanes))).collect(),
    });
    Some(Facts {
        lanes: lanes.iter().map(|lane| fact(lane, known.contains(&*lane.provider))).collect(),
        troubles: table.lanes.into_iter().filter_map(trouble).collect(),
        waiting: table.waiting.into_iter().map(waiting).collect(),
        streams: streams.collect(),
        pools: pools.collect(),
        ..Facts::default()
    })
}

/// What keeps the mail of a provider, if an error is known.
fn trouble(row: LaneRow) -> Option<(String, Trouble)> {
    let (said, class) = (row.last_error?, row.last_class?);
    Some((row.provider, Trouble { at: row.last_error_at, class, said, login: row.login as u64 }))
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

/// `known`: the provider has a name of its own. At others a day is not missed: few of them get as much mail as a curve allows.
fn fact(lane: &LaneStatus, known: bool) -> LaneFact {
    let stopped = lane.paused.as_ref().map(|paused| Stopped {
        since: paused.since,
        until: paused.until,
        // Only operators stop a lane without an end; providers pause it.
        by_operator: paused.until.is_none(),
        why: paused.why.to_string(),
    });
    LaneFact {
        source: lane.source.to_string(),
        provider: lane.provider.to_string(),
        stopped,
        slowed_to: lane.slowed_to,
        stepped_back: lane.stepped_back.as_ref().map(step_back),
        missed: lane.missed.filter(|_| known).map(missed),
        cap: lane.cap.map(Into::into),
        used: lane.used.into(),
    }
}

fn step_back(step: &StepBack) -> SteppedBack {
    SteppedBack { at: step.at, from: step.from.to_string(), to: step.to.to_string(), why: step.why.clone() }
}

fn missed(missed: Missed) -> MissedDay {
    MissedDay { day: missed.day, at: missed.at, taken: missed.accepted.into(), cap: missed.cap.into() }
}

/// Why a source sends to nobody: its address is gone, or all its lanes are stopped until somebody resumes them.
fn sends_nothing(source: &Name, gone: &HashSet<Name>, lanes: &[LaneStatus]) -> Option<String> {
    if gone.contains(source) {
        return Some("its address is not on this host".to_owned());
    }
    let mut own = lanes.iter().filter(|lane| *lane.source == *source.as_str()).peekable();
    own.peek()?;
    own.all(|lane| lane.hold.is_some() && lane.next_release.is_none()).then(|| "all its lanes are stopped".to_owned())
}
