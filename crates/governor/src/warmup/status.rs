//! The status of a lane, as it is shown.

use std::sync::Arc;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};

use super::{Missed, Paused, StepBack, words};
use crate::{Counts, Day, Governor, Grade, Lane, LaneId, Share, Status, Threshold, Verdict};

/// The status of a lane at some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The sending address's name.
    pub source: Arc<str>,
    /// The provider of the mailboxes.
    pub provider: Arc<str>,
    /// The curve, with the provider if there is a variant for it; None: the lane does not warm up.
    pub curve: Option<Arc<str>>,
    /// The stage, from 1; None: past the curve's end, or without a curve.
    pub stage: Option<u32>,
    /// How many stages the curve has.
    pub stages: u32,
    /// The day in the curve's time zone; None: the clock went back into a day that is over, or to before one that was open.
    pub day: Option<Date>,
    /// What the day allows; None: any number.
    pub cap: Option<u32>,
    /// How much of the cap is used: answered, reserved, or lost by a crash.
    pub used: u32,
    /// Accepted by the provider.
    pub accepted: u32,
    /// Reserved for mail under way.
    pub reserved: u32,
    /// Leased before a crash and never accounted for.
    pub lost: u32,
    /// The rest of the cap.
    pub remaining: Option<u32>,
    /// When the next recipient may go; None: not before an operator says so.
    pub next_release: Option<Timestamp>,
    /// Why it may not send now.
    pub hold: Option<String>,
    /// The day's numbers.
    pub counts: Counts,
    /// How the provider receives its mail.
    pub health: HealthStatus,
    /// Recipients an hour while a provider's push-back is climbed out of.
    pub slowed_to: Option<u32>,
    /// Connections at once, in the same case.
    pub connections: Option<u32>,
    /// The provider's reason for the push-back.
    pub slowed_why: Option<Arc<str>>,
    /// Why an operator keeps it on its stage.
    pub kept_by_operator: Option<Arc<str>>,
    /// The last day that is over.
    pub last: Option<LastDay>,
    /// The verdict on this day if nothing more happens on it.
    pub verdict: String,
    /// The next day's stage, likewise; None: past the curve's end.
    pub next_stage: Option<u32>,
    /// The next day's cap, likewise; None: any number.
    pub next_cap: Option<u32>,
    /// Why it sends nothing at all, if so: its provider pushed back, or an operator stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Its last step back, however long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stepped_back: Option<StepBack>,
    /// Yesterday, if it missed a day of its warm-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
}

/// A day's rates and what they say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// What the rates say together, whether or not there are enough answers.
    pub grade: Grade,
    /// How many were answered.
    pub sample: u32,
    /// How many answers are needed to step back.
    pub min_sample: u32,
    /// Of the recipients with an answer.
    pub hard_bounces: RateStatus,
    /// Deferred because of rate or reputation, of the recipients with an answer.
    pub deferrals: RateStatus,
    /// Of the recipients that were accepted.
    pub complaints: RateStatus,
}

/// A rate and its thresholds, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateStatus {
    /// The rate itself.
    pub now: f64,
    /// From here on the lane holds.
    pub hold: f64,
    /// From here on it steps back.
    pub step_back: f64,
}

/// How a day ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastDay {
    /// Which.
    pub date: Date,
    /// The cap; None: any number.
    pub cap: Option<u32>,
    /// Its numbers.
    pub counts: Counts,
    /// The verdict on them.
    pub verdict: String,
}

/// One of a lane's days, for its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DayStatus {
    /// Which.
    pub date: Date,
    /// The stage; None: past the curve's end.
    pub stage: Option<u32>,
    /// The cap; None: any number.
    pub cap: Option<u32>,
    /// Its numbers.
    pub counts: Counts,
    /// The verdict on it; None: it is not over.
    pub verdict: Option<String>,
}

