//! Findings over time: first and last seen, fixed, and tallies that are behind.

use super::{World, ago, minutes, now};
use crate::{ClockStep, FindingState, Lookout, LookoutError, Rule, RuleSettings, Rules, View, Waiting};

fn stands(world: &mut World) {
    let waiting = Waiting { provider: "google".into(), stream: "news".into(), due: 7, ..Waiting::default() };
    world.facts.waiting = vec![Waiting { due_since: Some(ago(minutes(6))), ..waiting }];
}

#[test]
fn a_finding_knows_since_when_it_is_so_and_stays_for_a_day_when_it_is_fixed() {
    let (mut world, mut rules) = (World::new(), Rules::default());
    stands(&mut world);
    let tallies = world.tallies();
    let at = |minute: i64| now().checked_add(minutes(minute)).unwrap();
    world.found_by(&mut rules, &tallies, at(0));
    let found = world.found_by(&mut rules, &tallies, at(10)).remove(0);
    assert_eq!((found.first_seen, found.last_seen, found.state), (at(0), at(10), FindingState::Open));
    assert!(found.query.ends_with("--since 2026-11-25T12:29:20Z"), "the events before the first hit too: {}", found.query);
    world.facts.waiting.clear();
    assert!(world.found_by(&mut rules, &tallies, at(20)).is_empty());
    let fixed = rules.found().next().unwrap();
    assert_eq!((fixed.state, fixed.last_seen), (FindingState::Fixed, at(10)));
    stands(&mut world);
    assert_eq!(world.found_by(&mut rules, &tallies, at(30))[0].first_seen, at(30));
    world.facts.waiting.clear();
    world.found_by(&mut rules, &tallies, at(31 + 24 * 60));
    assert_eq!(rules.found().count(), 0);
}

/// What was not counted yet looks like mail that was not delivered.
#[test]
fn tallies_that_are_behind_neither_open_nor_fix_anything() {
    let mut world = World::new();
    stands(&mut world);
    let (tallies, settings) = (world.tallies(), RuleSettings::default());
    let judge = |rules: &mut Rules, world: &World, behind: i64| {
        let view = View { tallies: Some(&tallies), counted: ago(minutes(behind)), facts: &world.facts };
        rules.judge(view, &settings, now()).unwrap().len()
    };
    let mut rules = Rules::default();
    assert_eq!(judge(&mut rules, &world, 2), 0);
    assert_eq!(judge(&mut rules, &world, 1), 1);
    world.facts.waiting.clear();
    assert_eq!(judge(&mut rules, &world, 2), 1, "nobody looked");
    assert_eq!(judge(&mut rules, &world, 0), 0);
}

#[test]
fn without_tallies_the_house_is_looked_at_and_nothing_else_is_fixed() {
    let (mut world, mut rules) = (World::new(), Rules::default());
    stands(&mut world);
    assert_eq!(world.found_by(&mut rules, &world.tallies(), now()).len(), 1);
    world.facts.waiting.clear();
    world.facts.house.quarantined = 1;
    let view = View { tallies: None, counted: now(), facts: &world.facts };
    let found = rules.judge(view, &world.settings, now()).unwrap();
    assert_eq!(found.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [Rule::House, Rule::MailStands]);
}

#[test]
fn more_findings_than_there_is_place_for_are_counted() {
    let (mut world, mut rules) = (World::new(), Rules::default());
    stands(&mut world);
    let waiting = world.facts.waiting[0].clone();
    world.facts.waiting = (0..1003).map(|n| Waiting { provider: format!("p{n}"), ..waiting.clone() }).collect();
    assert_eq!(world.found_by(&mut rules, &world.tallies(), now()).len(), 1000);
    assert_eq!(rules.beyond(), 3);
}

#[test]
fn a_state_of_another_version_and_damage_are_told_apart() {
    let bytes = Lookout::default().to_bytes();
    assert!(Lookout::from_bytes(&bytes).is_ok());
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(
        Lookout::from_bytes(text.replace(r#""version":1"#, r#""version":2"#).as_bytes()).unwrap_err(),
        LookoutError::Version("2".into())
    );
    assert!(matches!(Lookout::from_bytes(&text.as_bytes()[1..]), Err(LookoutError::Damaged(_))));
    assert!(matches!(Lookout::from_bytes(br#"{"version":1}"#), Err(LookoutError::Damaged(_))));
}

/// Rules that count looks or wait for something to last go on where they were.
#[test]
fn a_restart_between_two_ticks_changes_nothing() {
    let mut world = World::new();
    stands(&mut world);
    let waiting = Waiting { provider: "google".into(), stream: "receipts".into(), recipients: 1, ..Waiting::default() };
    world.facts.waiting.push(Waiting { oldest: Some(ago(minutes(60 * 5))), ..waiting });
    world.facts.house.fsync_p99 = Some(std::time::Duration::from_millis(300));
    let tallies = world.tallies();
    let (mut whole, mut restarted) = (Lookout::default(), Lookout::default());
    let mut opened = Vec::new();
    for minute in 0..45 {
        let now = now().checked_add(minutes(minute)).unwrap();
        if minute == 25 {
            world.facts.waiting.clear();
        }
        // The relay tells of it once; the rule has it for an hour.
        world.facts.house.clock_stepped = (minute == 0).then_some(ClockStep { at: now, seconds: 90 });
        let view = View { tallies: Some(&tallies), counted: now, facts: &world.facts };
        let changes = whole.tick(view, &world.settings, now).unwrap();
        restarted = Lookout::from_bytes(&restarted.to_bytes()).unwrap();
        assert_eq!(changes, restarted.tick(view, &world.settings, now).unwrap(), "minute {minute}");
        opened.extend(changes.iter().map(|change| (minute, change.incident.finding.rule)));
    }
    assert_eq!(opened, [(0, Rule::MailStands), (0, Rule::House), (1, Rule::Late), (10, Rule::House)]);
    assert_eq!(whole.to_bytes(), restarted.to_bytes());
}
