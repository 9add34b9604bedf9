//! Mail that the guard holds from its acceptance.

use super::*;

const DAY: Duration = Duration::from_hours(24);

/// A relay whose receivers take everything; `a` of a user that the guard holds, and `b` of another.
fn world(
    answer: impl Fn(&DeliveryJob, Timestamp) -> Result<posthaste_mail::Reply, posthaste_mail::Failure> + 'static,
) -> (World, Seq, Seq) {
    let mut world = World::new(policy(), answer);
    (world.user, world.guarded) = (Some("shop".into()), Some("the guard holds it".into()));
    let held = world.arrive("default", &["a.example", "b.example"]);
    (world.user, world.guarded) = (Some("other".into()), None);
    let other = world.arrive("default", &["a.example"]);
    (world, held, other)
}

fn ask(world: &mut World, question: Question) -> Answer {
    let now = world.now;
    let (answer, actions) = world.dispatcher.answer(question, now);
    world.perform(actions);
    answer
}

fn end(world: &mut World, of: &str, except: &[&str], end: GuardEnd) -> usize {
    let except = except.iter().map(|of| of.parse().unwrap()).collect();
    let change = GuardChange { of: Some(of.parse().unwrap()), except, before: None, end };
    let Answer::Changed(changed) = ask(world, Question::Guard(change)) else { panic!("a change was asked for") };
    changed.messages
}

fn released() -> GuardEnd {
    GuardEnd::Released { by: "ann".into() }
}

fn rows(world: &mut World) -> Vec<GuardedRow> {
    let Answer::Guarded(rows) = ask(world, Question::Guarded) else { panic!("rows were asked for") };
    rows
}

#[test]
fn it_waits_through_restarts_until_it_is_released_and_goes_out_once() {
    let (mut world, held, other) = world(|_, _| ok());
    world.run_for(30 * DAY);
    assert_eq!((world.fates(held).len(), world.fates(other)), (0, vec![&Next::Delivered]), "others notice nothing");
    world.user = Some("shop".into());
    let mut world = world.restarted(policy());
    world.run_for(DAY);
    let Answer::Why(reasons) =
        ask(&mut world, Question::Why { selection: MessageSelection::default(), limit: 9, provider: None, sources: Vec::new() })
    else {
        panic!("reasons were asked for")
    };
    let states: Vec<_> = reasons.waiting.first.iter().map(|w| (w.standing.state.as_str(), w.standing.held.why.as_str())).collect();
    assert_eq!(states, [("guarded", "the guard holds it"); 2]);
    let [row] = &rows(&mut world)[..] else { panic!("one user's mail is held") };
    assert_eq!((row.user.as_deref(), row.stream.as_str(), row.messages, row.recipients, row.bytes), (Some("shop"), "default", 1, 2, 1000));
    assert_eq!(end(&mut world, "user:other", &[], released()), 0);
    assert_eq!(end(&mut world, "user:shop", &["stream:default"], released()), 0, "another hold is about it too");
    assert_eq!(end(&mut world, "user:shop", &["stream:news"], released()), 1);
    assert_eq!(end(&mut world, "user:shop", &[], released()), 0);
    world.run_for(Duration::from_secs(60));
    let by = Next::Released("ann".into());
    assert_eq!(world.fates(held), [&by, &by, &Next::Delivered, &Next::Delivered]);
    assert_eq!((world.dispatcher.queued(), rows(&mut world)), ((0, 0), Vec::new()));
}

/// It is tried for as long as any other, although it was accepted long ago; a restart in between changes nothing.
#[test]
fn its_age_counts_from_its_release() {
    let (mut world, held, _) = world(|_, _| refused(451, "4.3.0 later"));
    world.run_for(10 * DAY);
    assert_eq!(end(&mut world, "stream:default", &[], released()), 1);
    let released = world.now;
    world.run_for(DAY);
    let mut world = world.restarted(policy());
    assert!(rows(&mut world).is_empty(), "a start does not hold again what was released");
    world.run_for(10 * DAY);
    let ended = world.log.iter().find(|line| line.1 == held && line.4 == Next::Expired).expect("it has expired");
    assert_eq!(ended.0.duration_since(released).as_hours(), 5 * 24);
    assert!(world.fates(held).iter().filter(|next| matches!(next, Next::Deferred(_))).count() > 20);
}

#[test]
fn it_is_dropped_or_expires_with_an_ending_for_each_recipient() {
    let (mut world, held, other) = world(|_, _| refused(451, "4.3.0 later"));
    world.run_for(DAY);
    assert_eq!(end(&mut world, "user:shop", &[], GuardEnd::Dropped { by: "ann".into(), reason: "stolen".into() }), 1);
    let cancelled = Next::Cancelled("ann".into(), "stolen".into());
    assert_eq!(world.fates(held), [&cancelled, &cancelled]);
    assert_eq!((world.spool[&held].is_none(), world.dispatcher.queued().0), (true, 1), "the other one waits");
    assert!(!world.fates(other).contains(&&cancelled));

    world.guarded = Some("the guard holds it".into());
    let (old, before) = (world.arrive("default", &["a.example"]), world.now + DAY);
    world.run_for(2 * DAY);
    let young = world.arrive("default", &["a.example"]);
    let expired = GuardEnd::Expired { detail: "held for a month".into() };
    ask(&mut world, Question::Guard(GuardChange { of: None, except: Vec::new(), before: Some(before), end: expired }));
    assert_eq!((world.fates(old), world.fates(young).len()), (vec![&Next::Expired], 0));
}

/// A release of what operators hold must not let a flood out.
#[test]
fn a_release_from_the_queue_leaves_it_alone_unless_it_is_named() {
    let (mut world, held, _) = world(|_, _| ok());
    let release = |world: &mut World, selection| {
        let change = QueueChange::Release { selection, by: "ann".into() };
        let Answer::Changed(changed) = ask(world, Question::Change(change)) else { panic!("a change was asked for") };
        (changed.messages, changed.guarded)
    };
    assert_eq!(release(&mut world, MessageSelection::default()), (0, 1));
    let id = MessageId::new(world.arrivals[&held].2, u128::from(held));
    assert_eq!(release(&mut world, MessageSelection::one(id)), (1, 0));
    assert!(rows(&mut world).is_empty());
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.fates(held).iter().filter(|next| ***next == Next::Delivered).count(), 2);
}

#[test]
fn a_users_messages_can_be_selected() {
    let (mut world, held, other) = world(|_, _| refused(451, "4.3.0 later"));
    world.run_for(Duration::from_secs(60));
    for (user, seqs) in [("shop", vec![held]), ("other", vec![other]), ("nobody", vec![])] {
        let selection = MessageSelection { user: Some(user.into()), ..MessageSelection::default() };
        let Answer::Messages(messages) = ask(&mut world, Question::Messages { selection, limit: 9 }) else { panic!("messages") };
        assert_eq!(messages.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), seqs, "{user}");
    }
}
