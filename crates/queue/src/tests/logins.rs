//! Mail that waits for the relay's login at a smart host.

use posthaste_bounce::Verdict;
use posthaste_mail::{Failure, Reply, Stage};

use super::*;
use crate::{login_waits::LoginWaits, operator::waits, verdicts::LOGIN_RULE};

fn refuses(rule: &str) -> AttemptResult {
    let failure = Failure::Refused { stage: Stage::Rcpt, reply: Reply::new(450, "4.3.0 not now") };
    let verdict = Verdict { rule: rule.into(), ..verdict(&failure) };
    AttemptResult::Failed(failure, verdict)
}

/// The recipients of a message that were delivered to, and when the last one was.
fn delivered(world: &World, seq: Seq) -> (usize, Option<Timestamp>) {
    let delivered = world.log.iter().filter(|(_, of, _, _, next)| *of == seq && *next == Next::Delivered);
    (delivered.clone().count(), delivered.map(|(at, ..)| *at).max())
}

#[test]
fn what_a_login_held_up_goes_at_once_when_it_works_and_nothing_else_does() {
    let mut world = World::new(policy(), |_, _| ok());
    world.judge = Some(Box::new(|_, provider, _| refuses(if provider == "busy.example" { "busy" } else { LOGIN_RULE })));
    let seqs = [world.arrive("default", &["a.example"]), world.arrive("default", &["a.example", "busy.example"])];
    let other = world.arrive("default", &["b.example"]);
    world.run_for(Duration::from_secs(60));
    world.judge = None;
    let now = world.now;
    world.feed(Input::LoginsChanged(vec!["a.example".into()]));
    world.run_for(Duration::from_secs(1));
    for seq in seqs {
        let (count, at) = delivered(&world, seq);
        assert!(count == 1 && at.is_some_and(|at| at.duration_since(now) < SignedDuration::from_secs(1)), "{seq}: {count} {at:?}");
    }
    assert_eq!(delivered(&world, other), (0, None), "another smart host's");
    // Once only: the rest keeps to its schedule.
    world.feed(Input::LoginsChanged(vec!["a.example".into()]));
    world.run_for(Duration::from_secs(60));
    assert_eq!(delivered(&world, seqs[1]).0, 1);
    world.run_for(Duration::from_secs(600));
    assert_eq!((delivered(&world, seqs[1]).0, delivered(&world, other).0), (2, 1));
}

#[test]
fn a_start_knows_what_waits_for_a_login_and_tries_it_again() {
    let mut world = World::new(policy(), |_, _| ok());
    world.judge = Some(Box::new(|_, provider, _| refuses(if provider == "busy.example" { "busy" } else { LOGIN_RULE })));
    let seq = world.arrive("default", &["a.example", "busy.example", "b.example"]);
    world.run_for(Duration::from_secs(60));
    let kept = world.spool[&seq].clone().unwrap();
    let waits: Vec<_> = kept.logins.values().flatten().copied().collect();
    assert_eq!((waits, kept.recipients.len()), (vec![0, 2], 3), "{kept:?}");

    let mut logins = LoginWaits::default();
    let (mut again, now) = (kept.clone(), kept.recipients[0].2 - 1000);
    logins.restore(seq, &mut again, now);
    assert_eq!(again.recipients.iter().filter(|saved| saved.2 <= now).map(|saved| saved.0).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(logins.all().map(|(site, ..)| waits::for_login(site)).filter(|why| why.contains("refuses the relay's login")).count(), 2);

    // What is delivered waits for nothing any more.
    world.judge = None;
    world.feed(Input::LoginsChanged(vec!["a.example".into()]));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.spool[&seq].as_ref().unwrap().logins.values().flatten().copied().collect::<Vec<_>>(), [2]);
}
