//! A scenario played through the governor, before the first message is sent: a table of days.
//!
//! The governor is the real one. Around it stands what the dispatcher does with mail, and no more of it than budgets notice: sources take turns by
//! weight or by warmth, mail that finds no budget waits at a gate for its lane, its pool, or the pool that its curve names, and goes on in the
//! order in which it was accepted. Receivers answer at once, connections are never short, and what was put off comes back by the retry schedule.

mod gates;
mod pool;
mod rows;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use posthaste_governor::{Admission, Governor, Hold, LaneId, Order, Outcome, Overflow, Permit, Priority, Selection, Shaper};
use posthaste_mail::Name;
use posthaste_queue::{Policy, Retry};

pub use self::rows::{DayRow, LaneDay, Simulation};
use self::{
    gates::{GateKey, Gates},
    pool::Lanes,
    rows::Tally,
};
use super::scenario::{Incoming, Receivers, Scenario};

/// Plays a scenario with the sources, curves and retries of one of the streams.
///
/// The relay is taken to be new: every lane begins where the policy says that lanes without a past begin.
pub fn simulate(policy: &Policy, stream: &Name, scenario: &Scenario) -> Simulation {
    let mut world = World::new(policy, stream, scenario);
    for incoming in scenario.incoming() {
        world.run_to(incoming.at);
        world.arrives(&incoming);
    }
    world.run_to(scenario.starts(scenario.days()));
    world.finish()
}

/// One recipient on its way.
#[derive(Clone, Copy, Debug)]
struct Mail {
    /// In the order of acceptance.
    seq: u64,
    arrived: Timestamp,
    provider: usize,
    attempts: u32,
    /// It was told to wait for budget already.
    waited: bool,
    /// The source whose turn it was, if it came so far.
    turn: Option<usize>,
}

/// Something that happens at a time.
enum Due {
    /// A gate may open.
    Gate(GateKey),
    /// The stream may send more.
    Stream,
    /// It is tried again.
    Retry(Mail),
}

