//! Reading a message back from the spool.

use posthaste_mail::LocalCause;
use posthaste_message::MessageRecord;
use posthaste_queue::Seq;
use posthaste_spool::Spool;

/// Why a message could not be read back from the spool.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed, or the record's bytes are damaged.
    #[error("the spool cannot give the envelope: {0}")]
    Record(posthaste_spool::ReadError),
    /// The message has ended.
    #[error("the spool does not have the message")]
    NoMessage,
    /// The record was not written by a version of the relay that this one knows.
    #[error("the spool's envelope cannot be read: {0}")]
    Format(serde_json::Error),
    /// The disk failed, or the body's bytes are damaged.
    #[error("the spool cannot give the body: {0}")]
    Body(posthaste_spool::ReadError),
    /// The message has ended, or its body was removed.
    #[error("the spool does not have the body")]
    NoBody,
    /// Other deliveries hold the memory for bodies.
    #[error("deliveries of other messages use all memory for bodies ([delivery] body_memory)")]
    NoMemory,
    /// The task that read broke off.
    #[error("reading from the spool failed: {0}")]
    Task(tokio::task::JoinError),
}

impl ReadError {
    /// Why the message was not sent: for want of what the relay may have again later, or for good.
    pub(crate) fn cause(&self) -> LocalCause {
        use posthaste_spool::ReadError::{Damaged, Io};
        match self {
            Self::Record(Io { .. }) | Self::Body(Io { .. }) | Self::NoMemory => LocalCause::RelayUnable,
            // A panic comes again.
            Self::Record(Damaged { .. })
            | Self::Body(Damaged { .. })
            | Self::NoMessage
            | Self::Format(_)
            | Self::NoBody
            | Self::Task(_) => LocalCause::LocalError,
        }
    }
}

/// A message's record in the spool. Blocks on the disk.
pub fn read_record(spool: &Spool, seq: Seq) -> Result<MessageRecord, ReadError> {
    let bytes = spool.meta(seq).map_err(ReadError::Record)?.ok_or(ReadError::NoMessage)?;
    MessageRecord::decode(&bytes).map_err(ReadError::Format)
}
