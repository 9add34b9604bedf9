//! What waits for one channel.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU32,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Change, Message, Notification, Severity};

/// What waits for one channel, and what it has heard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Lane {
    /// At most one for each incident, the oldest first.
    waiting: Vec<Waiting>,
    /// The open incidents that the channel has heard of, each with its thread.
    told: BTreeMap<String, String>,
    /// When messages arrived, during the last hour.
    arrived: VecDeque<Timestamp>,
    /// How many incidents found no room.
    left_out: usize,
    #[serde(skip)]
    flight: Option<Flight>,
    #[serde(skip)]
    failures: u32,
    #[serde(skip)]
    next_try: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    news: Notification,
    heard: Timestamp,
}

/// The message that is under way.
#[derive(Debug, Clone)]
struct Flight {
    carried: Vec<Waiting>,
    thread: String,
    left_out: usize,
}

impl Lane {
    pub(super) fn offer(&mut self, news: &Notification, wanted: bool, now: Timestamp) {
        self.mind_the_clock(now);
        let id = &news.incident;
        // A message that is under way may be heard.
        let known = self.told.contains_key(id) || self.flight.iter().flat_map(|f| &f.carried).any(|w| w.news.incident == *id);
        let place = self.waiting.iter().position(|w| w.news.incident == *id);
        let waits_closed = place.is_some_and(|place| self.waiting[place].news.change == Change::Closed);
        let change = match (news.change, known) {
            // Nobody has heard of it, so nobody needs to hear that it is over.
            (Change::Closed, false) => return drop(place.map(|place| self.waiting.remove(place))),
            // It is offered again.
            (Change::Opened, true) if place.is_none() => return,
            (Change::Opened, true) if waits_closed => Change::Changed,
            (Change::Opened, true) => self.waiting[place.expect("it waits")].news.change,
            (change, true) => change,
            (_, false) => Change::Opened,
        };
        let waiting = Waiting { news: Notification { change, ..news.clone() }, heard: now };
        match place {
            Some(place) => self.waiting[place] = waiting,
            None if known || wanted => self.wait(waiting),
            None => {}
        }
    }

