//! A lane is stopped, stepped back or missed a day of its warm-up.

use posthaste_tallies::TalliesError;

use crate::{
    About, Key, LimitFrom, Measure, ProblemOf, Rule, Severity,
    facts::{LaneFact, MissedDay, SteppedBack, Stopped},
    look::{Draft, Look},
    text::{clock, log, said, since},
};

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let settings = &look.settings.lane;
    if !settings.common.enabled {
        return Ok(Vec::new());
    }
    let news = |at: jiff::Timestamp| since(at, look.now) < settings.lasts;
    let mut drafts = Vec::new();
    for lane in &look.view.facts.lanes {
        // One finding a lane: the worst of what can be said.
        let draft = match (&lane.stopped, &lane.stepped_back, &lane.missed) {
            (Some(stopped), ..) => stopped_lane(look, lane, stopped),
            (None, Some(step), _) if news(step.at) => stepped_back(look, lane, step),
            (None, _, Some(missed)) if news(missed.at) => missed_day(look, lane, missed),
            _ => continue,
        };
        drafts.push(draft);
    }
    Ok(drafts)
}

fn name(lane: &LaneFact) -> String {
    format!("{}/{}", said(&lane.source), said(&lane.provider))
}

fn draft(look: &Look<'_>, lane: &LaneFact, severity: Severity) -> Draft {
    Draft {
        rule: Rule::Lane,
        key: Key::new(About::Lane, name(lane)),
        severity,
        measure: Measure {
            n: lane.used,
            of: lane.cap,
            what: "recipients of the day's cap used".into(),
            limit: "a lane that sends".into(),
            limit_from: LimitFrom::Default,
        },
        summary: String::new(),
        problem_of: ProblemOf::Ours,
        done: String::new(),
        next_step: String::new(),
        query: log(&[("event", "lane"), ("provider", &lane.provider)]),
        since: Some(look.settings.lane.lasts),
    }
}

/// A stop without an end is critical, whatever the setting, unless an operator wanted it.
fn stopped_lane(look: &Look<'_>, lane: &LaneFact, stopped: &Stopped) -> Draft {
    let (lane_name, why) = (name(lane), said(&stopped.why));
    let severity = match stopped {
        Stopped { by_operator: false, until: None, .. } => Severity::Critical,
        _ => look.settings.lane.common.severity,
    };
    let begin = stopped.since.map(|begin| format!(" since {}", clock(begin, look.now))).unwrap_or_default();
    let until = stopped.until.map_or_else(|| "until somebody resumes it".into(), |until| format!("until {}", clock(until, look.now)));
    let resume = format!("`posthaste warmup resume {lane_name} --reason mended`");
    let (who, problem_of, next_step) = match stopped.by_operator {
        true => ("an operator stopped it", ProblemOf::Ours, format!("When the reason is gone, resume it with {resume}.")),
        false => (
            "the provider pushed back",
            ProblemOf::Ours,
            format!(
                "Read what it says with `posthaste log --provider {} -n 20`, mend what it names, and resume the lane with \
                 {resume}{}.",
                said(&lane.provider),
                if stopped.until.is_some() { ", or let it resume by itself" } else { "" }
            ),
        ),
    };
    Draft {
        summary: format!("Lane {lane_name} sends nothing{begin}, {until}: {who}: {why}."),
        problem_of,
        done: "Mail for this provider goes by the pool's other sources where the pool allows it, and waits otherwise.".into(),
        next_step,
        ..draft(look, lane, severity)
    }
}

fn stepped_back(look: &Look<'_>, lane: &LaneFact, step: &SteppedBack) -> Draft {
    let lane_name = name(lane);
    Draft {
        summary: format!(
            "Lane {lane_name} stepped back from stage {} to {} at {}: {}.",
            said(&step.from),
            said(&step.to),
            clock(step.at, look.now),
            said(&step.why)
        ),
        done: "It sends less each day until its days are good again.".into(),
        next_step: format!(
            "`posthaste warmup status` shows its rates against their limits; see what the provider said with `posthaste log --provider \
             {}`, and clean the list before the stage rises again.",
            said(&lane.provider)
        ),
        ..draft(look, lane, look.settings.lane.common.severity)
    }
}

fn missed_day(look: &Look<'_>, lane: &LaneFact, missed: &MissedDay) -> Draft {
    let lane_name = name(lane);
    let base = draft(look, lane, look.settings.lane.common.severity);
    Draft {
        measure: Measure {
            n: missed.taken,
            of: Some(missed.cap),
            what: format!("recipients of the cap of {} that the provider took", missed.day),
            limit: "a day that counts for the warm-up".into(),
            ..base.measure
        },
        summary: format!(
            "Lane {lane_name} missed a day of its warm-up: on {} the provider took {} recipients of the {} that it could have had.",
            missed.day, missed.taken, missed.cap
        ),
        done: "It stays on its stage for another day.".into(),
        next_step: format!(
            "If there was mail enough, `posthaste warmup status` says what held it; if not, send this lane more (stream.NAME.cold = \
             \"first\"), or keep it on its stage with `posthaste warmup hold {lane_name} --reason waits`."
        ),
        ..base
    }
}
