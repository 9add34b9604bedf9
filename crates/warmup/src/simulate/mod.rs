//! The simulation of a warm-up before the first message is sent: a scenario goes in, a table of days comes out.
//!
//! It uses the real governor. Of the dispatcher's work only the part that affects budgets is repeated here: sources take turns by weight or
//! by warmth; mail without budget waits on a list for its lane, its pool, or the pool that its curve names, and goes in the order of
//! acceptance. Receivers answer at once, connections are never short, and deferred mail is retried by the schedule.
//!
//! A recipient costs about half a microsecond here, and several times as much in the dispatcher, which also forecasts each message's wait.

mod pool;
mod rows;
mod waitlists;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Admission, Governor, Hold, LaneId, Order, Outcome, Overflow, Permit, Priority, Selection, Shaper};
use posthaste_mail::Name;
use posthaste_queue::{Policy, Retry};

pub use self::rows::{DayRow, LaneDay, Simulation};
use self::{
    pool::SimulatedLanes,
    rows::Tally,
    waitlists::{Mail, WaitListKey, WaitLists},
};
use super::scenario::{Incoming, Receivers, Scenario};

/// Simulates a scenario with the sources, curves and retries of a stream.
///
/// The relay is assumed to be new: every lane starts on the stage for lanes without a history.
pub fn simulate(policy: &Policy, stream: &Name, scenario: &Scenario) -> Simulation {
    let mut world = World::new(policy, stream, scenario);
    for incoming in scenario.incoming() {
        world.run_to(incoming.at);
        world.arrives(&incoming);
    }
    world.run_to(scenario.starts(scenario.days()));
    world.finish()
}

/// Something that is due.
enum Due {
    /// A wait list may let mail through.
    List(WaitListKey),
    /// The stream may send more.
    Stream,
    /// A recipient is tried again.
    Retry(Mail),
}

struct World<'s> {
    scenario: &'s Scenario,
    governor: Governor,
    lanes: SimulatedLanes<'s>,
    receivers: Receivers,
    providers: Vec<Arc<str>>,
    order: Order,
    priority: Priority,
    retry: Retry,
    expire: SignedDuration,
    lists: WaitLists,
    /// The stream's own rate, and the mail that waits for it.
    rate: Shaper,
    behind: std::collections::VecDeque<Mail>,
    due: BTreeMap<(Timestamp, u64), Due>,
    numbers: u64,
    now: Timestamp,
    /// The current day, and when it ends.
    day: usize,
    ends: Timestamp,
    tally: Tally,
    rows: Vec<DayRow>,
}

impl<'s> World<'s> {
    fn new(policy: &'s Policy, stream: &Name, scenario: &'s Scenario) -> Self {
        let stream = policy.stream(stream);
        let start = scenario.starts(0);
        Self {
            scenario,
            governor: Governor::new(),
            lanes: SimulatedLanes::new(policy, &stream.pool),
            receivers: scenario.receivers(),
            providers: scenario.mix.iter().map(|(provider, _)| provider.clone()).collect(),
            order: stream.order,
            priority: stream.priority,
            expire: signed(stream.retry.expire),
            retry: stream.retry.clone(),
            lists: WaitLists::default(),
            rate: Shaper::new(stream.shape, start),
            behind: Default::default(),
            due: BTreeMap::new(),
            numbers: 0,
            now: start,
            day: 0,
            ends: scenario.starts(1),
            tally: Tally::default(),
            rows: Vec::new(),
        }
    }

    fn arrives(&mut self, incoming: &Incoming) {
        self.tally.arrived += 1;
        let seq = self.number();
        self.through_the_rate(Mail { seq, arrived: incoming.at, provider: incoming.provider, attempts: 0, waited: false, turn: None });
    }