    fn wait(&mut self, waiting: Waiting) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.remove(0);
            self.left_out = self.left_out.saturating_add(1);
        }
        self.waiting.push(waiting);
    }

    pub(super) fn due(&mut self, per_hour: NonZeroU32, now: Timestamp) -> Option<Message> {
        self.mind_the_clock(now);
        self.next_due(per_hour).filter(|due| *due <= now)?;
        let carried = if self.waiting.len() > STORM {
            let mut all = std::mem::take(&mut self.waiting);
            all.sort_by_key(|w| std::cmp::Reverse(urgency(w)));
            all
        } else {
            // Of equally urgent ones the oldest.
            let first = (0..self.waiting.len()).max_by_key(|place| (urgency(&self.waiting[*place]), std::cmp::Reverse(*place)))?;
            vec![self.waiting.remove(first)]
        };
        let flight = Flight { thread: self.thread(&carried), carried, left_out: std::mem::take(&mut self.left_out) };
        let message = Message {
            news: flight.carried.iter().map(|w| w.news.clone()).collect(),
            thread: flight.thread.clone(),
            over: self.over(&flight),
            left_out: flight.left_out,
        };
        self.flight = Some(flight);
        Some(message)
    }

    /// The thread that a message with this news belongs to.
    fn thread(&self, carried: &[Waiting]) -> String {
        match carried {
            [one] => self.told.get(&one.news.incident).unwrap_or(&one.news.incident).clone(),
            all => format!("storm-{}", all.first().map_or("", |w| &w.news.incident)),
        }
    }

    /// The threads that have no incident any more once this message is heard.
    fn over(&self, flight: &Flight) -> Vec<String> {
        let after = told_after(&self.told, flight);
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (self.told.values().collect(), after.values().collect());
        before.difference(&after).map(ToString::to_string).collect()
    }

    pub(super) fn next_due(&self, per_hour: NonZeroU32) -> Option<Timestamp> {
        if self.flight.is_some() || self.waiting.is_empty() {
            return None;
        }
        let limit = usize::try_from(per_hour.get()).unwrap_or(usize::MAX);
        let full = self.arrived.len().checked_sub(limit).and_then(|place| self.arrived.get(place));
        let free = full.map_or(Timestamp::MIN, |at| after(*at, HOUR));
        Some(free.max(self.next_try.unwrap_or(Timestamp::MIN)))
    }

    pub(super) fn succeeded(&mut self, now: Timestamp) {
        let Some(flight) = self.flight.take() else { return };
        self.told = told_after(&self.told, &flight);
        while self.told.len() > TOLD_MAX {
            self.told.pop_first();
        }
        let told = &self.told;
        self.waiting.retain_mut(|waiting| suits(waiting, told));
        self.arrived.push_back(now);
        (self.failures, self.next_try) = (0, None);
        self.mind_the_clock(now);
    }

    pub(super) fn failed(&mut self, now: Timestamp) -> usize {
        let Some(flight) = self.flight.take() else { return 0 };
        self.land(flight);
        self.failures = self.failures.saturating_add(1);
        let wait = FIRST_WAIT.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST_WAIT);
        self.next_try = Some(after(now, wait));
        let before = self.waiting.len();
        self.waiting.retain(|w| now.duration_since(w.heard) < GIVEN_UP_AFTER);
        before - self.waiting.len()
    }

    /// What was under way waits again, unless there is later news.
    fn land(&mut self, flight: Flight) {
        let told = &self.told;
        let later: BTreeSet<String> = self.waiting.iter().map(|w| w.news.incident.clone()).collect();
        self.waiting.retain_mut(|waiting| suits(waiting, told));
        let mut again: Vec<_> = flight.carried.into_iter().filter(|w| !later.contains(&w.news.incident)).collect();
        again.append(&mut self.waiting);
        let too_many = again.len().saturating_sub(WAITING_MAX);
        again.drain(..too_many);
        self.waiting = again;
        self.left_out = self.left_out.saturating_add(flight.left_out).saturating_add(too_many);
    }

    /// The same lane as if nothing were under way.
    pub(super) fn landed(&self) -> Self {
        let mut lane = self.clone();
        if let Some(flight) = lane.flight.take() {
            lane.land(flight);
        }
        lane
    }

    pub(super) fn waiting(&self) -> usize {
        self.landed().waiting.len()
    }

    /// After a step back of the clock nothing waits for a time that is far away.
    fn mind_the_clock(&mut self, now: Timestamp) {
        self.arrived.iter_mut().for_each(|at| *at = (*at).min(now));
        self.waiting.iter_mut().for_each(|w| w.heard = w.heard.min(now));
        self.next_try = self.next_try.map(|at| at.min(after(now, LONGEST_WAIT)));
        while self.arrived.front().is_some_and(|at| after(*at, HOUR) <= now) {
            self.arrived.pop_front();
        }
    }
}

/// The open incidents that the channel has heard of once it has this message.
fn told_after(told: &BTreeMap<String, String>, flight: &Flight) -> BTreeMap<String, String> {
    let mut told = told.clone();
    for Waiting { news, .. } in &flight.carried {
        match news.change {
            Change::Closed => drop(told.remove(&news.incident)),
            _ => drop(told.insert(news.incident.clone(), flight.thread.clone())),
        }
    }
    told
}

/// Makes news suit what the channel has heard. False: it is none.
fn suits(waiting: &mut Waiting, told: &BTreeMap<String, String>) -> bool {
    let known = told.contains_key(&waiting.news.incident);
    if !known && waiting.news.change == Change::Closed {
        return false;
    }
    if !known {
        waiting.news.change = Change::Opened;
    }
    true
}

fn urgency(waiting: &Waiting) -> Option<Severity> {
    (waiting.news.change != Change::Closed).then_some(waiting.news.severity)
}

fn after(at: Timestamp, wait: SignedDuration) -> Timestamp {
    at.saturating_add(wait).expect("a time saturates when only seconds are added")
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// The wait after the first failure. It doubles with each further one, up to the longest.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(15);
/// News as old as this is told to nobody. An incident that is still open is told again then, so that it is not forgotten.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// More incidents than these that wait become one message.
const STORM: usize = 5;
/// The most incidents that wait for a channel: about a megabyte.
const WAITING_MAX: usize = 1000;
/// The most open incidents of which it is known that a channel has heard. Beyond that the oldest (by id) would be told as new again.
const TOLD_MAX: usize = 5000;
