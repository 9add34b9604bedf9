//! Questions to the dispatcher, as values.

use posthaste_governor::Overflow;

use super::{
    budget::{plan, warming},
    *,
};

fn id(world: &World, seq: Seq) -> MessageId {
    MessageId::new(world.arrivals[&seq].2, u128::from(seq))
}

fn messages(world: &mut World, selection: MessageSelection) -> Messages {
    let Answer::Messages(messages) = ask(world, Question::Messages { selection, limit: 100 }) else { panic!("messages were asked for") };
    messages
}

fn ask(world: &mut World, question: Question) -> Answer {
    let now = world.now;
    let (answer, actions) = world.dispatcher.answer(question, now);
    world.perform(actions);
    answer
}

#[test]
fn a_message_asked_for_by_its_id_is_told_as_in_the_list_of_all() {
    let mut policy = warming(plan(&[1], Overflow::Defer), &[]);
    policy.streams.insert(Name::new("resets").unwrap(), StreamPolicy { share: 50, ..policy.fallback.clone() });
    let mut world = World::new(policy, |_, _| ok());
    let seqs: Vec<Seq> = (0..6).map(|n| world.arrive(["default", "resets"][n % 2], &["a.example", "b.example"])).collect();
    world.run_for(Duration::from_secs(60));
    let all = messages(&mut world, MessageSelection::default());
    let mut waiting = 0;
    for seq in seqs {
        let selection = MessageSelection::one(id(&world, seq));
        let one = messages(&mut world, selection);
        let same = all.rows.iter().find(|row| row.seq == seq);
        assert_eq!(format!("{:?}", one.rows.first()), format!("{same:?}"));
        assert_eq!(one.total, usize::from(same.is_some()));
        waiting += one.rows.iter().flat_map(|row| &row.rcpts).filter(|rcpt| rcpt.phase == "waiting for budget").count();
    }
    assert_eq!((waiting, world.dispatcher.queued().1), (10, 10), "one recipient a day goes to each provider");
}

#[test]
fn why_a_message_waits_is_told_with_how_its_lanes_stand() {
    let mut world = World::new(warming(plan(&[1], Overflow::Defer), &[]), |_, _| ok());
    let seqs = [world.arrive("default", &["a.example"]), world.arrive("default", &["a.example"])];
    world.run_for(Duration::from_secs(60));
    let (provider, sources) = (Some(Name::new("a.example").unwrap()), vec![Name::new("ip1").unwrap(), Name::new("ip9").unwrap()]);
    let question = Question::Why { selection: MessageSelection::one(id(&world, seqs[1])), limit: 10, provider, sources };
    let Answer::Why(reasons) = ask(&mut world, question) else { panic!("reasons were asked for") };
    let [lane] = &reasons.lanes[..] else { panic!("ip9 never sent there: {:?}", reasons.lanes) };
    assert_eq!((lane.source.as_str(), lane.now.stage.as_ref().map(|stage| (stage.cap, stage.used))), ("ip1", Some((Some(1), 1))));
    let [waits] = &reasons.waiting.first[..] else { panic!("{:?}", reasons.waiting) };
    assert_eq!((waits.seq, waits.standing.state.as_str(), reasons.waiting.total), (seqs[1], "budget", 1));
}

#[test]
fn the_table_the_oldest_and_changes_are_asked_for_by_value() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    assert!(matches!(ask(&mut world, Question::Oldest), Answer::Oldest(None)));
    let start = world.now;
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(10));
    world.arrive("default", &["b.example"]);
    world.run_for(Duration::from_secs(10));
    assert!(matches!(ask(&mut world, Question::Oldest), Answer::Oldest(Some(at)) if at == start));
    let held = ask(&mut world, Question::Change(QueueChange::Hold { selection: MessageSelection::default(), reason: "looks odd".into() }));
    assert!(matches!(held, Answer::Changed(Changed { messages: 2, .. })));
    let Answer::Table(table) = ask(&mut world, Question::Table) else { panic!("the table was asked for") };
    assert_eq!((table.counts.messages, table.counts.held, table.lanes.len()), (2, 2, 2));
    assert!(matches!(ask(&mut world, Question::Sync), Answer::Done));
}

