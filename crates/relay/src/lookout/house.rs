//! What the rules look at of the house: disks, certificates, the log and its readers, the clock, what stands.

use std::{
    collections::VecDeque,
    path::Path,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp, Unit};
use posthaste_findings::{Certificate, ClockStep, Disk, House, Reader, Refused, Standing};
use posthaste_host::clock;
use posthaste_journal::{Alarms, Journal, StandingAlarm};
use posthaste_spool::Spool;
use posthaste_watch::Figures;

use crate::{
    settings::{Settings, tls::doors},
    syncs::Syncs,
    watch::RELOAD_REFUSED,
};

/// The pace at which disks fill is that of so many hours.
const PACE_HOURS: i64 = 6;
/// A sample of free space is kept for each of so many minutes.
const SAMPLE: SignedDuration = SignedDuration::from_mins(10);
/// A step of the clock that is shorter is none: the queue notices steps back from one second on, and nothing depends on shorter ones.
const STEP: SignedDuration = SignedDuration::from_secs(2);
/// Alarms that are told of as what they are about: a reload, the clock, the quarantine.
const TOLD_OTHERWISE: [&str; 3] = [RELOAD_REFUSED, "clock_back", "spool_damaged"];

/// What is looked at.
pub(crate) struct Parts {
    pub(crate) spool: Spool,
    pub(crate) journal: Journal,
    pub(crate) alarms: Alarms,
    pub(crate) figures: Figures,
    pub(crate) syncs: Syncs,
}

/// What is remembered from look to look.
#[derive(Default)]
pub(super) struct Seen {
    spool: Samples,
    log: Samples,
    clock: Clock,
    lines: Lines,
}

/// Free bytes of a disk over the last hours.
#[derive(Default)]
struct Samples(VecDeque<(Timestamp, u64)>);

/// Both clocks at the last look.
#[derive(Default)]
struct Clock(Option<(Timestamp, Instant)>);

/// Lines of the log that were appended at some look, and were not durable at any later one.
#[derive(Default)]
struct Lines(Option<(Timestamp, u64)>);

impl Seen {
    /// The house at `now`, which may be a little while ago. Asks the system about disks and folders, and blocks for that.
    pub(super) fn look(&mut self, settings: &Settings, parts: &Parts, now: Timestamp) -> House {
        let (config, standing) = (&settings.config, parts.alarms.now().alarms);
        let log = Reader { name: "log".into(), behind: self.lines.behind(parts.journal.progress(), now) };
        let tallies = Reader { name: "tallies".into(), behind: parts.figures.behind(now) };
        House {
            certificates: certificates(settings),
            disks: [self.spool.disk("spool", &config.spool.dir, now), self.log.disk("log", &config.log.dir, now)]
                .into_iter()
                .flatten()
                .collect(),
            fsync_p99: parts.syncs.p99(),
            readers: vec![log, tallies],
            // In a rehearsal the wall clock is another one.
            clock_stepped: self.clock.step(clock::now(), clock::instant()).filter(|_| !clock::is_rehearsal()),
            reload_refused: standing.iter().find(|alarm| alarm.rule == RELOAD_REFUSED).map(refused),
            // A folder that cannot be read is told of by whoever needs it.
            quarantined: parts.spool.quarantined().unwrap_or(0),
            alarms: standing.iter().filter(|alarm| !TOLD_OTHERWISE.contains(&alarm.rule.as_str())).map(stands).collect(),
        }
    }
}

fn stands(alarm: &StandingAlarm) -> Standing {
    let about = match (alarm.mends, alarm.key.is_empty()) {
        (false, _) => alarm.id.to_string(),
        (true, true) => alarm.rule.clone(),
        (true, false) => format!("{}/{}", alarm.rule, alarm.key),
    };
    Standing { id: alarm.id, about, since: alarm.since, detail: alarm.line(false), mends: alarm.mends }
}

fn refused(alarm: &StandingAlarm) -> Refused {
    let why = alarm.what.split_once(": ").map_or(&*alarm.what, |(_, why)| why);
    Refused { at: alarm.since, why: why.trim().to_owned() }
}

/// Those that listeners show and that came from files, the first that expires first.
fn certificates(settings: &Settings) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    for shows in doors(&settings.config) {
        let Some(shown) = settings.certificates.shown.get(&shows.door) else { continue };
        all.extend(shown.from_files().into_iter().map(|(names, expires)| Certificate {
            name: names.first().cloned().unwrap_or_else(|| shows.door.to_string()),
            expires,
            renewed: shows.is_ordered(),
        }));
    }
    all.sort_by(|a, b| (a.expires, &a.name).cmp(&(b.expires, &b.name)));
    all.dedup();
    all
}

impl Samples {
    fn disk(&mut self, holds: &str, dir: &Path, now: Timestamp) -> Option<Disk> {
        let stat = rustix::fs::statvfs(dir).ok()?;
        let (free, size) = (stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize));
        let shrinks_by = self.shrinks_by(free, now);
        Some(Disk { holds: holds.to_owned(), path: dir.display().to_string(), size, free, shrinks_by })
    }

    /// Bytes a day by which the disk fills, if `free` are free now; None: it does not fill, or an hour has not passed yet, which says nothing about
    /// a day.
    fn shrinks_by(&mut self, free: u64, now: Timestamp) -> Option<u64> {
        let samples = &mut self.0;
        // Of a clock that was ahead.
        samples.retain(|(at, _)| *at <= now);
        if samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE) {
            samples.push_back((now, free));
        }
        while samples.front().is_some_and(|(at, _)| now.duration_since(*at) > SignedDuration::from_hours(PACE_HOURS)) {
            samples.pop_front();
        }
        let (at, before) = samples.front().filter(|(at, _)| now.duration_since(*at) >= SignedDuration::from_hours(1))?;
        let seconds = u64::try_from(now.duration_since(*at).as_secs()).ok().filter(|seconds| *seconds > 0)?;
        before.checked_sub(free).filter(|lost| *lost > 0).map(|lost| lost.saturating_mul(86_400) / seconds)
    }
}

impl Clock {
    /// By how much the wall clock moved more or less than the monotonic one since the last look, if it was set.
    fn step(&mut self, now: Timestamp, instant: Instant) -> Option<ClockStep> {
        let (then, began) = self.0.replace((now, instant))?;
        let passed = SignedDuration::try_from(instant.saturating_duration_since(began)).unwrap_or(SignedDuration::MAX);
        let by = now.duration_since(then).saturating_sub(passed);
        (by.abs() >= STEP).then(|| ClockStep { at: now, seconds: by.round(Unit::Second).unwrap_or(by).as_secs() })
    }
}

impl Lines {
    /// How long some of the lines have not been durable: those that a look knew of, so that it is a little less than the truth.
    fn behind(&mut self, (appended, durable): (u64, u64), now: Timestamp) -> Duration {
        self.0 = match self.0 {
            Some((since, some)) if durable < some => Some((since.min(now), some)),
            _ => (appended > durable).then_some((now, appended)),
        };
        self.0.map_or(Duration::ZERO, |(since, _)| Duration::try_from(now.duration_since(since)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
