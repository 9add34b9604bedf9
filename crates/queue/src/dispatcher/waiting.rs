//! Mail that waits for budget: how it gets into the wait lists, and out of them when its time has come.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_governor::LaneId;

use super::Dispatcher;
use crate::{
    Site,
    backlog::{
        Apart,
        domains::Route,
        table::{RecipientGroup, StreamIx},
    },
    budget::{
        Head, Release,
        block::{Block, LOOK_AGAIN},
        waitlist::{LoggedWait, Overdue, PASSED_MAX, Position, WaitListIx, WaitListKey},
    },
    connections::lanes::Ready,
    exchange::Action,
    times::after,
    verdicts::out_of_budget,
};

/// The group that goes first in a list, and its site.
struct First {
    position: Position,
    n: usize,
    stream: StreamIx,
    site: Arc<Site>,
    /// The lane whose turn it was to send it.
    turn: Option<LaneId>,
}

impl Dispatcher {
    /// Puts a group on a wait list and logs until when it waits. Recipients at different domains wait in groups of their own, because their
    /// routes may change.
    pub(super) fn wait(&mut self, key: &WaitListKey, block: Option<Block>, group: &RecipientGroup) {
        let Some(apart) = self.backlog.apart(group, &self.policy) else { return };
        let view = view!(self);
        let told = self.budget.wait(key, block, apart, view);
        self.tell(told);
    }

    /// Lets mail through from the wait lists whose time has come, and ends what has expired.
    pub(super) fn open_wait_lists(&mut self) {
        while let Some(list) = self.budget.lists_mut().take_open(self.now) {
            let next = self.let_through(list);
            let view = view!(self);
            let told = self.budget.wait_until(list, next, view);
            self.tell(told);
        }
        while let Some(overdue) = self.budget.lists_mut().take_overdue(self.now) {
            overdue.into_iter().for_each(|overdue| self.last_chance(overdue));
        }
    }

    /// A group that waits has its last chance: it is tried unless a cap forbids that, or an operator. That the provider pushed back does not, because
    /// the sender is better served by a fresh answer than by none.
    fn last_chance(&mut self, Overdue { key, block, domain, group }: Overdue) {
        let Some((stream, _)) = self.backlog.waiting(&group) else { return };
        let (party, priority) = (self.backlog.streams().party(stream), self.view().stream_policy(stream).priority);
        let view = view!(self);
        if !self.budget.is_pushed_back_at(&key, priority, view) {
            return self.no_chance(&key, block, &group);
        }
        match self.backlog.place(domain, group, party, self.now) {
            (Route::To(site), Some(group)) => self.try_last(&key, block, &site, group),
            (Route::Nowhere(why, since), Some(group)) => self.nowhere(domain, &why, since, group),
            // It comes back here once DNS has answered.
            (Route::Unknown(Some(name)), _) => self.actions.push(Action::Resolve(domain, name, party)),
            _ => {}
        }
    }

    /// Sends a group by the lanes of its list for the last time, as far as they have budget.
    fn try_last(&mut self, key: &WaitListKey, block: Block, site: &Arc<Site>, mut group: RecipientGroup) {
        while let Some((stream, n)) = self.backlog.waiting(&group) {
            let view = view!(self);
            let priority = view.stream_policy(stream).priority;
            let Some(permit) = self.budget.admit_last(key, n, priority, view) else { return self.no_chance(key, block, &group) };
            let Some((first, rest)) = self.backlog.split(&group, permit.count() as usize) else { return };
            self.send_by(permit.lane(), site, Ready { group: first, permit: Some(permit), spilled: false });
            match rest {
                Some(rest) => group = rest,
                None => return,
            }
        }
    }

    /// A group may not be tried for the last time: it is given up when it expires.
    fn no_chance(&mut self, key: &WaitListKey, block: Block, group: &RecipientGroup) {
        let Some(expires) = self.backlog.expiry(group, &self.policy) else { return };
        if self.now.as_millisecond() < expires {
            let Some(apart) = self.backlog.apart(group, &self.policy) else { return };
            let view = view!(self);
            let told = self.budget.wait(key, Some(block), Apart { until: expires, ..apart }, view);
            return self.tell(told);
        }
        let record = self.backlog.give_up(group, out_of_budget(format!("expired while it waited: {}", block.why())), self.now);
        record.into_iter().for_each(|record| self.record(record));
    }

    /// Lets through what may go. Returns when more may go; None when the list is empty.
    fn let_through(&mut self, list: WaitListIx) -> Option<Timestamp> {
        let view = view!(self);
        let choices = self.budget.choices_of(list, view);
        loop {
            let First { position, n, stream, site, turn } = match self.first(list)? {
                Ok(first) => first,
                Err(again) => return Some(again),
            };
            let head = Head { n: u32::try_from(n).unwrap_or(u32::MAX), stream, provider: &site.provider };
            let view = view!(self);
            match self.budget.release(list, &choices, &head, view)? {
                Release::Go(permit) => {
                    let group = self.take_out(list, position, permit.count() as usize)?;
                    let spilled = turn.is_some_and(|turn| turn != permit.lane());
                    self.send_by(permit.lane(), &site, Ready { group, permit: Some(permit), spilled });
                }
                Release::Choose(most, stream) => {
                    let group = self.take_out(list, position, most)?;
                    self.choose(&site, stream, n.min(most), group);
                }
                Release::NotBefore(at) => return Some(at),
            }
        }
    }

    /// The first group in a list that still waits and whose route is known. Err: none of the foremost has a route yet, look again at that
    /// time. None: the list is empty.
    fn first(&mut self, list: WaitListIx) -> Option<Result<First, Timestamp>> {
        let mut from = Position::FIRST;
        for _ in 0..PASSED_MAX {
            let Some((position, waiting)) = self.budget.lists().first_from(list, from) else { break };
            let Some((stream, n)) = self.backlog.waiting(&waiting.group) else {
                self.budget.lists_mut().take(list, position);
                continue;
            };
            let (domain, turn) = (waiting.domain, waiting.turn);
            let party = self.backlog.streams().party(stream);
            match self.backlog.route(domain, party, self.now) {
                Route::To(site) => return Some(Ok(First { position, n, stream, site, turn })),
                Route::Nowhere(why, since) => {
                    let group = self.budget.lists_mut().take(list, position)?;
                    self.nowhere(domain, &why, since, group);
                }
                Route::Unknown(name) => {
                    self.actions.extend(name.map(|name| Action::Resolve(domain, name, party)));
                    from = position.next();
                }
            }
        }
        (!self.budget.lists().is_empty(list)).then(|| Err(after(self.now, LOOK_AGAIN)))
    }

    /// Takes up to `n` recipients of a group out of a list.
    fn take_out(&mut self, list: WaitListIx, position: Position, n: usize) -> Option<RecipientGroup> {
        let (at, waiting) = self.budget.lists().first_from(list, position)?;
        debug_assert_eq!(at, position, "what goes first has not moved");
        let (first, rest) = self.backlog.split(&waiting.group, n)?;
        match rest {
            Some(rest) => self.budget.lists_mut().leave(list, position, rest),
            None => drop(self.budget.lists_mut().take(list, position)),
        }
        Some(first)
    }

    /// Logs until when groups wait.
    fn tell(&mut self, told: Vec<LoggedWait>) {
        for LoggedWait { group, wait } in told {
            let record = self.backlog.record_wait(&group, wait, self.now);
            record.into_iter().for_each(|record| self.record(record));
        }
    }
}