    /// Does everything that is due by `time`, and sets the clock to `time`.
    fn run_to(&mut self, time: Timestamp) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= time) {
            let at = entry.key().0;
            let due = entry.remove();
            self.turn_to(at);
            match due {
                Due::List(key) => self.open(key),
                Due::Stream => self.let_through(),
                Due::Retry(mail) => self.through_the_rate(mail),
            }
        }
        self.turn_to(time);
    }

    /// Sets the clock to `time`, and adds the rows of days that are over by then.
    fn turn_to(&mut self, time: Timestamp) {
        while self.ends <= time && self.day < self.scenario.days() {
            self.now = self.ends;
            self.close_day();
        }
        self.now = time;
    }

    fn close_day(&mut self) {
        let expired = self.lists.expire(self.now, self.expire);
        self.tally.expired += expired;
        let tally = std::mem::take(&mut self.tally);
        let held = self.lists.len() + self.behind.len() as u64;
        let date = self.scenario.date(self.day);
        self.rows.push(tally.row(self.day, date, held, self.lanes.days(&self.governor, date)));
        self.governor.close_day(self.now);
        // Nothing is written to disk or to a log here.
        self.governor.take_batch();
        self.governor.take_changes();
        self.day += 1;
        self.ends = self.scenario.starts(self.day + 1);
    }

    fn finish(self) -> Simulation {
        Simulation { days: self.rows }
    }

    fn through_the_rate(&mut self, mail: Mail) {
        if self.behind.is_empty() && self.rate.take(std::num::NonZeroU32::MIN, self.now).is_ok() {
            return self.choose(mail);
        }
        if self.behind.is_empty() {
            self.schedule(self.rate.next(self.now), Due::Stream);
        }
        let mail = self.waits(mail);
        self.behind.push_back(mail);
    }

    fn let_through(&mut self) {
        while let Some(mail) = self.behind.front().copied() {
            if let Err(at) = self.rate.take(std::num::NonZeroU32::MIN, self.now) {
                return self.schedule(at, Due::Stream);
            }
            self.behind.pop_front();
            self.choose(mail);
        }
    }

    /// Tries the source whose turn it is, and the others if that one may not send.
    fn choose(&mut self, mut mail: Mail) {
        mail.turn = None;
        let pool = WaitListKey::pool(mail.provider);
        if self.lists.is_waited_at(&pool) {
            return self.wait(pool, mail, self.now);
        }
        let source = self.first_source(mail.provider);
        mail.turn = Some(source);
        let own = WaitListKey::lane(source, mail.provider);
        if self.lists.is_waited_at(&own) {
            return self.wait(own, mail, self.now);
        }
        let lane = self.lane(source, mail.provider);
        match self.governor.admit_as(lane, 1, self.priority, self.now) {
            Admission::Go(permit) => self.attempt(mail, permit),
            Admission::NotBefore(at, hold) => self.overflow(mail, source, lane, at, &hold),
        }
    }

    fn first_source(&mut self, provider: usize) -> usize {
        if self.order == Order::Weight {
            return self.lanes.next_by_weight(provider);
        }
        let choices = self.choices(&WaitListKey::pool(provider));
        let ranked = self.governor.rank(&choices, self.order, self.now);
        let may = |lane: &&LaneId| self.governor.blocked(**lane, self.priority, self.now).is_none();
        let lane = ranked.iter().find(may).or(ranked.first()).expect("a pool has sources");
        self.lanes.source_of(*lane)
    }

    fn overflow(&mut self, mail: Mail, source: usize, lane: LaneId, at: Timestamp, hold: &Hold) {
        let overflow = match hold {
            // The pool decides if the provider pushed back, the lane's curve if its own budget holds it.
            Hold::Paused { .. } | Hold::Stopped { .. } | Hold::Slowed { .. } | Hold::Shaped(_) if self.lanes.relieves() => Overflow::Spill,
            Hold::Paused { .. } | Hold::Stopped { .. } | Hold::Slowed { .. } | Hold::Shaped(_) => Overflow::Defer,
            _ => self.governor.lane(lane).plan().overflow.clone(),
        };
        let list = match overflow {
            Overflow::Defer => WaitListKey::lane(source, mail.provider),
            Overflow::Spill => WaitListKey::pool(mail.provider),
            Overflow::Pool(other) => match self.lanes.pool(&other) {
                Some(pool) => WaitListKey::either(source, pool, mail.provider),
                None => WaitListKey::lane(source, mail.provider),
            },
        };
        if !self.lists.is_waited_at(&list) {
            let choices: Vec<_> = self.choices(&list).into_iter().filter(|choice| choice.lane != lane).collect();
            if let Selection::Go(permit) = self.governor.admit_any(&choices, Order::WarmFirst, 1, self.priority, self.now) {
                return self.attempt(mail, permit);
            }
        }
        self.wait(list, mail, at);
    }

    /// Puts a recipient on a wait list. If it is the first there, the list is looked at again at `at`.
    fn wait(&mut self, list: WaitListKey, mail: Mail, at: Timestamp) {
        let mail = self.waits(mail);
        if self.lists.join(list, mail) {
            self.schedule(at, Due::List(list));
        }
    }

    fn waits(&mut self, mail: Mail) -> Mail {
        self.tally.deferred += u64::from(!mail.waited);
        Mail { waited: true, ..mail }
    }

    fn open(&mut self, list: WaitListKey) {
        let choices = self.choices(&list);
        self.tally.expired += self.lists.expire_first(list, self.now, self.expire);
        while let Some(mail) = self.lists.first(list) {
            match self.governor.admit_any(&choices, Order::WarmFirst, 1, self.priority, self.now) {
                Selection::Go(permit) => {
                    self.lists.take_first(list);
                    self.attempt(mail, permit);
                }
                Selection::NotBefore { at, .. } => {
                    let soonest = later(self.now, Duration::from_nanos(1));
                    return self.schedule(at.max(soonest), Due::List(list));
                }
                Selection::NoLane => unreachable!("a wait list has lanes"),
            }
        }
    }

    fn attempt(&mut self, mut mail: Mail, permit: Permit) {
        let source = self.governor.lane(permit.lane()).key().source.clone();
        let by = self.lanes.source_of(permit.lane());
        let outcome = self.receivers.answer(&source, &self.providers[mail.provider], self.day);
        self.governor.settle(permit, outcome, self.now);
        self.tally.spilled += u64::from(mail.turn.is_some_and(|turn| turn != by));
        mail.attempts += 1;
        match outcome {
            Outcome::Accepted => self.tally.sent(self.now.duration_since(mail.arrived)),
            Outcome::Throttled | Outcome::Deferred => self.again(mail),
            _ => self.tally.bounced += 1,
        }
    }

    fn again(&mut self, mail: Mail) {
        self.tally.put_off += 1;
        let expires = mail.arrived.saturating_add(self.expire).unwrap_or(Timestamp::MAX);
        if self.now >= expires {
            self.tally.expired += 1;
            return;
        }
        let next = later(self.now, self.retry.wait(mail.attempts, mail.seq)).min(expires);
        self.schedule(next, Due::Retry(mail));
    }

    fn choices(&mut self, list: &WaitListKey) -> Vec<posthaste_governor::Choice> {
        let members = self.lanes.members(list);
        members
            .into_iter()
            .map(|(source, weight)| posthaste_governor::Choice { lane: self.lane(source, list.provider()), weight })
            .collect()
    }

    fn lane(&mut self, source: usize, provider: usize) -> LaneId {
        self.lanes.open(&mut self.governor, source, provider, &self.providers[provider], self.now)
    }

    fn schedule(&mut self, at: Timestamp, due: Due) {
        let number = self.number();
        self.due.insert((at, number), due);
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

fn signed(time: Duration) -> SignedDuration {
    SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(signed(by)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
