//! Sessions that give up their connections while others wait for one.
//!
//! A session that has carried its job for longer than the policy's patience is told so: first those that their receivers have not let in yet,
//! then others, and of these the ones of the stream and the user that have the most. It counts for nobody from then on, and ends as soon as its
//! receiver is silent; one that has sent its message waits on, because the receiver may have taken it, and one whose message is on its way
//! finishes it. So there is a limit for those that were told and are still there. Nobody waits for silent hosts longer than the patience, and
//! mail for hosts that answered last time not at all for those that did not ([`super::stalling`]).

use std::{cmp::Reverse, time::Duration};

use posthaste_governor::LaneId;

use super::{
    sessions::{Connections, Session},
    shares::Line,
};
use crate::{exchange::SessionId, times::millis};

/// Milliseconds between two looks for sessions that have to give up.
const LOOK_EVERY: i64 = 250;

impl Connections {
    /// Has sessions give up that have carried their jobs for `patience`, one for each lane that waits for one of `most` connections. They are to
    /// be told so. Where lanes wait because hosts that stall have their part of the connections, only sessions with such hosts give up.
    pub(crate) fn give_up(&mut self, patience: Duration, most: usize, now: i64) -> Vec<SessionId> {
        if now < self.next_look {
            return Vec::new();
        }
        let begun = now - millis(patience);
        let busy = || self.sessions.values().filter(|session| session.party.is_some());
        let first = busy().map(|session| session.since).min().unwrap_or(now);
        let mut told = self.silent_for(&self.shares.usual, begun, |_| true);
        let more = self.silent_for(&self.shares.stalling, begun, |session| session.on_trial || self.may_try_stalling(most));
        told.extend(more.into_iter().filter(|id| !told.contains(id)).collect::<Vec<_>>());
        told.truncate(leaving_max(most).saturating_sub(self.leaving));
        self.next_look = (first + millis(patience)).max(now + LOOK_EVERY);
        told.iter().for_each(|id| self.leave(*id));
        told
    }

    /// The sessions that give up for the lanes of a line, among those that `may` do so and have carried their jobs since `begun`.
    fn silent_for(&self, line: &Line<LaneId>, begun: i64, may: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        let Some(least) = self.shares.least(line) else { return Vec::new() };
        // A lane's own sessions do not make room for it: its mail would go to the same hosts.
        let lone = line.lone();
        let candidate = |(id, session): (&SessionId, &Session)| {
            let others_wait = lone != Some(self.lanes().at(session.queue).lane);
            let held = session.party.map(|party| self.shares.held(party))?;
            let gives_up = session.since <= begun && held >= least && others_wait && may(session);
            gives_up.then_some((!session.on_trial, session.established, Reverse(held), session.since, *id))
        };
        let mut candidates: Vec<_> = self.sessions.iter().filter_map(candidate).collect();
        candidates.sort_unstable();
        candidates.truncate(line.len());
        candidates.into_iter().map(|(.., id)| id).collect()
    }

    fn leave(&mut self, id: SessionId) {
        let session = self.sessions.get_mut(&id).expect("it was found just now");
        session.leaving = true;
        self.leaving += 1;
        self.stalling.sessions -= usize::from(std::mem::take(&mut session.on_trial));
        if let Some(party) = session.party.take() {
            self.shares.end(party);
        }
    }

    /// When sessions are next looked through for some that have to give up, in milliseconds since 1970.
    pub(crate) fn next_give_up(&self) -> Option<i64> {
        (self.shares.waiting(true) > 0).then_some(self.next_look)
    }

    /// Whether a session was told to give up, or goes a way that holds no longer. It gets no further job.
    pub(crate) fn is_leaving(&self, session: SessionId) -> bool {
        self.sessions.get(&session).is_some_and(|s| s.leaving || s.outdated)
    }
}

/// How many sessions that were told to give up there may be besides `most` others. The files that the process may have open are shared out
/// accordingly.
pub const fn leaving_max(most: usize) -> usize {
    most.div_ceil(2)
}
