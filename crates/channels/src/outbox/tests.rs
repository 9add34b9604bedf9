//! Single facts about the outbox.

use super::*;
use crate::notification::tests::opened;

const START: &str = "2026-11-29T14:17:00Z";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(START.parse::<Timestamp>().unwrap().as_second() + seconds).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn wants(per_hour: u32) -> Wants {
    Wants { rules: Vec::new(), severity: Severity::Warn, per_hour: NonZeroU32::new(per_hour).unwrap() }
}

fn outbox(channels: &[(&str, Wants)]) -> Outbox {
    let mut outbox = Outbox::default();
    outbox.set_channels(channels.iter().map(|(channel, wants)| (name(channel), wants.clone())).collect());
    outbox
}

fn news(id: &str, change: Change) -> Notification {
    Notification { change, ..opened(id) }
}

/// The only message that is due, as pairs of id and change.
fn told(outbox: &mut Outbox, now: i64) -> Vec<(String, Change)> {
    let mut due = outbox.due(at(now));
    assert!(due.len() <= 1, "{due:?}");
    due.pop().map_or_else(Vec::new, |(_, message)| message.news.into_iter().map(|news| (news.incident, news.change)).collect())
}

#[test]
fn a_dead_endpoint_is_tried_after_growing_waits_and_told_once() {
    let mut outbox = outbox(&[("ops", wants(30))]);
    outbox.offer(opened("a"), at(0));
    let (mut now, mut waits) = (0, Vec::new());
    while now < 3600 {
        assert_eq!(told(&mut outbox, now), [("a".to_owned(), Change::Opened)]);
        assert_eq!(outbox.failed(&name("ops"), at(now)), 0);
        let next = outbox.next_due().unwrap().as_second() - at(0).as_second();
        assert_eq!(told(&mut outbox, next - 1), []);
        waits.push(next - now);
        now = next;
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 900, 900, 900]);
    assert_eq!(told(&mut outbox, now), [("a".to_owned(), Change::Opened)]);
    outbox.succeeded(&name("ops"), at(now));
    assert_eq!((outbox.next_due(), outbox.waiting(&name("ops"))), (None, 0));
    outbox.offer(opened("a"), at(now));
    assert_eq!(told(&mut outbox, now + 1), [], "the same incident, offered again after a start");
}

#[test]
fn a_dead_endpoint_holds_up_no_other() {
    let mut outbox = outbox(&[("dead", wants(30)), ("ops", wants(30))]);
    for second in 0..10 {
        outbox.offer(opened(&second.to_string()), at(second));
        for (channel, _) in outbox.due(at(second)) {
            match channel.as_str() {
                "dead" => drop(outbox.failed(&channel, at(second))),
                _ => outbox.succeeded(&channel, at(second)),
            }
        }
    }
    assert_eq!((outbox.waiting(&name("ops")), outbox.waiting(&name("dead"))), (0, 10));
}

#[test]
fn what_closes_before_it_could_be_told_is_not_told() {
    let mut outbox = outbox(&[("ops", wants(30))]);
    outbox.offer(opened("a"), at(0));
    outbox.offer(news("a", Change::Closed), at(1));
    assert_eq!(told(&mut outbox, 1), []);
    // The same while a message is under way that fails then.
    outbox.offer(opened("b"), at(2));
    assert_eq!(told(&mut outbox, 2), [("b".to_owned(), Change::Opened)]);
    outbox.offer(news("b", Change::Closed), at(3));
    outbox.failed(&name("ops"), at(4));
    assert_eq!(told(&mut outbox, 1000), []);
    // And if it does not fail, the end is told.
    outbox.offer(opened("c"), at(1000));
    assert_eq!(told(&mut outbox, 1000).len(), 1);
    outbox.offer(news("c", Change::Closed), at(1001));
    outbox.succeeded(&name("ops"), at(1002));
    assert_eq!(told(&mut outbox, 1002), [("c".to_owned(), Change::Closed)]);
    outbox.succeeded(&name("ops"), at(1003));
    outbox.offer(news("c", Change::Closed), at(1004));
    assert_eq!(told(&mut outbox, 1004), []);
}

#[test]
fn of_changes_that_wait_the_latest_is_told_and_of_an_unknown_incident_that_it_is_new() {
    let mut outbox = outbox(&[("ops", wants(30))]);
    outbox.offer(opened("a"), at(0));
    outbox.offer(Notification { detail: "now 500 of 950".into(), ..news("a", Change::Changed) }, at(1));
    let (_, message) = outbox.due(at(1)).pop().unwrap();
    assert_eq!((message.news[0].change, message.news[0].detail.as_str()), (Change::Opened, "now 500 of 950"));
    outbox.succeeded(&name("ops"), at(2));
    outbox.offer(news("a", Change::ToldAgain), at(86_400));
    assert_eq!(told(&mut outbox, 86_400), [("a".to_owned(), Change::ToldAgain)]);
}

