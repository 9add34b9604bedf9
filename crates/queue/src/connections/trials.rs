//! How hosts that stall are tried: one connection for each list of them, until they answer something.

use posthaste_governor::LaneId;

use super::{
    lanes::{QueueIx, ReadyQueue},
    sessions::Connections,
};
use crate::exchange::SessionId;

impl Connections {
    /// A session's job has ended, because the hosts were silent or with something that they said. Returns the lane that may open more
    /// connections now, because its hosts stall no longer.
    pub(crate) fn heard(&mut self, queue: QueueIx, session: SessionId, silent: bool, now: i64) -> Option<LaneId> {
        let Self { lanes, stalling, sessions, .. } = self;
        let ReadyQueue { site, lane, .. } = lanes.at(queue);
        if silent {
            stalling.note(site, now);
            return None;
        }
        if let Some(session) = sessions.get_mut(&session) {
            stalling.sessions -= usize::from(std::mem::take(&mut session.on_trial));
        }
        stalling.forget(site).then_some(*lane)
    }

    /// Whether a ready queue may open one more of `most` connections, as far as its hosts are concerned.
    pub(super) fn may_try(&self, queue: &ReadyQueue, most: usize) -> bool {
        !self.stalling.has(&queue.site) || (queue.sessions == 0 && self.may_try_stalling(most))
    }

    /// Whether one more of `most` connections may be opened to hosts that stall.
    pub(super) fn may_try_stalling(&self, most: usize) -> bool {
        self.stalling.has_room(most, self.sessions.len() - self.leaving)
    }

    /// A lane waits for connections, for the mail of each of its ready queues that none of its sessions is about to try.
    pub(super) fn wait(&mut self, lane: LaneId) {
        let Self { lanes, stalling, shares, .. } = self;
        for queue in lanes.lanes[&lane].turns.iter().map(|queue| lanes.at(*queue)) {
            match stalling.has(&queue.site) {
                false => shares.usual.wait(lane, queue.parties()),
                true if queue.sessions == 0 => shares.stalling.wait(lane, queue.parties()),
                true => {}
            }
        }
    }

    /// Forgets hosts that have not been tried for long.
    pub(crate) fn sweep_stalling(&mut self, now: i64) {
        self.stalling.sweep(now);
    }
}