#[test]
fn a_recipient_of_a_list_is_an_array_in_json() {
    let row = RecipientRow { rcpt: 1, domain: "a.example".into(), attempts: 2, due: Timestamp::UNIX_EPOCH, phase: "waiting".into() };
    let text = serde_json::to_string(&row).unwrap();
    assert_eq!(text, r#"[1,"a.example",2,"1970-01-01T00:00:00Z","waiting"]"#);
    assert_eq!(serde_json::from_str::<RecipientRow>(&text).unwrap().domain, row.domain);
}

#[test]
fn the_table_of_a_long_queue_is_not_made_for_each_who_asks() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    for _ in 0..1_000 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(60));
    let table = |world: &mut World| match ask(world, Question::Table) {
        Answer::Table(table) => (table.counts.messages, table.counts.held, table.lanes[0].queued),
        other => panic!("the table was asked for: {other:?}"),
    };
    assert_eq!(table(&mut world), (1_000, 0, 1_000));
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_millis(5));
    assert_eq!(table(&mut world), (1_001, 0, 1_000), "the total is current, the rows are those of a moment ago");
    world.run_for(Duration::from_millis(10));
    assert_eq!(table(&mut world), (1_001, 0, 1_001));
    world.run_for(Duration::from_secs(60));
    ask(&mut world, Question::Change(QueueChange::Hold { selection: MessageSelection::default(), reason: "looks odd".into() }));
    assert_eq!(table(&mut world), (1_001, 1_001, 1_001), "an operator sees at once what a change did");
}

#[test]
fn a_table_with_many_rows_lasts_longer() {
    let mut world = World::new(policy(), |_, _| refused(451, "4.3.0 later"));
    for n in 0..500 {
        world.arrive("default", &[&format!("d{n}.example")]);
    }
    world.run_for(Duration::from_secs(60));
    let recipients = |world: &mut World| match ask(world, Question::Table) {
        Answer::Table(table) => table.waiting.iter().map(|row| row.recipients).sum::<usize>(),
        other => panic!("the table was asked for: {other:?}"),
    };
    assert_eq!(recipients(&mut world), 500);
    world.arrive("default", &["d1.example"]);
    world.run_for(Duration::from_millis(150));
    assert_eq!(recipients(&mut world), 500, "a row takes longer than a recipient");
    world.run_for(Duration::from_millis(500));
    assert_eq!(recipients(&mut world), 501);
}

#[test]
fn what_its_sender_wants_sent_later_is_not_retried_unless_it_is_asked_for() {
    let mut world = World::new(policy(), |_, _| ok());
    let at = super::times::later(world.now, Duration::from_secs(3_600));
    let arrival = Arrival {
        seq: 9,
        id: MessageId::new(world.now, 9),
        arrived: at,
        put_off: Some(PutOff::Until),
        stream: Name::new("default").unwrap(),
        user: None,
        priority: TransferPriority::default(),
        deliver_by: None,
        size: 100,
        domains: vec![Domain::new("a.example").unwrap()],
        progress: Some(Progress::of(vec![SavedRecipient(0, 0, at.as_millisecond(), false)])),
        guarded: None,
        warm: None,
    };
    let actions = world.dispatcher.handle(Input::Arrived(Box::new(arrival)), world.now);
    world.perform(actions);
    world.arrive("default", &["b.example"]);
    let told = messages(&mut world, MessageSelection::default());
    let scheduled = told.rows.iter().find(|row| row.seq == 9).unwrap();
    assert_eq!((scheduled.standing[0].state.as_str(), scheduled.standing[0].held.until), ("scheduled", Some(at)));
    assert_eq!(scheduled.rcpts[0].phase, "scheduled");
    let retry = |scheduled| Question::Change(QueueChange::Retry { selection: MessageSelection::default(), scheduled, by: "ann".into() });
    let all = ask(&mut world, retry(false));
    assert!(matches!(all, Answer::Changed(Changed { messages: 1, scheduled: 1, .. })), "{all:?}");
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.dispatcher.queued().0, 1, "only the other one was sent");
    let all = ask(&mut world, retry(true));
    assert!(matches!(all, Answer::Changed(Changed { messages: 1, scheduled: 0, .. })), "{all:?}");
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.dispatcher.queued().0, 0);
}

