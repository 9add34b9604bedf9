//! Rules that look at what the relay knows besides.

use std::time::Duration;

use jiff::SignedDuration;

use super::{World, ago, hours, minutes, now, shown};
use crate::{
    Certificate, ClockStep, Disk, Facts, Finding, KeyMissing, LaneFact, MissedDay, PoolFact, Reader, Refused, Rule, Rules, Severity,
    Standing, SteppedBack, Stopped,
};

fn with(fill: impl FnOnce(&mut Facts)) -> World {
    let mut world = World::new();
    fill(&mut world.facts);
    world
}

fn lane() -> LaneFact {
    LaneFact { source: "ip1".into(), provider: "google".into(), cap: Some(500), used: 120, ..LaneFact::default() }
}

fn the_only(world: &World) -> Finding {
    let mut found = world.found();
    assert_eq!(found.len(), 1, "{found:#?}");
    found.remove(0)
}

#[test]
fn a_pool_without_a_source_is_found() {
    let pool = |second: Option<&str>| {
        let sources = vec![("ip1".into(), Some("its address is gone".into())), ("ip2".into(), second.map(Into::into))];
        with(|facts| facts.pools = vec![PoolFact { name: "bulk".into(), sources }])
    };
    let finding = the_only(&pool(Some("stopped everywhere")));
    assert_eq!(finding.id, "mail_stands/pool:bulk");
    assert!(finding.summary.contains("ip1 (its address is gone), ip2 (stopped everywhere)"), "{}", finding.summary);
    assert!(finding.next_step.contains("posthaste warmup resume"), "{}", finding.next_step);
    assert!(pool(None).found().is_empty(), "one source is left");
    assert!(with(|facts| facts.pools = vec![PoolFact { name: "empty".into(), sources: vec![] }]).found().is_empty());
}

#[test]
fn a_lane_that_is_stopped_says_why_and_until_when() {
    let stopped = |by_operator: bool, until: Option<SignedDuration>| {
        let until = until.map(|until| now().checked_add(until).unwrap());
        let stopped = Stopped { since: Some(ago(minutes(32))), until, by_operator, why: "421 4.7.28 too much".into() };
        the_only(&with(|facts| facts.lanes = vec![LaneFact { stopped: Some(stopped), ..lane() }]))
    };
    let finding = stopped(false, None);
    assert_eq!(shown(std::slice::from_ref(&finding), Rule::Lane), ["lane:ip1/google 120/500 critical"]);
    assert_eq!(
        finding.summary,
        "Lane ip1/google sends nothing since 12:02 UTC, until somebody resumes it: the provider pushed back: 421 4.7.28 too much."
    );
    assert!(finding.next_step.contains("`posthaste warmup resume ip1/google --reason mended`"), "{}", finding.next_step);
    let finding = stopped(false, Some(minutes(28)));
    assert!(finding.severity == crate::Severity::Warn && finding.summary.contains("until 13:02 UTC"), "{}", finding.summary);
    assert!(stopped(true, None).summary.contains("an operator stopped it"));
}

#[test]
fn a_step_back_and_a_missed_day_are_news_for_a_day() {
    let at = |age: SignedDuration| {
        let step = SteppedBack { at: ago(age), from: "4".into(), to: "3".into(), why: "2.1 % unknown users".into() };
        with(|facts| facts.lanes = vec![LaneFact { stepped_back: Some(step), ..lane() }])
    };
    assert!(the_only(&at(hours(23))).summary.contains("stepped back from stage 4 to 3"));
    assert!(at(hours(24)).found().is_empty());
    let missed = MissedDay { day: jiff::civil::date(2026, 11, 24), at: ago(hours(12)), taken: 40, cap: 500 };
    let finding = the_only(&with(|facts| facts.lanes = vec![LaneFact { missed: Some(missed), ..lane() }]));
    assert!(finding.summary.contains("on 2026-11-24 the provider took 40 recipients of the 500"), "{}", finding.summary);
    assert!(with(|facts| facts.lanes = vec![LaneFact { slowed_to: Some(5), ..lane() }]).found().is_empty(), "slow is not stopped");
}