#[test]
fn a_storm_is_one_message() {
    let mut outbox = outbox(&[("ops", wants(30))]);
    (0..100).for_each(|id| outbox.offer(opened(&format!("{id:03}")), at(0)));
    outbox.offer(Notification { severity: Severity::Warn, ..opened("0") }, at(0));
    let (_, message) = outbox.due(at(0)).pop().unwrap();
    assert_eq!((message.news.len(), message.listed().len(), message.more()), (101, 20, 81));
    assert_eq!(message.news[100].incident, "0", "what is most severe is listed first");
    outbox.succeeded(&name("ops"), at(1));
    assert_eq!(outbox.next_due(), None);
    // Its thread is over with the last of its incidents, and not before.
    for id in 0..100 {
        outbox.offer(news(&format!("{id:03}"), Change::Closed), at(100 * id));
        let (_, message) = outbox.due(at(10_000 * (id + 1))).pop().unwrap();
        assert!(message.over.is_empty(), "{:?}", message.over);
        outbox.succeeded(&name("ops"), at(10_000 * (id + 1)));
    }
    outbox.offer(news("0", Change::Closed), at(2_000_000));
    assert_eq!(outbox.due(at(2_000_000)).pop().unwrap().1.over, ["storm-000"]);
}

#[test]
fn few_that_wait_are_told_one_by_one_the_most_severe_first() {
    let mut outbox = outbox(&[("ops", wants(30))]);
    for (id, severity) in [("a", Severity::Warn), ("b", Severity::Critical), ("c", Severity::Critical)] {
        outbox.offer(Notification { severity, ..opened(id) }, at(0));
    }
    let mut order = Vec::new();
    while let Some((channel, message)) = outbox.due(at(1)).pop() {
        order.push(message.thread);
        outbox.succeeded(&channel, at(1));
    }
    assert_eq!(order, ["b", "c", "a"]);
}

#[test]
fn a_channel_hears_only_what_it_wants_and_all_of_it() {
    let critical = Wants { severity: Severity::Critical, ..wants(30) };
    let other = Wants { rules: vec!["late".into()], ..wants(30) };
    let mut outbox = outbox(&[("night", critical), ("other", other)]);
    let warn = |change| Notification { severity: Severity::Warn, ..news("a", change) };
    outbox.offer(warn(Change::Opened), at(0));
    assert_eq!(told(&mut outbox, 0), []);
    outbox.offer(news("a", Change::Changed), at(1));
    assert_eq!(told(&mut outbox, 1), [("a".to_owned(), Change::Opened)], "it became critical");
    outbox.succeeded(&name("night"), at(1));
    outbox.offer(warn(Change::Closed), at(2));
    assert_eq!(told(&mut outbox, 2), [("a".to_owned(), Change::Closed)]);
}

#[test]
fn an_hours_limit_delays_and_a_clock_that_steps_back_does_not_stop_it() {
    let mut outbox = outbox(&[("ops", wants(2))]);
    for id in 0..3 {
        outbox.offer(opened(&id.to_string()), at(0));
        if told(&mut outbox, id).len() == 1 {
            outbox.succeeded(&name("ops"), at(id));
        }
    }
    assert_eq!(outbox.next_due(), Some(at(3600)));
    assert_eq!(told(&mut outbox, 3599), []);
    // The clock is a day behind now.
    assert_eq!(told(&mut outbox, -86_400), []);
    assert_eq!(outbox.next_due(), Some(at(-86_400 + 3600)));
    assert_eq!(told(&mut outbox, -86_400 + 3600).len(), 1);
}

#[test]
fn news_is_given_up_after_a_day_and_memory_is_bounded() {
    let mut outbox = outbox(&[("ops", wants(30))]);
    outbox.offer(opened("a"), at(0));
    assert_eq!(told(&mut outbox, 0).len(), 1);
    outbox.offer(opened("b"), at(80_000));
    assert_eq!(outbox.failed(&name("ops"), at(86_400)), 1);
    assert_eq!(outbox.waiting(&name("ops")), 1);
    (0..5000).for_each(|id| outbox.offer(opened(&format!("{id:05}")), at(86_400)));
    assert_eq!(outbox.waiting(&name("ops")), 1000);
    let (_, message) = outbox.due(at(100_000)).pop().unwrap();
    assert_eq!((message.news.len(), message.more()), (1000, 1000 - 20 + 4001));
    outbox.failed(&name("ops"), at(100_001));
    assert_eq!(outbox.due(at(200_000)).pop().unwrap().1.left_out, 4001);
}

#[test]
fn a_channel_that_is_gone_is_forgotten_and_a_new_one_begins_empty() {
    let mut outbox = outbox(&[("ops", wants(30)), ("old", wants(30))]);
    outbox.offer(opened("a"), at(0));
    assert_eq!(outbox.due(at(0)).len(), 2);
    outbox.set_channels([(name("ops"), wants(30)), (name("new"), wants(30))].into());
    outbox.succeeded(&name("old"), at(1));
    assert_eq!((outbox.waiting(&name("old")), outbox.waiting(&name("new")), outbox.waiting(&name("ops"))), (0, 0, 1));
}

#[test]
fn a_saved_outbox_knows_its_version_and_what_was_under_way() {
    let mut outbox = outbox(&[("ops", wants(30))]);
    outbox.offer(opened("a"), at(0));
    assert_eq!(told(&mut outbox, 0).len(), 1);
    let bytes = outbox.to_bytes();
    let mut again = Outbox::from_bytes(&bytes).unwrap();
    again.set_channels([(name("ops"), wants(30))].into());
    assert_eq!(told(&mut again, 0), [("a".to_owned(), Change::Opened)]);
    let newer = String::from_utf8(bytes).unwrap().replacen("\"v\":1", "\"v\":2", 1);
    assert!(matches!(Outbox::from_bytes(newer.as_bytes()), Err(Unreadable::Version(v)) if v == "2"));
    assert!(matches!(Outbox::from_bytes(b"{\"v\":1,\"la"), Err(Unreadable::Damaged(_))));
}