/// The status of every lane, by source and provider. Lanes that neither warm up nor were pushed back have nothing to show and are left out.
pub fn rows(governor: &Governor, now: Timestamp) -> Vec<LaneStatus> {
    let shown = |lane: &Lane| !lane.plan().curve.is_uncapped() || *lane.restrictions() != Default::default();
    let mut rows: Vec<_> = governor.lanes().filter(|(_, lane)| shown(lane)).map(|(id, _)| LaneStatus::of(governor, id, now)).collect();
    rows.sort_by(|a, b| (&a.source, &a.provider).cmp(&(&b.source, &b.provider)));
    rows
}

impl LaneStatus {
    /// One lane.
    pub fn of(governor: &Governor, id: LaneId, now: Timestamp) -> Self {
        let (lane, status) = (governor.lane(id), governor.status(id, now));
        let plan = lane.plan();
        let warms = !plan.curve.is_uncapped();
        let stage = |stage: crate::Stage| Some(u32::from(stage)).filter(|number| *number > 0 && warms);
        let slow = lane.restrictions().slow.as_ref().filter(|_| status.rate.is_some() || status.connections.is_some());
        Self {
            source: lane.key().source.clone(),
            provider: lane.key().provider.clone(),
            curve: warms.then(|| plan.name.clone()),
            stage: stage(status.stage),
            stages: status.stages,
            day: status.date,
            cap: status.cap,
            used: status.used,
            accepted: status.counts.accepted,
            reserved: status.reserved,
            lost: status.lost,
            remaining: status.remaining,
            next_release: Some(status.next_release).filter(|at| *at < Timestamp::MAX),
            hold: status.hold.as_ref().map(words::hold),
            counts: status.counts,
            health: HealthStatus::of(lane, &status),
            slowed_to: status.rate,
            connections: status.connections,
            slowed_why: slow.map(|slow| slow.why.clone()),
            kept_by_operator: lane.restrictions().held.clone(),
            last: status.last.and_then(|(date, _)| lane.ledger().day(date)).and_then(|day| LastDay::of(day, lane)),
            verdict: verdict(lane, &status.verdict),
            next_stage: stage(status.next_stage),
            next_cap: status.next_cap,
            paused: lane.paused(now),
            stepped_back: lane.last_step_back(),
            missed: lane.missed_yesterday(now),
        }
    }
}

impl HealthStatus {
    fn of(lane: &Lane, status: &Status) -> Self {
        let (thresholds, health) = (&lane.plan().thresholds, &status.health);
        Self {
            grade: health.grade,
            sample: health.sample,
            min_sample: lane.plan().min_sample,
            hard_bounces: RateStatus::of(health.hard_bounces, thresholds.hard_bounces),
            deferrals: RateStatus::of(health.deferrals, thresholds.deferrals),
            complaints: RateStatus::of(health.complaints, thresholds.complaints),
        }
    }
}

impl RateStatus {
    fn of(now: Share, threshold: Threshold) -> Self {
        Self { now: now.as_f64(), hold: threshold.hold().as_f64(), step_back: threshold.step_back().as_f64() }
    }
}

/// A verdict in words. It says nothing of a lane that has no curve to climb.
fn verdict(lane: &Lane, verdict: &Verdict) -> String {
    if lane.plan().curve.is_uncapped() { "no warm-up".into() } else { words::verdict(verdict) }
}

impl LastDay {
    fn of(day: &Day, lane: &Lane) -> Option<Self> {
        let verdict = verdict(lane, &day.closed?.verdict);
        Some(Self { date: day.date, cap: day.cap, counts: day.counts, verdict })
    }
}

impl DayStatus {
    /// A day of the ledger.
    pub fn of(day: &Day) -> Self {
        let stage = Some(u32::from(day.stage)).filter(|number| *number > 0);
        let verdict = day.closed.map(|closing| words::verdict(&closing.verdict));
        Self { date: day.date, stage, cap: day.cap, counts: day.counts, verdict }
    }
}