struct World<'s> {
    scenario: &'s Scenario,
    governor: Governor,
    lanes: Lanes<'s>,
    receivers: Receivers,
    providers: Vec<Arc<str>>,
    order: Order,
    priority: Priority,
    retry: Retry,
    expire: SignedDuration,
    gates: Gates,
    /// The stream's own limits, and what waits for them.
    rate: Shaper,
    behind: std::collections::VecDeque<Mail>,
    due: BTreeMap<(Timestamp, u64), Due>,
    numbers: u64,
    now: Timestamp,
    /// The day that it is, and when it ends.
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
            lanes: Lanes::new(policy, &stream.pool),
            receivers: scenario.receivers(),
            providers: scenario.mix.iter().map(|(provider, _)| provider.clone()).collect(),
            order: stream.order,
            priority: stream.priority,
            expire: signed(stream.retry.expire),
            retry: stream.retry.clone(),
            gates: Gates::default(),
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

    /// Everything that happens before `time`, and then it is `time`.
    fn run_to(&mut self, time: Timestamp) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= time) {
            let at = entry.key().0;
            let due = entry.remove();
            self.turn_to(at);
            match due {
                Due::Gate(key) => self.open(key),
                Due::Stream => self.let_through(),
                Due::Retry(mail) => self.through_the_rate(mail),
            }
        }
        self.turn_to(time);
    }

    /// It is `time`; days that are over by then are written down.
    fn turn_to(&mut self, time: Timestamp) {
        while self.ends <= time && self.day < self.scenario.days() {
            self.now = self.ends;
            self.close_day();
        }
        self.now = time;
    }

    fn close_day(&mut self) {
        let expired = self.gates.expire(self.now, self.expire);
        self.tally.expired += expired;
        let tally = std::mem::take(&mut self.tally);
        let held = self.gates.len() + self.behind.len() as u64;
        let date = self.scenario.date(self.day);
        self.rows.push(tally.row(self.day, date, held, self.lanes.days(&self.governor, date)));
        self.governor.close_day(self.now);
        // Nobody keeps these here.
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

    /// Which source's turn it is, and what happens when that one may not send.
    fn choose(&mut self, mut mail: Mail) {
        mail.turn = None;
        let pool = GateKey::pool(mail.provider);
        if self.gates.is_waited_at(&pool) {
            return self.wait(pool, mail, self.now);
        }
        let source = self.first_source(mail.provider);
        mail.turn = Some(source);
        let own = GateKey::lane(source, mail.provider);
        if self.gates.is_waited_at(&own) {
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
        let choices = self.choices(&GateKey::pool(provider));
        let ranked = self.governor.rank(&choices, self.order, self.now);
        let may = |lane: &&LaneId| self.governor.blocked(**lane, self.priority, self.now).is_none();
        let lane = ranked.iter().find(may).or(ranked.first()).expect("a pool has sources");
        self.lanes.source_of(*lane)
    }

    fn overflow(&mut self, mail: Mail, source: usize, lane: LaneId, at: Timestamp, hold: &Hold) {
        let overflow = match hold {
            // What a provider does to a lane is its pool's matter, and no budget's.
            Hold::Paused { .. } | Hold::Stopped { .. } | Hold::Slowed { .. } | Hold::Shaped(_) if self.lanes.relieves() => Overflow::Spill,
            Hold::Paused { .. } | Hold::Stopped { .. } | Hold::Slowed { .. } | Hold::Shaped(_) => Overflow::Defer,
            _ => self.governor.lane(lane).plan().overflow.clone(),
        };
        let gate = match overflow {
            Overflow::Defer => GateKey::lane(source, mail.provider),
            Overflow::Spill => GateKey::pool(mail.provider),
            Overflow::Pool(other) => match self.lanes.pool(&other) {
                Some(pool) => GateKey::either(source, pool, mail.provider),
                None => GateKey::lane(source, mail.provider),
            },
        };
        if !self.gates.is_waited_at(&gate) {
            let choices: Vec<_> = self.choices(&gate).into_iter().filter(|choice| choice.lane != lane).collect();
            if let Selection::Go(permit) = self.governor.admit_any(&choices, Order::WarmFirst, 1, self.priority, self.now) {
                return self.attempt(mail, permit);
            }
        }
        self.wait(gate, mail, at);
    }

    /// Lets a recipient wait; the first one says when to look again.
    fn wait(&mut self, gate: GateKey, mail: Mail, at: Timestamp) {
        let mail = self.waits(mail);
        if self.gates.join(gate, mail) {
            self.schedule(at, Due::Gate(gate));
        }
    }

    fn waits(&mut self, mail: Mail) -> Mail {
        self.tally.deferred += u64::from(!mail.waited);
        Mail { waited: true, ..mail }
    }

    fn open(&mut self, gate: GateKey) {
        let choices = self.choices(&gate);
        self.tally.expired += self.gates.expire_first(gate, self.now, self.expire);
        while let Some(mail) = self.gates.first(gate) {
            match self.governor.admit_any(&choices, Order::WarmFirst, 1, self.priority, self.now) {
                Selection::Go(permit) => {
                    self.gates.take_first(gate);
                    self.attempt(mail, permit);
                }
                Selection::NotBefore { at, .. } => {
                    let soonest = later(self.now, Duration::from_nanos(1));
                    return self.schedule(at.max(soonest), Due::Gate(gate));
                }
                Selection::NoLane => unreachable!("a gate has lanes"),
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

    fn choices(&mut self, gate: &GateKey) -> Vec<posthaste_governor::Choice> {
        let members = self.lanes.members(gate);
        members
            .into_iter()
            .map(|(source, weight)| posthaste_governor::Choice { lane: self.lane(source, gate.provider()), weight })
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