#[test]
fn a_signing_key_that_dns_lacks_is_critical() {
    let missing = KeyMissing { domain: "x.org".into(), selector: "2026a".into(), found: "no TXT record".into() };
    let finding = the_only(&with(|facts| facts.keys_missing = vec![missing]));
    assert_eq!(shown(std::slice::from_ref(&finding), Rule::Authentication), ["relay:key/2026a._domainkey.x.org 1 critical"]);
    assert_eq!(finding.problem_of, crate::ProblemOf::Dns);
    assert!(finding.next_step.contains("`posthaste dkim dns x.org`"), "{}", finding.next_step);
}

#[test]
fn a_certificate_is_found_before_it_expires() {
    let expires = |in_days: i64, renewed: bool| {
        let expires = now().checked_add(hours(24 * in_days)).unwrap();
        with(|facts| facts.house.certificates = vec![Certificate { name: "mx1.x.org".into(), expires, renewed }])
    };
    assert!(expires(14, false).found().is_empty());
    let finding = the_only(&expires(13, false));
    assert_eq!(shown(std::slice::from_ref(&finding), Rule::House), ["relay:certificate/mx1.x.org 13 warn"]);
    assert!(finding.next_step.contains("`posthaste reload`"), "{}", finding.next_step);
    assert!(the_only(&expires(3, true)).next_step.contains("[acme]"));
    assert_eq!(the_only(&expires(3, true)).severity, crate::Severity::Critical);
    assert!(the_only(&expires(-1, false)).summary.contains("expired at"));
}

#[test]
fn a_disk_is_found_when_it_is_nearly_full_or_fills_fast() {
    let disk = |free: u64, shrinks_by: Option<u64>| {
        let disk = Disk { holds: "spool".into(), path: "/var/spool/posthaste".into(), size: 1000, free, shrinks_by };
        with(|facts| facts.house.disks = vec![disk]).of(Rule::House)
    };
    assert_eq!(disk(100, None), [""; 0]);
    assert_eq!(disk(99, None), ["relay:disk/spool 99/1000 warn"]);
    assert_eq!(disk(24, None), ["relay:disk/spool 24/1000 critical"]);
    assert_eq!(disk(600, Some(200)), [""; 0], "three days are enough");
    assert_eq!(disk(600, Some(201)), ["relay:disk/spool 71 warn"]);
    assert_eq!(disk(600, Some(1000)), ["relay:disk/spool 14 critical"]);
}

#[test]
fn a_slow_disk_is_found_after_ten_minutes_without_a_break() {
    let (mut world, mut rules) = (World::new(), Rules::default());
    let tallies = world.tallies();
    let mut at = |minute: i64, milliseconds: u64| {
        world.facts.house.fsync_p99 = Some(Duration::from_millis(milliseconds));
        world.found_by(&mut rules, &tallies, now().checked_add(minutes(minute)).unwrap()).len()
    };
    assert_eq!([at(0, 150), at(9, 101), at(10, 400), at(11, 100), at(12, 150), at(21, 150), at(22, 150)], [0, 0, 1, 0, 0, 0, 1]);
}

