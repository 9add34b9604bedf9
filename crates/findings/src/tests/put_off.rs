//! Mail that stands though somebody answers.

use super::{World, ago, hours, minutes, now, shown};
use crate::{ProblemOf, Rule, Rules};

/// Mail that is put off again and again is due for a moment only: it stands all the same.
#[test]
fn mail_that_a_provider_puts_off_without_taking_any_stands() {
    let world = |class: &str, n: u64, ago_minutes: i64, wait: u64| {
        let mut world = World::new();
        let refused = format!(r#""class":"{class}","smtp_code":451,"rule":"x""#);
        world.lines(ago(minutes(ago_minutes)), n, "deferred", &refused);
        world.facts.waiting =
            vec![crate::Waiting { provider: "google".into(), recipients: wait, oldest: Some(ago(minutes(20))), ..Default::default() }];
        world
    };
    let mut stands = world("transient_other", 60, 8, 60);
    assert_eq!(stands.of(Rule::MailStands), ["provider:google 500 critical"]);
    let whose = |class: &str| world(class, 60, 8, 60).found().iter().map(|found| (found.rule, found.problem_of)).collect::<Vec<_>>();
    assert_eq!(whose("transient_other"), [(Rule::MailStands, ProblemOf::Receiver)]);
    let ours = [(Rule::MailStands, ProblemOf::Ours), (Rule::ProviderRefuses, ProblemOf::Ours)];
    assert_eq!(whose("ip_reputation"), ours, "two rules about the same replies");
    assert_eq!(world("inactive_mailbox", 60, 8, 60).of(Rule::MailStands).len(), 1, "452 4.2.1 to each of them");
    // Greylisting is no trouble, a full mailbox is not the provider's, and a few minutes are none.
    for (class, n, ago_minutes, wait) in
        [("greylisting", 60, 8, 60), ("mailbox_full", 9, 8, 9), ("transient_other", 2, 8, 2), ("transient_other", 60, 4, 60)]
    {
        assert!(world(class, n, ago_minutes, wait).of(Rule::MailStands).is_empty(), "{class} {n} {ago_minutes}");
    }
    stands.lines(ago(minutes(7)), 1, "delivered", "");
    assert!(stands.of(Rule::MailStands).is_empty(), "it took one since");
    // Two hours later there was no attempt, and nothing has changed.
    let (mut world, mut rules) = (world("transient_other", 60, 8, 60), Rules::default());
    let tallies = world.tallies();
    world.found_by(&mut rules, &tallies, now());
    let later = now().checked_add(hours(2)).unwrap();
    assert_eq!(shown(&world.found_by(&mut rules, &tallies, later), Rule::MailStands).len(), 1);
    world.facts.waiting.clear();
    assert!(shown(&world.found_by(&mut rules, &tallies, later), Rule::MailStands).is_empty());
}

#[test]
fn mail_behind_a_lane_that_feedback_stopped_stands() {
    let world = |by_operator: bool, since: i64| {
        let mut world = World::new();
        let stopped = crate::Stopped { since: Some(ago(minutes(since))), until: None, by_operator, why: "the address is blocked".into() };
        world.facts.lanes =
            vec![crate::LaneFact { source: "ip1".into(), provider: "google".into(), stopped: Some(stopped), ..Default::default() }];
        world.facts.waiting =
            vec![crate::Waiting { provider: "google".into(), recipients: 7, oldest: Some(ago(minutes(20))), ..Default::default() }];
        world
    };
    let found = world(false, 6).found();
    let finding = found.iter().find(|finding| finding.rule == Rule::MailStands).unwrap();
    assert!(finding.summary.contains("7 recipients wait, lane ip1/google is stopped since"), "{}", finding.summary);
    assert!(finding.next_step.contains("posthaste warmup resume ip1/google"), "{}", finding.next_step);
    assert!(world(false, 4).of(Rule::MailStands).is_empty());
    assert!(world(true, 6).of(Rule::MailStands).is_empty(), "an operator wanted it");
}
