//! What one part of the dispatcher may read of the other parts.

use jiff::Timestamp;

use crate::{
    backlog::{Backlog, table::StreamIx},
    connections::{lanes::Lanes, stalling::Stalling},
    halt::Halt,
    policy::{Policy, StreamPolicy},
};

/// The backlog, the lanes, the configuration and the time, to read.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// Queued messages, domains, streams.
    pub(crate) backlog: &'a Backlog,
    /// Ready mail.
    pub(crate) lanes: &'a Lanes,
    /// Hosts that were silent the last time.
    pub(crate) stalling: &'a Stalling,
    /// The configuration.
    pub(crate) policy: &'a Policy,
    /// Whether deliveries are halted.
    pub(crate) halt: &'a Halt,
    /// The time.
    pub(crate) now: Timestamp,
}

impl<'a> View<'a> {
    /// The rules of a stream.
    pub(crate) fn stream_policy(&self, stream: StreamIx) -> &'a StreamPolicy {
        self.backlog.stream_policy(stream, self.policy)
    }

    /// A stream's share of a connection against other streams, and against its own mail of another priority.
    pub(crate) fn share(&self, stream: StreamIx) -> u32 {
        self.backlog.streams().share(stream, self.stream_policy(stream).share)
    }
}
