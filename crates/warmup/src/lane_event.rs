//! Changes of lanes as events of the delivery log.

use std::sync::Arc;

use posthaste_governor::{Change, LaneChange, LaneKey, Plan, Sign, Stage, Steer, Verdict, Why};
use posthaste_mail::{LaneFacts, Name};

/// The fields of a change's log line. None for days that are not logged: days of lanes that do not warm up, and days without mail.
pub fn lane_facts(key: &LaneKey, plan: &Plan, change: &LaneChange) -> Option<LaneFacts> {
    let facts = unchanged(key, plan)?;
    let next_cap = |to: Stage| plan.curve.cap(to);
    Some(match &change.change {
        Change::DayClosed { verdict: Verdict::Idle, .. } => return None,
        Change::DayClosed { .. } if plan.curve.is_uncapped() => return None,
        Change::DayClosed { date, verdict, from, to, cap, counts, health: _ } => {
            let (change, detail) = closed(verdict);
            LaneFacts {
                change,
                day: Some(date.to_string().into()),
                cap: *cap,
                next_cap: next_cap(*to),
                spent: Some(counts.spent),
                taken: Some(counts.accepted),
                hard_bounces: Some(counts.hard_bounces),
                throttled: Some(counts.throttled),
                complaints: Some(counts.complaints),
                detail: detail.into(),
                ..stages(facts, *from, *to)
            }
        }
        Change::Blocked { from, to, until, cut, why } => {
            let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            let detail = format!("the provider blocks the sending address{why}; {}", key.how_to_resume()).into();
            let (per_hour, connections, until) = (cut.0, cut.1, Some(*until));
            LaneFacts { change: "blocked", next_cap: next_cap(*to), per_hour, connections, until, detail, ..stages(facts, *from, *to) }
        }
        Change::Restarted { idle_days, to } => {
            let detail = format!("nothing was sent for {idle_days} days: it starts again").into();
            LaneFacts { change: "restarted", next_cap: next_cap(*to), stage_to: Some(word(*to)), detail, ..facts }
        }
        Change::Slowed { rate, connections, paused_until, why } => {
            let pauses = paused_until.is_some_and(|until| until > change.at);
            LaneFacts {
                change: if pauses { "paused" } else { "slowed" },
                per_hour: *rate,
                connections: *connections,
                until: *paused_until,
                detail: if pauses { format!("{why}; {}", key.how_to_resume()).into() } else { why.clone() },
                ..facts
            }
        }
        Change::Resumed => LaneFacts { change: "resumed", detail: "pause and climb are over".into(), ..facts },
        Change::Steered { steer, from, to, why } => {
            let detail = format!("{}: {why}", steered(*steer)).into();
            LaneFacts { change: "steered", next_cap: next_cap(*to), detail, ..stages(facts, *from, *to) }
        }
        Change::PlanChanged { stage, from, to } => LaneFacts {
            change: "plan_changed",
            stage_to: Some(word(*stage)),
            cap: *from,
            next_cap: *to,
            detail: "another curve is in force; the stage stays".into(),
            ..facts
        },
    })
}

/// The facts of a lane to which nothing happened.
fn unchanged(key: &LaneKey, plan: &Plan) -> Option<LaneFacts> {
    Some(LaneFacts {
        source: Name::new(&key.source).ok()?,
        provider: Name::new(&key.provider).ok()?,
        curve: plan.name.clone(),
        change: "held",
        day: None,
        stage_from: None,
        stage_to: None,
        cap: None,
        next_cap: None,
        spent: None,
        taken: None,
        hard_bounces: None,
        throttled: None,
        complaints: None,
        per_hour: None,
        connections: None,
        until: None,
        detail: "".into(),
    })
}

fn stages(facts: LaneFacts, from: Stage, to: Stage) -> LaneFacts {
    LaneFacts { stage_from: Some(word(from)), stage_to: Some(word(to)), ..facts }
}

fn word(stage: Stage) -> Arc<str> {
    stage.to_string().into()
}

fn closed(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Advance => ("advanced", "it used its cap in good health".into()),
        Verdict::StepBack(sign) => ("stepped_back", format!("{} reached the rate to step back at", sign_word(*sign))),
        Verdict::Finished => ("finished", "no stage is left to advance to".into()),
        Verdict::Idle => ("held", "nothing was sent".into()),
        Verdict::Hold(why) => ("held", held(why)),
    }
}

fn held(why: &Why) -> String {
    match why {
        Why::UsedLess { accepted, needed } => format!("{accepted} were taken, {needed} are needed to advance"),
        Why::Health(sign) => format!("{} reached the rate to hold at", sign_word(*sign)),
        Why::FewAnswers { answered, needed } => format!("{answered} answers are too few to judge by, {needed} are needed"),
        Why::SteppedBack => "a block on this day has set it back already".into(),
        Why::Operator => "an operator holds it".into(),
    }
}

fn sign_word(sign: Sign) -> &'static str {
    match sign {
        Sign::HardBounces => "hard bounces",
        Sign::Deferrals => "deferrals for rate or reputation",
        Sign::Complaints => "complaints",
        Sign::Block => "a block",
    }
}

fn steered(steer: Steer) -> &'static str {
    match steer {
        Steer::Advance => "advanced by an operator",
        Steer::Hold => "held by an operator",
        Steer::Release => "let go by an operator",
        Steer::Back => "put back by an operator",
        Steer::Restart => "started again by an operator",
        Steer::Stop => "stopped by an operator",
        Steer::Resume => "resumed by an operator",
    }
}