#[test]
fn what_is_behind_stepped_refused_damaged_or_stands_is_found() {
    let reader = |name: &str, minutes: u64| Reader { name: name.into(), behind: Duration::from_secs(60 * minutes) };
    let world = with(|facts| facts.house.readers = vec![reader("log", 15), reader("tallies", 16)]);
    assert_eq!(world.of(Rule::House), ["relay:behind/tallies 960 warn"]);
    let step = |age| with(|facts| facts.house.clock_stepped = Some(ClockStep { at: ago(age), seconds: -7200 }));
    assert!(the_only(&step(minutes(59))).summary.contains("stepped back by 2h"));
    assert!(step(minutes(60)).found().is_empty());
    let refused = Refused { at: ago(minutes(3)), why: "posthaste.toml:3: hostnam: no such key".into() };
    let finding = the_only(&with(|facts| facts.house.reload_refused = Some(refused)));
    assert!(finding.next_step.contains("`posthaste check`") && finding.summary.contains("hostnam"), "{finding:?}");
    assert_eq!(with(|facts| facts.house.quarantined = 2).of(Rule::House), ["relay:quarantine 2 critical"]);
    let standing = |id, about: &str, mends| {
        let detail = format!("segment 7 is missing, {}", "and more ".repeat(30));
        let alarm = Standing { id, about: about.into(), since: ago(hours(2)), detail, mends };
        the_only(&with(|facts| facts.house.alarms = vec![alarm]))
    };
    let finding = standing(3, "3", false);
    assert!(finding.next_step.contains("`posthaste alarms acknowledge 3`"), "{finding:?}");
    assert!(finding.summary.ends_with("more…") || finding.summary.ends_with("and…"), "cut between words: {finding:?}");
    // Raised again under another number, it is the same finding.
    let (before, again) = (standing(4, "log_unwritable", true), standing(5, "log_unwritable", true));
    assert_eq!((&*before.id, &before.id), ("house/relay:alarm/log_unwritable", &again.id));
    assert!(again.next_step.contains("ends by itself"), "{again:?}");
}

#[test]
fn what_the_guard_holds_is_found_for_as_long_as_it_does() {
    let mut world = World::new();
    let key = crate::Key::new(crate::About::User, "shop");
    let why = "User shop sends far more than ever.".to_owned();
    let held =
        crate::Guarded { since: ago(minutes(90)), why, messages: 3, recipients: 4, bytes: 5000, most: 10, ..crate::Guarded::default() };
    world.facts.guarded.insert(key.clone(), held.clone());
    let (mut incidents, settings) = (crate::Incidents::default(), crate::settings::IncidentSettings::default());
    let found = world.found();
    let finding = found.iter().find(|finding| finding.rule == Rule::Guard).unwrap();
    assert_eq!((finding.id.as_str(), finding.severity, finding.measure.n), ("guard/user:shop", Severity::Critical, 3));
    for (text, part) in [
        (&finding.summary, "holds the new mail of user shop since 11:04 UTC, 3 messages so far. User shop sends far more than ever."),
        (&finding.done, "nothing of it is lost"),
        (&finding.next_step, "`posthaste guard release user:shop`"),
        (&finding.next_step, "`posthaste guard drop user:shop --reason WHY`"),
        (&finding.next_step, "`posthaste user passwd shop`"),
    ] {
        assert!(text.contains(part), "{text}");
    }
    world.facts.guarded.insert(key, crate::Guarded { full: true, ..held });
    assert!(world.found().iter().any(|finding| finding.rule == Rule::Guard && finding.done.contains("451")));

    // It is open while mail is held, nobody closes it before, and it is over at once.
    let opened = incidents.take(&found, &settings, now());
    let id = &opened.iter().find(|change| change.incident.finding.rule == Rule::Guard).unwrap().incident.id;
    let refused = incidents.close(id, "ann", &settings, now()).unwrap_err();
    assert!(refused.to_string().contains("`posthaste guard release user:shop`"), "{refused}");
    assert_eq!(incidents.take(&found, &settings, now().checked_add(hours(3)).unwrap()).len(), 0);
    let over = incidents.take(&[], &settings, now().checked_add(hours(3)).unwrap().checked_add(minutes(1)).unwrap());
    assert_eq!(
        over.iter().map(|change| (change.incident.finding.rule, change.change.as_str())).collect::<Vec<_>>(),
        [(Rule::Guard, "closed")]
    );
}
