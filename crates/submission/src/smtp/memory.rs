//! A session's memory, counted against that of all.

use posthaste_access::bans::subject;
use posthaste_smtp::server::{Answer, Refused};

use super::conversation::Conversation;
use crate::settings::ClientLimits;

impl Conversation {
    /// Counts what the message in progress takes. If that is too much, the session ends with 421.
    pub(super) async fn count_memory(&mut self, limits: &ClientLimits) {
        let message = self.session.memory();
        if message == 0 {
            self.held = None;
            return;
        }
        if self.held.is_none() {
            let user = self.user().ok().flatten().map(|user| user.name.clone());
            let owner = user.unwrap_or_else(|| subject(self.ip).to_string().into());
            self.held = Some(self.of.pressure.begin(owner, self.place.is_stranger()));
        }
        let Some(held) = &mut self.held else { return };
        if !held.set(message + self.input.len() as u64, limits.receive_memory) {
            self.give_memory_back();
            self.slow_down().await;
        }
    }

    /// Ends the session with 421, because others need the memory that it holds.
    pub(super) fn give_memory_back(&mut self) {
        let answer = Answer::new(421, 3, 1, "too much mail comes in at once, try again later");
        let command = if self.received.is_some() { "data" } else { "rcpt" };
        self.refused(command, None, None, Refused::new(answer.clone(), "receive_memory"));
        self.session.refuse(&answer, &mut self.out);
        self.input.clear();
        self.held = None;
    }
}