#[test]
fn every_answer_names_the_same_end_of_a_pause() {
    let blocked = "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org";
    let mut world = World::new(policy(), move |_, _| refused(554, blocked));
    world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(10));
    for _ in 0..3 {
        world.arrive("default", &["a.example"]);
    }
    world.run_for(Duration::from_secs(10));
    let Answer::Table(table) = ask(&mut world, Question::Table) else { panic!("the table was asked for") };
    let [hold] = &table.holds[..] else { panic!("{:?}", table.holds) };
    let end = hold.held.until.unwrap().strftime("%F %T").to_string();
    assert!(hold.can_be_resumed && hold.held.why.contains(&format!("pauses until {end} UTC")), "{hold:?}");
    let told = messages(&mut world, MessageSelection::default());
    let standing: Vec<_> = told.rows.iter().flat_map(|row| &row.standing).collect();
    assert_eq!(standing.len(), 3);
    for stands in standing {
        assert!(stands.state == "paused" && stands.held.why.contains(&format!("until {end} UTC")), "{stands:?}");
        assert!(stands.held.why.contains("posthaste warmup resume") && stands.held.until >= hold.held.until, "{stands:?}");
    }
    let changed = ask(
        &mut world,
        Question::Change(QueueChange::Retry { selection: MessageSelection::default(), scheduled: false, by: "ann".into() }),
    );
    assert!(matches!(&changed, Answer::Changed(changed) if changed.not_sent[0].contains(&end)), "{changed:?}");
}

#[test]
fn no_wait_is_told_that_is_longer_than_the_messages_life() {
    let mut policy = policy();
    policy.fallback.retry = Retry { schedule: vec![Duration::from_secs(5)], jitter: 0.0, expire: Duration::from_secs(40) };
    let mut world = World::new(policy, |_, _| refused(451, "4.7.1 Too many messages, slow down"));
    let ends = super::super::times::later(world.now, Duration::from_secs(40));
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(10));
    let provider = Some(Name::new("a.example").unwrap());
    let question = Question::Why { selection: MessageSelection::one(id(&world, seq)), limit: 10, provider, sources: Vec::new() };
    let Answer::Why(reasons) = ask(&mut world, question) else { panic!("reasons were asked for") };
    let [waits] = &reasons.waiting.first[..] else { panic!("{:?}", reasons.waiting) };
    let held = &waits.standing.held;
    assert!(held.until == Some(ends) && held.why.contains("tried a last time when it expires"), "{held:?}");
    let Answer::Table(table) = ask(&mut world, Question::Table) else { panic!("the table was asked for") };
    let (row, hold) = (&table.lanes[0], table.holds[0].held.until.unwrap());
    assert!(hold > ends && row.goes(hold) == ends && row.budget_until.is_none_or(|until| until <= ends), "{row:?}");
}

#[test]
fn a_wait_that_began_under_a_longer_life_is_told_as_it_will_be() {
    let lives = |expire| {
        let mut policy = policy();
        policy.fallback.retry = Retry { schedule: vec![Duration::from_secs(1800)], jitter: 0.0, expire };
        policy
    };
    let mut world = World::new(lives(Duration::from_secs(7200)), |_, _| refused(451, "4.2.0 mailbox is busy"));
    let seq = world.arrive("default", &["a.example"]);
    world.run_for(Duration::from_secs(10));
    world.feed(Input::Policy(Box::new(lives(Duration::from_secs(60)))));
    let told = messages(&mut world, MessageSelection::default());
    let (due, held) = (told.rows[0].rcpts[0].due, told.rows[0].standing[0].held.clone());
    assert!(held.until == Some(due) && held.why.contains("that attempt is its last"), "{held:?}");
    let Answer::Table(table) = ask(&mut world, Question::Table) else { panic!("the table was asked for") };
    assert_eq!((table.lanes[0].next, table.lanes[0].first_end), (Some(due), Some(due)));
    let before = world.fates(seq).len();
    world.run(due);
    world.run_for(Duration::from_secs(10));
    assert!(world.fates(seq).len() == before + 1 && matches!(world.fates(seq).last(), Some(Next::Expired)), "{:?}", world.fates(seq));
}
