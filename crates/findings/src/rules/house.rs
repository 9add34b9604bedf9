//! The relay itself: certificates, disk, log, clock, configuration, spool.

use std::time::Duration;

use posthaste_tallies::TalliesError;

use crate::{
    About, Key, LimitFrom, Measure, ProblemOf, Rule, Severity,
    facts::{Certificate, ClockStep, Disk, Reader, Refused, Standing},
    look::{Draft, Look},
    text::{clock, count, lasts, log, percent, said, sentence, since},
};

pub(super) fn find(look: &mut Look<'_>) -> Result<Vec<Draft>, TalliesError> {
    let house = &look.view.facts.house;
    if !look.settings.house.common.enabled {
        (look.memory.fsync_since, look.memory.clock_stepped) = (None, None);
        return Ok(Vec::new());
    }
    // The relay tells of a step once, at the look that notices it.
    if let Some(step) = &house.clock_stepped {
        look.memory.clock_stepped = Some(step.clone());
    }
    let step = look.memory.clock_stepped.clone();
    let mut drafts = Vec::new();
    drafts.extend(fsync(look));
    drafts.extend(house.certificates.iter().filter_map(|certificate| expiring(look, certificate)));
    drafts.extend(house.disks.iter().filter_map(|disk| filling(look, disk)));
    drafts.extend(house.readers.iter().filter_map(|reader| behind(look, reader)));
    drafts.extend(step.and_then(|step| stepped(look, &step)));
    drafts.extend(house.reload_refused.iter().map(|refused| reload(look, refused)));
    drafts.extend((house.quarantined > 0).then(|| quarantined(look, house.quarantined)));
    drafts.extend(house.alarms.iter().map(|alarm| standing(look, alarm)));
    Ok(drafts)
}

/// What is at this part of a limit is critical.
const CRITICAL_PART: u32 = 4;

/// What most of these findings have.
fn draft(look: &Look<'_>, part: &str, measure: Measure) -> Draft {
    Draft {
        rule: Rule::House,
        key: Key::new(About::Relay, part),
        severity: look.settings.house.common.severity,
        measure,
        summary: String::new(),
        problem_of: ProblemOf::Ours,
        done: String::new(),
        next_step: String::new(),
        query: log(&[("event", "relay")]),
        since: Some(Duration::from_hours(1)),
    }
}

fn measure(look: &Look<'_>, n: u64, what: &str, limit: String, key: &str) -> Measure {
    Measure { n, of: None, what: what.into(), limit, limit_from: look.settings.house.from(key) }
}

/// What is found without a limit.
fn fact(n: u64, what: &str) -> Measure {
    Measure { n, of: None, what: what.into(), limit: "none at all".into(), limit_from: LimitFrom::Default }
}

fn expiring(look: &Look<'_>, certificate: &Certificate) -> Option<Draft> {
    let limit = look.settings.house.certificate;
    let left = since(look.now, certificate.expires);
    if left >= limit {
        return None;
    }
    let (name, expires) = (said(&certificate.name), clock(certificate.expires, look.now));
    let over = certificate.expires <= look.now;
    let measure = measure(look, left.as_secs() / 86_400, "days that the certificate is still valid", lasts(limit), "certificate");
    let base = draft(look, &format!("certificate/{name}"), measure);
    Some(Draft {
        severity: if left < limit / CRITICAL_PART { Severity::Critical } else { base.severity },
        summary: match over {
            true => format!("The certificate for {name} expired at {expires}: clients that verify it submit nothing."),
            false => format!("The certificate for {name} expires at {expires}, in {}.", lasts(left)),
        },
        done: match certificate.renewed {
            true => "The relay orders a new one from the ACME authority, and has not got it yet.".into(),
            false => "The relay reads the file again at each reload.".into(),
        },
        next_step: match certificate.renewed {
            true => {
                "See why the authority refuses it with `posthaste log --event relay --since 2d`; it must reach this host as [acme] says."
                    .into()
            }
            false => {
                "Put the new certificate and its key where `certificate` and `key` of the listener point, and `posthaste reload`.".into()
            }
        },
        ..base
    })
}

#[allow(clippy::cast_precision_loss)] // disks are far below 2^52 bytes
fn filling(look: &Look<'_>, disk: &Disk) -> Option<Draft> {
    let settings = &look.settings.house;
    let free = if disk.size == 0 { 1.0 } else { disk.free as f64 / disk.size as f64 };
    let left = disk.shrinks_by.filter(|by| *by > 0).map(|by| Duration::from_secs_f64((disk.free as f64 / by as f64 * 86_400.0).min(1e9)));
    let fast = left.filter(|left| *left < settings.disk_lasts);
    if free >= settings.disk_free && fast.is_none() {
        return None;
    }
    let critical =
        free < settings.disk_free / f64::from(CRITICAL_PART) || fast.is_some_and(|left| left < settings.disk_lasts / CRITICAL_PART);
    let (holds, path) = (said(&disk.holds), said(&disk.path));
    let measure = match fast {
        Some(left) => {
            measure(look, left.as_secs() / 3600, "hours until the disk is full at this pace", lasts(settings.disk_lasts), "disk_lasts")
        }
        None => {
            Measure { of: Some(disk.size), ..measure(look, disk.free, "bytes free of the disk", percent(settings.disk_free), "disk_free") }
        }
    };
    let base = draft(look, &format!("disk/{holds}"), measure);
    let pace = left.map(|left| format!(", and at this pace full in {}", lasts(left))).unwrap_or_default();
    Some(Draft {
        severity: if critical { Severity::Critical } else { base.severity },
        summary: format!("The disk of the {holds} ({path}) is {} free{pace}.", percent(free)),
        done: "When it is full, the relay takes no more mail (452) until there is room; what it accepted is kept.".into(),
        next_step: format!(
            "See what fills it with `du -xh {path} | sort -h | tail`; a growing queue (`posthaste queue`) is mail that does not leave, a \
             growing log is bounded by log.keep_files and log.keep_age."
        ),
        query: "posthaste queue".into(),
        since: None,
        ..base
    })
}

