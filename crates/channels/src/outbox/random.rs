//! Random offers, failures and restarts, against what may be heard.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::notification::tests::opened;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// The incident with this number goes on: it opens, changes, closes, opens under a new id.
    Offer(usize, bool),
    /// Offer all open incidents again, as after a start.
    OfferAgain,
    Pass(i64),
    /// The message that is under way arrives, or does not.
    Answer(bool),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..12_usize, any::<bool>()).prop_map(|(number, close)| Step::Offer(number, close)),
        1 => Just(Step::OfferAgain),
        4 => (0..1200_i64).prop_map(Step::Pass),
        5 => any::<bool>().prop_map(Step::Answer),
        1 => Just(Step::Restart),
    ];
    // Together less than the day after which news is given up.
    proptest::collection::vec(step, 0..70)
}

struct World {
    outbox: Outbox,
    per_hour: NonZeroU32,
    now: Timestamp,
    under_way: Option<Message>,
    /// The generation of each incident that is open.
    open: BTreeMap<usize, u32>,
    generations: BTreeMap<usize, u32>,
    /// What the endpoint heard.
    heard: Vec<(Timestamp, Message)>,
}

impl World {
    fn new(per_hour: NonZeroU32) -> Self {
        let now = "2026-11-29T12:00:00Z".parse().unwrap();
        let (under_way, open, generations, heard) = (None, BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut world = Self { outbox: Outbox::default(), per_hour, now, under_way, open, generations, heard };
        world.set_channels();
        world
    }

    fn set_channels(&mut self) {
        let wants = Wants { rules: Vec::new(), severity: Severity::Warn, per_hour: self.per_hour };
        self.outbox.set_channels([(channel(), wants)].into());
    }

    fn offer(&mut self, number: usize, change: Change) {
        let id = format!("{number}-{}", self.generations[&number]);
        self.outbox.offer(Notification { change, at: self.now, ..opened(&id) }, self.now);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Offer(number, close) if self.open.contains_key(&number) => {
                self.offer(number, if close { Change::Closed } else { Change::Changed });
                if close {
                    self.open.remove(&number);
                }
            }
            Step::Offer(number, _) => {
                let generation = self.generations.entry(number).and_modify(|g| *g += 1).or_insert(0);
                self.open.insert(number, *generation);
                self.offer(number, Change::Opened);
            }
            Step::OfferAgain => self.open.clone().into_keys().for_each(|number| self.offer(number, Change::Opened)),
            Step::Pass(seconds) => self.now += SignedDuration::from_secs(seconds),
            Step::Answer(arrives) => self.answer(arrives),
            Step::Restart => {
                self.outbox = Outbox::from_bytes(&self.outbox.to_bytes()).unwrap();
                self.under_way = None;
                self.set_channels();
            }
        }
        self.send();
    }

    fn answer(&mut self, arrives: bool) {
        match self.under_way.take() {
            Some(message) if arrives => {
                self.outbox.succeeded(&channel(), self.now);
                self.heard.push((self.now, message));
            }
            Some(_) => assert_eq!(self.outbox.failed(&channel(), self.now), 0),
            None => {}
        }
    }

    fn send(&mut self) {
        for (_, message) in self.outbox.due(self.now) {
            assert!(self.under_way.is_none(), "two messages are under way");
            self.under_way = Some(message);
        }
    }

    /// The endpoint works from now on.
    fn recover(&mut self) {
        for _ in 0..1000 {
            self.answer(true);
            self.send();
            match self.outbox.next_due() {
                Some(due) => self.now = self.now.max(due),
                None if self.under_way.is_none() => return,
                None => {}
            }
            self.send();
        }
        panic!("it never ends");
    }
}

fn channel() -> Name {
    Name::new("ops").unwrap()
}

proptest! {
    #[test]
    fn each_open_incident_is_heard_once_and_no_hour_has_too_many(steps in steps(), per_hour in 1..5_u32) {
        let mut world = World::new(NonZeroU32::new(per_hour).unwrap());
        steps.into_iter().for_each(|step| world.step(step));
        world.recover();
        let mut known: BTreeMap<String, bool> = BTreeMap::new();
        for news in world.heard.iter().flat_map(|(_, message)| &message.news) {
            match (news.change, known.get(&news.incident)) {
                (Change::Opened, None) => drop(known.insert(news.incident.clone(), true)),
                (Change::Changed, Some(true)) => {}
                (Change::Closed, Some(true)) => drop(known.insert(news.incident.clone(), false)),
                (change, before) => prop_assert!(false, "{change:?} of {}, which was {before:?}", news.incident),
            }
        }
        let heard: Vec<&String> = known.iter().filter(|(_, open)| **open).map(|(id, _)| id).collect();
        let mut open: Vec<String> = world.open.iter().map(|(number, generation)| format!("{number}-{generation}")).collect();
        open.sort();
        prop_assert_eq!(heard, open.iter().collect::<Vec<_>>(), "all that is open was heard, and the end of all that was heard and is over");
        let per_hour = usize::try_from(per_hour).unwrap();
        for window in world.heard.windows(per_hour + 1) {
            prop_assert!(window[per_hour].0.duration_since(window[0].0) >= SignedDuration::from_hours(1));
        }
        // Whoever keeps threads (PagerDuty) ends with exactly those of open incidents.
        let mut threads: std::collections::BTreeSet<String> = Default::default();
        for (_, message) in &world.heard {
            threads.retain(|thread| !message.over.contains(thread));
            if !message.is_all_over() {
                threads.insert(message.thread.clone());
            }
        }
        prop_assert_eq!(threads.is_empty(), open.is_empty());
    }
}
