//! Turns fates into lines of the delivery log.

use posthaste_bounce::Verdict;
use posthaste_mail::{Attempt, BudgetFacts, Failure, OtherHost, Stage, What};
use posthaste_message::Message;
use posthaste_queue::{AttemptResult, Elsewhere, Fate, FateRecord, Next, Wait};

/// The log line of one recipient's fate.
pub(super) fn what(record: &FateRecord, message: &Message, fate: &Fate) -> What {
    let about = message.about(fate.rcpt, record.now);
    let attempt = || attempt(fate.facts.as_ref().unwrap_or(&record.facts), fate);
    match &fate.next {
        Next::Delivered => What::Delivered { about, attempt: attempt() },
        Next::Deferred(at) => What::Deferred { about, attempt: attempt(), retry_at: *at },
        Next::Bounced => What::Bounced { about, attempt: attempt() },
        Next::Expired => What::Expired { about, attempt: attempt() },
        Next::Suppressed => {
            let Some(AttemptResult::Suppressed(entry)) = &fate.said else { unreachable!("only the list suppresses") };
            let scope = entry.scope.clone();
            What::Suppressed { about, reason: entry.reason.into(), scope, since: entry.since }
        }
        Next::Cancelled(by, reason) => What::Cancelled { about, by: by.clone(), reason: reason.clone() },
        Next::Held(reason) => What::Held { about, reason: reason.clone(), until: None, detail: None, budget: None },
        Next::Waits(wait) => What::Held { about, reason: wait.reason.into(), until: wait.until, detail: None, budget: Some(budget(wait)) },
        Next::Late => unreachable!("has no line"),
        Next::Released(by) => What::Released { about, by: by.clone() },
    }
}

fn budget(wait: &Wait) -> BudgetFacts {
    BudgetFacts {
        source: wait.source.clone(),
        provider: wait.provider.clone(),
        cap: wait.cap,
        used: wait.used,
        next_release: wait.next_release,
        detail: wait.detail.as_str().into(),
    }
}

fn attempt(facts: &Attempt, fate: &Fate) -> Attempt {
    let mut attempt = Attempt { attempt: fate.attempt, ..facts.clone() };
    match &fate.said {
        Some(AttemptResult::Delivered(reply)) => {
            attempt.smtp_stage = Some(Stage::Dot);
            attempt.reply = Some(reply.clone());
        }
        Some(AttemptResult::Failed(failure, verdict)) => failed(&mut attempt, failure, verdict),
        Some(AttemptResult::Unknown(failure, verdict)) => {
            failed(&mut attempt, failure, verdict);
            attempt.ambiguous = true;
        }
        Some(AttemptResult::Suppressed(_)) | None => {}
    }
    attempt.other_hosts = fate.elsewhere.iter().map(other_host).collect();
    attempt
}

fn other_host(elsewhere: &Elsewhere) -> OtherHost {
    let Elsewhere { facts, failure, verdict } = elsewhere;
    let mut there = Attempt::default();
    failed(&mut there, failure, verdict);
    OtherHost {
        mx_host: facts.mx_host.clone(),
        mx_ip: facts.mx_ip,
        lane_day: facts.lane_day,
        reply: there.reply,
        smtp_stage: failure.stage(),
        cause: there.cause,
        detail: there.detail,
        class: verdict.class,
        action: verdict.action,
    }
}

fn failed(attempt: &mut Attempt, failure: &Failure, verdict: &Verdict) {
    attempt.smtp_stage = Some(failure.stage());
    match failure {
        Failure::Refused { reply, .. } => attempt.reply = Some(reply.clone()),
        Failure::Local { cause, detail, .. } => {
            attempt.cause = Some(cause.as_str());
            attempt.detail = Some(detail.as_str().into());
        }
    }
    attempt.class = Some(verdict.class);
    attempt.action = Some(verdict.action);
    attempt.rule = Some(verdict.rule.clone());
}