/// It has to be slow without a break: one slow minute is a backup.
fn fsync(look: &mut Look<'_>) -> Option<Draft> {
    let settings = &look.settings.house;
    let slow = look.view.facts.house.fsync_p99.filter(|p99| *p99 > settings.fsync);
    let Some(p99) = slow else {
        look.memory.fsync_since = None;
        return None;
    };
    let begin = look.memory.fsync_since.map_or(look.now, |begin| begin.min(look.now));
    look.memory.fsync_since = Some(begin);
    if since(begin, look.now) < settings.fsync_for {
        return None;
    }
    let n = u64::try_from(p99.as_millis()).unwrap_or(u64::MAX);
    let measure = measure(look, n, "milliseconds of fdatasync, 99th percentile", lasts(settings.fsync), "fsync");
    Some(Draft {
        summary: format!(
            "The disk is slow: since {} one sync in a hundred takes {} or longer. Each message waits for one before its 250.",
            clock(begin, look.now),
            lasts(p99)
        ),
        done: "One sync serves all clients that wait, so that mail is slower and none is lost.".into(),
        next_step: "See with `iostat -x 5` who else writes to this disk (a backup, a database, a RAID that rebuilds) and move it, or \
                    data_dir, away; `dmesg` tells of a disk that dies."
            .into(),
        ..draft(look, "fsync", measure)
    })
}

fn behind(look: &Look<'_>, reader: &Reader) -> Option<Draft> {
    let limit = look.settings.house.behind;
    if reader.behind <= limit {
        return None;
    }
    let name = said(&reader.name);
    let measure = measure(look, reader.behind.as_secs(), "seconds behind", lasts(limit), "behind");
    let is_log = reader.name == "log";
    Some(Draft {
        summary: match is_log {
            true => format!("The log is {} behind: what happens to mail is not on disk yet.", lasts(reader.behind)),
            false => format!("{name} is {} behind the log: what it shows or sends is that old.", lasts(reader.behind)),
        },
        done: match is_log {
            true => {
                "No more deliveries than delivery.unlogged_max go out without their lines, and the spool keeps all mail until they \
                     are written."
            }
            false => "It reads on from where it is; nothing of the log is left out.",
        }
        .into(),
        next_step: match is_log {
            true => "`posthaste alarms` and the relay's standard error (`journalctl -u posthaste`) say what the disk answers.".into(),
            false => format!(
                "See with `top` whether the machine is short of CPU or disk; `journalctl -u posthaste` says whether {name} \
                              fails."
            ),
        },
        ..draft(look, &format!("behind/{name}"), measure)
    })
}

fn stepped(look: &Look<'_>, step: &ClockStep) -> Option<Draft> {
    let settings = &look.settings.house;
    if since(step.at, look.now) >= settings.clock_for {
        return None;
    }
    let by = Duration::from_secs(step.seconds.unsigned_abs());
    let way = if step.seconds < 0 { "back" } else { "forward" };
    let base = draft(look, "clock", fact(by.as_secs(), "seconds by which the clock stepped"));
    Some(Draft {
        summary: format!("The clock stepped {way} by {} at {}.", lasts(by), clock(step.at, look.now)),
        done: "What waited for its next attempt waits for the rest of its time, and no day's budget is given twice.".into(),
        next_step:
            "Let chrony or systemd-timesyncd keep the time, and see with `timedatectl` that it does; `posthaste warmup status` shows lanes \
                    that wait for a day to pass."
                .into(),
        ..base
    })
}

fn reload(look: &Look<'_>, refused: &Refused) -> Draft {
    Draft {
        summary: format!("The reload at {} was refused: {}", clock(refused.at, look.now), sentence(&refused.why)),
        done: "The configuration from before is in force.".into(),
        next_step: "`posthaste check` shows all errors with their lines; mend them and `posthaste reload`. Until then a restart would \
             fail."
            .into(),
        ..draft(look, "reload", fact(1, "refused reload"))
    }
}

fn quarantined(look: &Look<'_>, records: u64) -> Draft {
    Draft {
        severity: Severity::Critical,
        summary: format!(
            "{} of the spool cannot be read and {} in quarantine: mail that was accepted may not have been sent.",
            count(records, "record", "records"),
            if records == 1 { "is" } else { "are" }
        ),
        done: "The damaged bytes were copied before anything was cut; all other mail goes on.".into(),
        next_step: "`posthaste alarms` names the messages and `posthaste audit` the recipients without an ending; tell their senders, \
                    check the disk with `smartctl -a`, and move the files out of the quarantine folder of spool.dir."
            .into(),
        ..draft(look, "quarantine", fact(records, "records of the spool in quarantine"))
    }
}

fn standing(look: &Look<'_>, alarm: &Standing) -> Draft {
    let id = alarm.id;
    Draft {
        severity: Severity::Critical,
        summary: format!("Alarm {id} stands since {}: {}", clock(alarm.since, look.now), sentence(&alarm.detail)),
        done: "The relay goes on with what it has, and says so again at each start.".into(),
        next_step: match alarm.mends {
            true => "Do what `posthaste alarms` says about it; the alarm ends by itself once that is mended.".into(),
            false => format!("Do what `posthaste alarms` says about it, and then `posthaste alarms acknowledge {id}`."),
        },
        query: "posthaste alarms".into(),
        since: None,
        ..draft(look, &format!("alarm/{}", said(&alarm.about)), fact(1, "alarm that stands"))
    }
}
